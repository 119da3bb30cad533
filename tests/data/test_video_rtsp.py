"""Streams of a real RTSP server, GStreamer's, where one is installed: what stalls or dies is said, and goes on.

On Debian: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good.
"""

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from resnetkit.data.opening.video import Live, Thinned
from resnetkit.errors import NetworkError

pytest.importorskip("av")
pytestmark = pytest.mark.slow
PYTHON = shutil.which("python3", path="/usr/bin")  # GStreamer's own bindings are there, and not in our environment
SERVER = """
import sys
import gi
for name in ("Gst", "GstRtsp", "GstRtspServer"):
    gi.require_version(name, "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
Gst.init(None)
server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
server.set_service(sys.argv[1])
factory.set_launch("( videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=25/1"
                   " ! jpegenc ! rtpjpegpay name=pay0 )")
factory.set_shared(True)
factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, sys.argv[2]))
login, who, rights = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken(), GstRtspServer.RTSPPermissions()
who.set_string("media.factory.role", "user")
login.add_basic(GstRtspServer.RTSPAuth.make_basic("me", "secret"), who)
for right in ("access", "construct"):
    rights.add_permission_for_role("user", "media.factory." + right, True)
factory.set_permissions(rights)
server.set_auth(login)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("serves", flush=True)
GLib.MainLoop().run()
"""
Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture(params=["TCP", "UDP"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Start]]:
    """The address of a server with a password, and what starts it, again too."""
    needed = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if PYTHON is None or subprocess.run([PYTHON, "-c", needed], capture_output=True, check=False).returncode:
        pytest.skip("no RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good")
    (tmp_path / "server.py").write_text(SERVER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [PYTHON, str(tmp_path / "server.py"), str(port), request.param]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None
        assert started[-1].stdout.readline() == "serves\n"
        return started[-1]

    yield f"rtsp://me:secret@127.0.0.1:{port}/live", start
    for server in started:
        server.kill()
        server.communicate()


def test_a_server_that_stands_still_or_dies_is_said_and_the_stream_goes_on(serving: tuple[str, Start]) -> None:
    address, start = serving
    shown = address.replace("me:secret@", "")
    server = start()
    said: list[str] = []
    with Live(address, say=said.append, stall=2, pause=0.2, patience=60) as live:
        frames = live.frames(Thinned(a_second=5))
        times = [frame.time for frame in islice(frames, 10)]
        # What FFmpeg looked at before the first frame comes at once, and the newest of it are taken; then all are.
        later = [time - times[5] for time in times[5:]]
        assert later == pytest.approx([number / 5 for number in range(5)], abs=0.1)
        server.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        timer = threading.Timer(4, server.send_signal, (signal.SIGCONT,))
        timer.start()
        while not said:  # what came before may wait for us
            next(frames)
        assert said[0] == f"{shown}: it stalls, no frame for 2 s: trying again"
        assert 4 < time.monotonic() - begun < 20
        server.kill()
        server.wait()
        server = start()
        after = next(frame.time for frame in frames if said[-1] != said[0])
    assert after > times[-1] + 2, "the gap is in the times"
    assert f"{shown}: it ended: trying again" in said
    assert "secret" not in " ".join((*said, live.about.source))


def test_what_a_server_refuses_is_told_at_once(serving: tuple[str, Start]) -> None:
    address, start = serving
    start()
    for wrong, why in ((address + "ly", "404 Not Found"), (address.replace("secret", "sacred"), "401 Unauthorized")):
        with pytest.raises(NetworkError, match=f"cannot be read .*{why}") as refused:
            Live(wrong, patience=60)
        assert "me:" not in str(refused.value)
