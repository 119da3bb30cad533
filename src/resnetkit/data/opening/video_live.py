"""Streams and cameras, which have no end: read in a thread, and tried again where they stall, break off or end."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path

from resnetkit.data.opening.failures import one_line
from resnetkit.data.opening.video_decoding import REMEDY, Decoding, Shown, frame_of, words
from resnetkit.data.opening.video_frames import ALL, About, Frame, Say, Thinned, nobody
from resnetkit.errors import NetworkError, ResNetKitError, UsageError
from resnetkit.words import counted

CAMERA = "camera:"
PATIENCE = 300.0  # seconds
_LOGIN = re.compile(r"(?<=://)\S*@")  # up to the last @: passwords hold what they like
_SECRET = re.compile(r"((?:pass\w*?|pwd|token|secret|\w*key|sig\w*|auth\w*)=)[^&#\s]*", re.IGNORECASE)
_WAITING = 2  # frames between the thread that reads and whoever looks: newer ones push older ones out
_LONGEST_PAUSE = 30.0
_ENDED = "it ended"
_INDEXED = (".mp4", ".m4v", ".mov", ".3gp")  # files that have an index, at their end unless somebody moved it


class Live:
    """An open stream or camera, as `Video` is an open file: `about`, and its `frames` from now on.

    One that stalls (no frame for `stall` seconds), breaks off or ends is tried again, after a `pause` in seconds that
    doubles each time up to 30, and `say` is told each time; numbers and times go on, the gap measured by our clock.
    Whoever looks at frames slower than they come gets the newest, and `dropped` counts the others. What tells how long
    it is, in seconds or bytes, is read as a file is: nothing dropped, and over when it ends.

    Raises `NetworkError` where the first try fails, where what tells how long it is stalls or breaks off, and after
    `patience` seconds without a frame; `DataError` for what is no video, `UsageError` for a camera that is not there.
    """

    def __init__(
        self, source: str, *, say: Say = nobody, patience: float = PATIENCE, stall: float = 8.0, pause: float = 1.0
    ) -> None:
        self._address, self._kind = _address(source)
        self._shown = without_password(source)
        self._stalled = f"it stalls, no frame for {stall:g} s"
        self._say, self._patience, self._stall, self._first_pause = say, patience, stall, pause
        self._options = {"rtsp_flags": "prefer_tcp"} if source.startswith("rtsp") else {}
        self._pause, self.dropped, self._tries = pause, 0, 0
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._thinned: Thinned | None = None
        self._about: About | None = None
        self._number, self._time = -1, 0.0
        self._taken: float | None = None
        self._frame_at = time.monotonic()  # when the last frame came
        self._current: threading.Thread | None = None  # the connection that counts: what an earlier one brings does not
        self._over: str | ResNetKitError | None = None  # why the connection is
        self._ends: list[str] = []  # what its thread would say of that
        self._stopped = False
        self._begun = self._frame_at
        self._connect()
        self.about = self._first_about()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._current = None
            self._changed.notify_all()

    def stop(self) -> None:
        """End `frames`, from any thread or a signal: those that wait are still yielded."""
        with self._changed:
            self._stopped, self._current = True, None
            self._changed.notify_all()

    def frames(self, thinned: Thinned = ALL, *, after: int = -1) -> Generator[Frame]:
        """Yield the frames that are looked at as they come, numbered from behind `after`."""
        with self._changed:
            self._number = max(self._number, after)
            self._thinned, self._begun = thinned, time.monotonic()
            self._changed.notify_all()
        try:
            while (frame := self._next()) is not None:
                yield frame
        finally:
            if self.dropped:
                came = counted(self.dropped, "frame")
                self._say(f"{self._shown}: {came} dropped, as they came faster than they were looked at")

    @property
    def _finite(self) -> bool:
        return self._about is not None and not self._about.live

    def _first_about(self) -> About:
        """Wait for the first frame: what stalls is tried again, and what fails is an error at once."""
        while True:
            with self._changed:
                self._wait(lambda: self._about is not None)
                if self._about is not None:
                    return self._about
                why = self._over
            if isinstance(why, ResNetKitError):
                raise why
            if why == self._stalled and self._address.partition("?")[0].lower().endswith(_INDEXED):
                raise NetworkError(
                    f"{self._shown}: {why}: the server is too slow, or its index lies at its end and the server gives "
                    f"no parts; {REMEDY}"
                )
            self._again(why)

    def _next(self) -> Frame | None:
        """Return the next frame, None where a stream that tells its length is over, and where it was stopped."""
        while True:
            with self._changed:
                self._wait(lambda: bool(self._frames))
                if self._frames:
                    frame = self._frames.popleft()
                    self._changed.notify_all()
                    return frame
                why = self._over
            if self._stopped:
                return None
            if self._finite and why == _ENDED:
                for line in self._ends:
                    self._say(line)
                return None
            if self._finite:
                raise NetworkError(f"{self._shown}: after {self._time:.2f} s {why}")
            self._again(why)

    def _wait(self, there: Callable[[], bool]) -> None:
        """Wait until something is there, or the connection is over, as it is where no frame comes for too long."""
        since = time.monotonic() if self._finite else 0.0  # its thread waits for us, too
        while not there() and self._over is None and not self._stopped:
            left = max(self._begun, since) + self._stall - time.monotonic()
            if left <= 0:
                self._over = self._stalled
                self._current = None
            else:
                self._changed.wait(left)

    def _again(self, why: object) -> None:
        """Say why, wait, and connect again; raises `NetworkError` where patience is at its end."""
        quiet = time.monotonic() - self._frame_at
        line = str(why).removeprefix(f"{self._shown}: ")
        if quiet + self._pause > self._patience:
            tries = counted(self._tries, "try").replace("trys", "tries")
            raise NetworkError(f"{self._shown}: no frame for {quiet:.0f} s, given up after {tries} ({line})")
        self._say(f"{self._shown}: {line}: trying again")
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, self._pause)
            if self._stopped:
                return
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._connect()

    def _connect(self) -> None:
        with self._changed:
            self._tries += 1
            self._over, self._begun = None, time.monotonic()
            thread = threading.Thread(target=self._read, daemon=True)
            self._current = thread
            thread.start()

    # What follows runs in the thread of a connection, which stops where another has taken its place.

    def _read(self) -> None:
        why: str | ResNetKitError = _ENDED
        try:
            with Decoding(
                self._address, shown=self._shown, live=True, kind=self._kind, options=self._options,
                seconds_to_read=self._stall, start=self._goes_on, say=self._ends.append,
            ) as decoding:  # fmt: skip
                if not self._opened(decoding.about) or any(
                    not self._showed(decoding, shown) for shown in decoding.shows()
                ):
                    return
        except ResNetKitError as error:
            why = error
        except Exception as error:  # of PyAV, where a stream breaks off
            stalled = type(error).__name__ == "ExitError"
            why = self._stalled if stalled else f"it broke off ({words(error)})"
        with self._changed:
            if self._is_current():
                self._over = why
                self._changed.notify_all()

    def _is_current(self) -> bool:
        return self._current is threading.current_thread()

    def _goes_on(self) -> float:
        """Return the time of the first frame of this connection."""
        return 0.0 if self._about is None else self._time + time.monotonic() - self._frame_at

    def _opened(self, about: About) -> bool:
        """Note what a stream says of itself, and wait until its frames are wanted; tell whether they are."""
        with self._changed:
            if not self._is_current():
                return False
            self._frame_at = self._begun = time.monotonic()
            self._about = self._about or about
            self._changed.notify_all()
            while self._is_current() and self._thinned is None:
                self._changed.wait()
            self._begun = time.monotonic()
            return self._is_current()

    def _showed(self, decoding: Decoding, shown: Shown) -> bool:
        """Hand a frame over where it is looked at; tell whether to go on."""
        with self._changed:
            if not self._is_current():
                return False
            self._number, self._time = self._number + 1, max(self._time, shown.time)
            self._frame_at = self._begun = time.monotonic()
            self._pause, self._tries = self._first_pause, 0
            assert self._thinned is not None, "nobody reads on before"
            if not self._thinned.takes(self._number, self._time, self._taken):
                return True
            self._taken = self._time
            number, at = self._number, self._time
        frame = frame_of(decoding, number, at, shown)
        with self._changed:
            while self._finite and len(self._frames) >= _WAITING and self._is_current():
                self._changed.wait()
            while len(self._frames) >= _WAITING:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(frame)
            self._changed.notify_all()
            return self._is_current()


def without_password(source: str) -> str:
    """Return an address as it is shown: without what stands before its last @, and without secrets in its query.

    >>> without_password("rtsp://me:a/b@c@camera/1"), without_password("http://camera/v?user=me&pwd=x&n=1")
    ('rtsp://camera/1', 'http://camera/v?user=me&pwd=***&n=1')
    """
    return one_line(_SECRET.sub(r"\1***", _LOGIN.sub("", source)))


def _address(source: str) -> tuple[str, str | None]:
    """Return what FFmpeg calls a source, and what kind of device it is; raises `UsageError` for no camera."""
    if not source.startswith(CAMERA):
        return source, None
    name = source.removeprefix(CAMERA)
    if sys.platform == "darwin":
        return name, "avfoundation"
    if sys.platform == "win32":
        return f"video={name}", "dshow"
    path = f"/dev/video{name}" if name.isdecimal() else name
    if not Path(path).exists():
        there = sorted(found.name.removeprefix("video") for found in Path("/dev").glob("video[0-9]*"))
        known = "there are " + ", ".join(f"{CAMERA}{number}" for number in there) if there else "there is none"
        raise UsageError(f"{source}: no such camera; {known}")
    return path, "v4l2"
