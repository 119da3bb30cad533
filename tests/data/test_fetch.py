"""Faults of a download, made by a server on this machine."""

import hashlib
import http.server
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnetkit.data.sources import fetch as fetch_module
from resnetkit.data.sources.fetch import fetch
from resnetkit.errors import NetworkError, ResourceError, UsageError

CONTENT = hashlib.shake_256(b"weights").digest(300_000)
WRONG = CONTENT[:-1] + b"?"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PREFIX = f"sha256:{DIGEST[:8]}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the last part of the path: what goes wrong is its name."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        fault = self.path.rpartition("/")[2]
        if fault == "404" or (fault == "503_once" and len(self.server.requests) == 1):
            self.send_error(404 if fault == "404" else 503)
            return
        self.send_response(200)
        if fault == "html":
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<html>Please log in to the hotel's network</html>")
            return
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if fault.startswith("cut"):
            self.wfile.write(CONTENT[: len(CONTENT) * int(fault[3:]) // 100])
        elif fault == "stall":
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            self.server.stop.wait(20)
        elif fault == "slow":
            for start in range(0, len(CONTENT), 10_000):
                self.wfile.write(CONTENT[start : start + 10_000])
                time.sleep(0.01)
        else:
            self.wfile.write(WRONG if fault == "wrong" else CONTENT)

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    requests: list[str]
    stop: threading.Event

    def handle_error(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("RESNETKIT_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetch_module, "PAUSE_S", 0.01)
    server = Server(("127.0.0.1", 0), Handler)
    server.requests, server.stop = [], threading.Event()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    monkeypatch.setenv("RESNETKIT_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()


def test_a_server_that_never_answers_is_given_up_within_seconds(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=5) as silent:
        monkeypatch.setenv("RESNETKIT_MIRROR", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert fetch_module.ANSWER_S <= 4
        monkeypatch.setattr(fetch_module, "ANSWER_S", 0.6)
        began = time.monotonic()
        with pytest.raises(NetworkError, match=r"no answer within 0\.6 s .*; ways out: --weights FILE"):
            fetch("https://x.org/w", tmp_path / "w", checksum=PREFIX, what="weights", ways_out=("--weights FILE",))
        assert time.monotonic() - began < 3


def test_a_name_server_that_never_answers_is_given_up_within_seconds(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*args: object, **kwargs: object) -> None:
        server.stop.wait(20)
        raise OSError

    monkeypatch.setattr(fetch_module, "ANSWER_S", 0.6)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(NetworkError, match="is there a network"):
        fetch("https://x.org/w", tmp_path / "w", checksum=PREFIX, what="weights")


def names_in(folder: Path) -> set[str]:
    """The files a reader of the cache can see; lock files are ours and empty."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_a_download_is_verified_recorded_and_not_repeated(server: Server, tmp_path: Path) -> None:
    counts: list[tuple[int, int | None]] = []
    for _ in range(2):
        target = fetch(
            "https://example.com/models/good",
            tmp_path / "new" / "w.pth",
            checksum=PREFIX,
            what="weights",
            progress=lambda done, total: counts.append((done, total)),
        )
    assert target.read_bytes() == CONTENT
    assert (tmp_path / "new" / "w.pth.sha256").read_text() == f"{DIGEST}  w.pth\n"
    assert names_in(tmp_path / "new") == {"w.pth", "w.pth.sha256"}
    assert server.requests == ["/models/good"]
    assert counts[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in counts] == sorted(done for done, _ in counts)


@pytest.mark.parametrize(
    ("fault", "got", "attempts", "says"),
    [
        ("cut0", b"", 3, "cut after 0 of 300,000 bytes"),
        ("cut1", CONTENT[:3_000], 3, "cut after 3,000 of 300,000 bytes"),
        ("cut50", CONTENT[:150_000], 3, "cut after 150,000 of 300,000 bytes"),
        ("cut99", CONTENT[:297_000], 3, "cut after 297,000 of 300,000 bytes"),
        ("wrong", WRONG, 1, "not what was published"),
        ("html", b"<html>Please log in to the hotel's network</html>", 1, "a web page came instead"),
        ("stall", CONTENT[:1000], 3, "the server stalled after 1,000 of 300,000 bytes"),
        ("404", None, 1, "404 Not Found; nothing came, so there is no actual checksum"),
    ],
)
def test_no_fault_reaches_the_cache_and_each_is_told(
    server: Server, tmp_path: Path, fault: str, got: bytes | None, attempts: int, says: str
) -> None:
    with pytest.raises(NetworkError) as raised:
        fetch(
            f"https://example.com/{fault}",
            tmp_path / "w.pth",
            checksum=PREFIX,
            what="resnet18",
            ways_out=["--weights FILE", "--weights none"],
            timeout_s=0.2,
        )
    message = str(raised.value)
    assert names_in(tmp_path) == set()
    assert len(server.requests) == attempts
    assert f"http://127.0.0.1:{server.server_port}/{fault}" in message
    assert f"expected sha256 {DIGEST[:8]}" in message
    assert says in message
    assert message.endswith("ways out: --weights FILE, or --weights none")
    assert "\n" not in message
    if got is not None:
        assert f"actual sha256 {hashlib.sha256(got).hexdigest()}" in message
    assert raised.value.exit_code == 7


def test_a_server_that_refuses_is_told(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETKIT_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(NetworkError, match=r"127.0.0.1:9/x .*connection failed.*tried 3 times"):
        fetch("https://example.com/x", tmp_path / "w", checksum=PREFIX, what="weights")


def test_a_passing_fault_is_tried_again(server: Server, tmp_path: Path) -> None:
    target = fetch("https://example.com/503_once", tmp_path / "w", checksum=PREFIX, what="weights")
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_file_another_program_downloaded_is_verified_and_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(CONTENT)
    fetch("https://example.com/good", tmp_path / "w", checksum=PREFIX, what="weights")
    assert server.requests == []
    assert (tmp_path / "w.sha256").read_text().startswith(DIGEST)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_wrong_file_in_the_cache_is_told_and_replaced(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, recorded: bool
) -> None:
    if recorded:
        fetch("https://example.com/good", tmp_path / "w", checksum=PREFIX, what="weights")
    (tmp_path / "w").write_bytes(WRONG)
    with caplog.at_level(logging.WARNING):
        fetch("https://example.com/good", tmp_path / "w", checksum=PREFIX, what="weights")
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert (tmp_path / "w.sha256").read_text().startswith(DIGEST)
    expected = DIGEST if recorded else DIGEST[:8]
    assert f"expected sha256 {expected}, actual {hashlib.sha256(WRONG).hexdigest()}" in caplog.text


def test_a_change_the_published_digits_do_not_see_is_seen_by_the_recorded_ones(server: Server, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(CONTENT)
    (tmp_path / "w.sha256").write_text("0" * 64 + "  w\n")
    fetch("https://example.com/good", tmp_path / "w", checksum=PREFIX, what="weights")
    assert server.requests == ["/good"]
    assert (tmp_path / "w.sha256").read_text().startswith(DIGEST)


def test_offline_a_verified_file_is_used_and_nothing_else(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETKIT_OFFLINE", "1")
    (tmp_path / "w").write_bytes(CONTENT)
    fetch("https://example.com/good", tmp_path / "w", checksum=PREFIX, what="weights")
    (tmp_path / "w").write_bytes(WRONG)
    for name, state in (("w", "changed since it was verified"), ("v", "absent")):
        with pytest.raises(NetworkError, match=f"RESNETKIT_OFFLINE is set and .*{name} is {state}.*ways out: take it"):
            fetch(
                "https://example.com/good",
                tmp_path / name,
                checksum=PREFIX,
                what="weights",
                ways_out=["take it there"],
            )
    assert server.requests == []


def test_md5_is_a_checksum_too(server: Server, tmp_path: Path) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()
    fetch("https://example.com/good", tmp_path / "w", checksum=f"md5:{md5}", what="data")
    with pytest.raises(NetworkError, match=f"expected md5 {md5}"):
        fetch("https://example.com/wrong", tmp_path / "v", checksum=f"md5:{md5}", what="data")


def test_a_mirror_keeps_its_own_path_and_must_be_an_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETKIT_MIRROR", f"http://127.0.0.1:{server.server_port}/torch/")
    fetch("https://example.com/models/good", tmp_path / "w", checksum=PREFIX, what="weights")
    assert server.requests == ["/torch/models/good"]
    monkeypatch.setenv("RESNETKIT_MIRROR", "mirror.example.com")
    with pytest.raises(UsageError, match=r"RESNETKIT_MIRROR must begin with https://, http:// or file://"):
        fetch("https://example.com/models/good", tmp_path / "v", checksum=PREFIX, what="weights")


def test_a_mirror_may_be_a_folder_and_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNETKIT_OFFLINE", raising=False)
    monkeypatch.setattr(fetch_module.time, "sleep", lambda seconds: pytest.fail("waited for a file"))
    monkeypatch.setenv("RESNETKIT_MIRROR", (tmp_path / "mirror").as_uri())
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/good").write_bytes(CONTENT)
    target = fetch("https://example.com/good", tmp_path / "w", checksum=PREFIX, what="weights")
    assert target.read_bytes() == CONTENT
    with pytest.raises(NetworkError, match=r"file:///.*/mirror/gone .*: the file cannot be read \(No such file"):
        fetch("https://example.com/gone", tmp_path / "v", checksum=PREFIX, what="weights")
    with pytest.raises(NetworkError, match="the file cannot be read"):  # a folder
        fetch("https://example.com/", tmp_path / "v", checksum=PREFIX, what="weights")


def test_a_place_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="file"):
        fetch("https://example.com/good", tmp_path / "file" / "w", checksum=PREFIX, what="weights")


_CHILD = """
import sys
from pathlib import Path
from resnetkit.data.sources.fetch import fetch
path = fetch("https://example.com/slow", Path(sys.argv[1]), checksum=sys.argv[2], what="weights")
print(len(path.read_bytes()))
"""


def child(target: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(target), PREFIX], stdout=subprocess.PIPE, text=True, env=os.environ.copy()
    )


def test_of_four_processes_one_downloads(server: Server, tmp_path: Path) -> None:
    children = [child(tmp_path / "w") for _ in range(4)]
    assert [process.communicate(timeout=30)[0].strip() for process in children] == [str(len(CONTENT))] * 4
    assert server.requests == ["/slow"]
    assert names_in(tmp_path) == {"w", "w.sha256"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_killed_download_blocks_nobody_and_its_remains_go(server: Server, tmp_path: Path) -> None:
    killed = child(tmp_path / "w")
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob(".w.????????.tmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert list(tmp_path.glob(".w.????????.tmp"))
    fetch("https://example.com/good", tmp_path / "w", checksum=PREFIX, what="weights")
    assert names_in(tmp_path) == {"w", "w.sha256"}
