"""Which of the processes that train together are still there, so that a loss is named and nobody waits for ever."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from datetime import timedelta

import torch.distributed as dist

from resnetkit.errors import LostRankError

_SECONDS_BETWEEN_BEATS = 0.5
# A rank that is silent for so long is gone; sooner where a connection broke, since then somebody is.
_SECONDS_OF_SILENCE = 30.0
_SECONDS_OF_SILENCE_AFTER_A_BREAK = 3.0
# What the main thread has to leave by itself before the process is ended under it.
_GRACE_SECONDS = 10.0
_SECONDS_TO_COME = 300.0


class Heartbeat:
    """A thread that tells the others of this rank and hears of them, by a store that torchrun keeps.

    Each rank writes `rank/R`: a count that rises, then `left`, or `stopped` with the reason. It listens to the rank
    after it; when a connection broke, to all. Who finds a loss writes it to `lost`, which all read.
    """

    def __init__(self, store: dist.Store, *, rank: int, size: int) -> None:
        self.rank, self.size, self._store = rank, size, store
        self._others = [other for other in range(size) if other != rank]
        self._beats = 0
        self._heard: dict[int, tuple[str, float]] = {}  # the last word of a rank, and since when it is that
        self._lost: dict[int, str] = {}
        self._silent: set[int] = set()  # those of them that could not say why
        self._code = LostRankError("").exit_code
        self._hurried = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._asked: float | None = None  # since when the store has been asked and has not answered
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._guard = threading.Thread(target=self._watch_store, name="heartbeat of the store", daemon=True)

    def start(self) -> None:
        """Say that this rank is here, wait until all are, and begin to listen."""
        self._store.set(f"where/{self.rank}", f"process {os.getpid()} on {socket.gethostname()}")
        self._beat()
        keys = [f"rank/{rank}" for rank in range(self.size)]
        try:
            self._store.wait(keys, timedelta(seconds=_SECONDS_TO_COME))
        except dist.DistStoreError:
            missing = ", ".join(str(rank) for rank, key in enumerate(keys) if not self._store.check([key]))
            raise LostRankError(f"rank {missing} of {self.size} did not come in {_SECONDS_TO_COME:.0f} s") from None
        self._thread.start()
        self._guard.start()

    def stop(self, word: str = "left") -> None:
        """End the thread and leave a last word to the others: `left`, or what `last_words` returns."""
        with self._lock:
            self._ended.set()
            try:
                self._store.set(f"rank/{self.rank}", word)
            except dist.DistError:  # torchrun is gone, and so is everybody who might have read it
                pass

    def loss(self) -> LostRankError | None:
        """Find out who is gone after a connection broke or torchrun asked to stop; None where nobody is.

        Takes up to twice the silence after a break, and no time where all others have left by themselves.
        """
        self._hurried = True
        deadline = time.monotonic() + 2 * _SECONDS_OF_SILENCE_AFTER_A_BREAK
        while not self._lost and time.monotonic() < deadline:
            self._listen()
            if all(word == "left" for word, _ in self._heard.values()) and len(self._heard) == len(self._others):
                break
            time.sleep(_SECONDS_BETWEEN_BEATS / 2)
        return self._error() if self._lost else None

    def speaks(self) -> bool:
        """Tell whether this rank prints the line for all: the first that is not gone."""
        if self.size in self._lost:  # of each machine one, as they no longer hear one another
            return os.environ.get("LOCAL_RANK", "0") == "0"
        return self.rank == min((rank for rank in range(self.size) if rank not in self._silent), default=self.rank)

    def _error(self) -> LostRankError:
        return LostRankError("; ".join(self._lost.values()), exit_code=self._code)

    def _beat(self) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._beats += 1
                self._store.set(f"rank/{self.rank}", str(self._beats))

    def _watch(self) -> None:
        while not self._lost and not self._ended.wait(_SECONDS_BETWEEN_BEATS):
            self._listen()
        self._leave()

    def _watch_store(self) -> None:
        """Leave where the store does not answer: that of a machine that hangs stays connected, and no timeout ends."""
        while not self._ended.wait(_SECONDS_BETWEEN_BEATS):
            if (asked := self._asked) is not None and time.monotonic() - asked > _SECONDS_OF_SILENCE:
                self._lost = {self.size: "the machine that keeps torchrun's store does not answer"}
                self._leave()
                return

    def _leave(self) -> None:
        """End the process under the main thread, unless that leaves by itself."""
        if not self._ended.wait(_GRACE_SECONDS):
            if self.speaks():
                print(f"resnetkit: {self._error()}", file=sys.stderr, flush=True)
            os._exit(self._code)

    def _listen(self) -> None:
        """Beat, hear the others, and note who is lost."""
        self._asked = time.monotonic()
        try:
            self._beat()
            with self._lock:
                if self._store.check(["lost"]):
                    said = json.loads(self._store.get("lost"))
                    self._code, self._silent = said["code"], set(said["silent"])
                    self._lost = {int(rank): why for rank, why in said["lost"].items()}
                else:
                    self._hear(self._others if self._hurried else (self._others[self.rank :] or self._others)[:1])
        except dist.DistError:
            self._lost = {self.size: "torchrun is gone, which kept these processes together"}
        finally:
            self._asked = None

    def _hear(self, ranks: list[int]) -> None:
        now, limit = time.monotonic(), _SECONDS_OF_SILENCE_AFTER_A_BREAK if self._hurried else _SECONDS_OF_SILENCE
        lost = {}
        for rank, value in zip(ranks, self._store.multi_get([f"rank/{rank}" for rank in ranks]), strict=True):
            word = value.decode()
            if word != self._heard.get(rank, ("", 0.0))[0]:
                self._heard[rank] = (word, now)
            if word.startswith("stopped "):
                last = json.loads(word.removeprefix("stopped "))
                lost[rank], self._code = f"{self._name(rank)} stopped: {last['line']}", last["code"]
            elif word != "left" and now - self._heard[rank][1] > limit:
                self._silent.add(rank)
                lost[rank] = f"{self._name(rank)} is gone: killed, or its machine is lost"
        if lost:
            said = {"lost": lost, "silent": sorted(self._silent), "code": self._code}
            self._store.set("lost", json.dumps(said))
            self._lost = lost

    def _name(self, rank: int) -> str:
        return f"rank {rank} of {self.size} ({self._store.get(f'where/{rank}').decode()})"


def last_words(line: str, *, exit_code: int) -> str:
    """Return what a rank that stopped by itself leaves for the others: why, and its exit code."""
    return "stopped " + json.dumps({"line": line, "code": exit_code})
