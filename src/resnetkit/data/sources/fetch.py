"""Downloading one file so that what lies in the cache is always complete and verified."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import http.client
import logging
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from resnetkit import files
from resnetkit.errors import NetworkError, ResourceError, UsageError
from resnetkit.watcher import Count

RETRIES = 2
PAUSE_S = 1.0
# Without a network the ways out are told after that: name servers and addresses that do not answer take minutes else.
ANSWER_S = 3.5
_CHUNK_BYTES = 1 << 20
_LOG = logging.getLogger(__name__)


def fetch(
    url: str,
    target: Path,
    *,
    checksum: str,
    what: str,
    progress: Count | None = None,
    ways_out: Sequence[str] = (),
    timeout_s: float = 30.0,
) -> Path:
    """Return `target` after making sure that it holds what was published at `url`, downloading it where needed.

    `checksum` is `sha256:` with all its digits or the first 8 or more, or `md5:` with all. `what` names the thing in
    messages, `ways_out` says there what else can be done. `progress(done, total)` counts bytes; `total` is None where
    the server does not say it. A server that does not begin to answer within `ANSWER_S` seconds is out of reach, one
    that is silent for `timeout_s` later has stalled.

    The download goes to a temporary file that takes its name when it is verified, so `target` is never half a file.
    Its full SHA-256 is recorded in `<target>.sha256` and holds on every later call. Of several processes that ask at
    once, one downloads. `RESNETKIT_OFFLINE=1` forbids the network; `RESNETKIT_MIRROR=URL` replaces the host;
    `file:///FOLDER` is a mirror too.

    Raises `NetworkError` with the address and the checksums, `ResourceError` where the disk does not take the file.
    """
    wanted = _Checksum.parse(checksum)
    # Without a record the digest has yet to be recorded, under the lock; a cache that is read-only cannot have one.
    recorded = _recorded(target) is not None or not os.access(target.parent, os.W_OK)
    if recorded and _state(target, wanted) is None:
        return target
    with _lock(target):
        problem = _state(target, wanted)
        if problem is None:
            _record(target)
            return target
        source = _Source(url=_mirrored(url), what=what, wanted=wanted, ways_out=tuple(ways_out), timeout_s=timeout_s)
        if problem != "absent":
            _LOG.warning("%s: %s; it is not used and fetched again from %s", target, problem, source.url)
        if offline():
            raise source.error(f"RESNETKIT_OFFLINE is set and {target} is {problem}")
        _download(source, target, progress)
    return target


def offline() -> bool:
    """Tell whether `RESNETKIT_OFFLINE` forbids the network."""
    return os.environ.get("RESNETKIT_OFFLINE", "").casefold() not in ("", "0", "false", "no")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checksum:
    """A published checksum: the algorithm and the first digits, or all."""

    algorithm: str
    digits: str

    @classmethod
    def parse(cls, text: str) -> _Checksum:
        algorithm, _, digits = text.partition(":")
        least = {"sha256": 8, "md5": 32}
        assert len(digits) >= least.get(algorithm, 65), f"not a checksum: {text!r}"
        return cls(algorithm=algorithm, digits=digits.lower())

    def of(self, path: Path) -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest()

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digits}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """Where a file comes from, and how a failure to get it is told."""

    url: str
    what: str
    wanted: _Checksum
    ways_out: tuple[str, ...]
    timeout_s: float

    @property
    def local(self) -> bool:
        """Tell whether it is a file of this computer, which does not get better by waiting."""
        return self.url.startswith("file:")

    def error(self, reason: str) -> NetworkError:
        ways = f"; ways out: {', or '.join(self.ways_out)}" if self.ways_out else ""
        return NetworkError(f"{self.what} could not be had from {self.url} (expected {self.wanted}): {reason}{ways}")


class _TransientError(Exception):
    """The transfer broke off in a way that another attempt may not; `answered`: the server was there."""

    def __init__(self, reason: str, *, answered: bool = True) -> None:
        super().__init__(reason)
        self.answered = answered


def _sidecar(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def _state(target: Path, wanted: _Checksum) -> str | None:
    """Return None where `target` is what was published and what was recorded, else what is wrong with it."""
    if not target.exists():
        return "absent"
    digest = sha256_of(target)
    recorded = _recorded(target)
    if recorded not in (None, digest):
        return f"changed since it was verified (expected sha256 {recorded}, actual {digest})"
    actual = digest if wanted.algorithm == "sha256" else wanted.of(target)
    if not actual.startswith(wanted.digits):
        return f"not what was published (expected {wanted}, actual {actual})"
    return None


def _recorded(target: Path) -> str | None:
    """Return the digest that was recorded beside `target`, or None."""
    try:
        return _sidecar(target).read_text(encoding="utf-8", errors="replace").partition(" ")[0]
    except (FileNotFoundError, NotADirectoryError):
        return None


def _record(target: Path) -> None:
    if _recorded(target) is None:
        files.write_text(_sidecar(target), f"{sha256_of(target)}  {target.name}\n")


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Let one process at a time work on `target`; the system frees the lock of one that died."""
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise ResourceError(
            f"{target.parent}: cannot be written ({error.strerror or error}); set TORCH_HOME or RESNETKIT_CACHE"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _mirrored(url: str) -> str:
    mirror = os.environ.get("RESNETKIT_MIRROR", "").rstrip("/")
    if not mirror:
        return url
    if urllib.parse.urlsplit(mirror).scheme not in ("http", "https", "file"):
        raise UsageError(f"RESNETKIT_MIRROR must begin with https://, http:// or file://, not be {mirror!r}")
    parts = urllib.parse.urlsplit(url)
    return mirror + parts.path + (f"?{parts.query}" if parts.query else "")


def _download(source: _Source, target: Path, progress: Count | None) -> None:
    """Download in a few attempts; the caller holds the lock, so what attempts left behind is nobody's."""
    for left in glob.glob(f".{glob.escape(target.name[:80])}.????????.tmp", root_dir=target.parent):
        (target.parent / left).unlink(missing_ok=True)
    until = time.monotonic() + ANSWER_S
    for attempt in range(RETRIES + 1):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
        try:
            _attempt(source, target, progress, until)
            return
        except _TransientError as error:
            reason = str(error)
            if error.answered:
                until = time.monotonic() + PAUSE_S * 2**attempt + ANSWER_S
    raise source.error(f"{reason}; tried {RETRIES + 1} times")


def _attempt(source: _Source, target: Path, progress: Count | None, until: float) -> None:
    with _opened(source, until) as response:
        try:
            with files.replacing(target) as temporary:
                with open(temporary, "wb") as file:
                    cut = _copy(response, file, progress)
                _verify(source, response, temporary, cut)
                # The old record goes before the new file comes: a file beside another's record would seem changed.
                _sidecar(target).unlink(missing_ok=True)
            _record(target)
        except OSError as error:
            raise ResourceError(
                f"{target}: cannot be written ({error.strerror or error}); make room or set TORCH_HOME"
            ) from error


@contextlib.contextmanager
def _opened(source: _Source, until: float) -> Iterator[http.client.HTTPResponse]:
    request = urllib.request.Request(source.url, headers={"User-Agent": "resnetkit"})
    try:
        response = _answered(source, request, until)
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server says {error.code} {error.reason}; nothing came, so there is no actual checksum"
        if error.code in (408, 429) or error.code >= 500:
            raise _TransientError(reason) from error
        raise source.error(reason) from error
    except (OSError, http.client.HTTPException) as error:
        if source.local:
            raise source.error(f"the file cannot be read ({_why(error)})") from error
        line = f"{_broken(error)}; nothing came, so there is no actual checksum"
        raise _TransientError(line, answered=False) from error
    with response:
        yield response


def _answered(source: _Source, request: urllib.request.Request, until: float) -> http.client.HTTPResponse:
    """Return the server's answer; looking up its name and reaching it are waited for in a thread, which may hang."""
    answer: Future[http.client.HTTPResponse] = Future()

    def ask() -> None:
        try:
            answer.set_result(urllib.request.urlopen(request, timeout=source.timeout_s))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="fetch", daemon=True).start()
    wait([answer], timeout=max(0.5, until - time.monotonic()))
    if answer.done():
        return answer.result()
    answer.add_done_callback(lambda late: None if late.exception() else late.result().close())
    raise source.error(f"no answer within {ANSWER_S:g} s (is there a network?)")


def _copy(response: http.client.HTTPResponse, file: IO[bytes], progress: Count | None) -> str | None:
    """Copy what the server sends; return None where all came, else how it broke off."""
    length = response.headers.get("Content-Length")
    total = int(length) if length and length.isdigit() else None
    done = 0
    while True:
        try:
            chunk = response.read1(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return f"{_broken(error)} after {done:,} of {_count(total)} bytes"
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        if progress:
            progress(done, total)
    if total is not None and done < total:
        return f"the connection was cut after {done:,} of {_count(total)} bytes"
    return None


def _count(total: int | None) -> str:
    return "an unknown number of" if total is None else f"{total:,}"


def _verify(source: _Source, response: http.client.HTTPResponse, path: Path, cut: str | None) -> None:
    """Raise unless all came and is what was published."""
    actual = source.wanted.of(path)
    told = f"actual {source.wanted.algorithm} {actual} of the {path.stat().st_size:,} bytes that came"
    if cut:
        raise _TransientError(f"{cut}; {told}")
    if actual.startswith(source.wanted.digits):
        return
    if response.headers.get_content_type() == "text/html":
        raise source.error(f"a web page came instead (a login or proxy page?); {told}")
    raise source.error(f"not what was published; {told}")


def _broken(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "the server stalled"
    if isinstance(reason, socket.gaierror):
        return "the host is not known (is there a network?)"
    return f"the connection failed ({_why(error)})"


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)
