"""Lists that say what videos show from when to when, as pictures."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from resnetkit.data.opening.video import Video
from resnetkit.data.sources import moments, open_data, open_pictures
from resnetkit.errors import DataError
from tests.videos import made, plain

pytest.importorskip("av", reason="videos need PyAV")
HEADER = "video,start,end,label\n"


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two videos of 4 seconds at 5 frames a second, each second of another grey."""
    folder = tmp_path_factory.mktemp("drives")
    for name, greys in {"a.mp4": (20, 90, 160, 230), "b.mp4": (40, 110, 180, 250)}.items():
        made(folder / name, plain(*np.repeat(greys, 5).tolist()), rate=5)
    return folder


def listed(folder: Path, rows: str, header: str = HEADER) -> str:
    path = folder / "list.csv"
    path.write_text(header + rows)
    return str(path)


def test_a_frame_a_second_is_a_picture_of_its_interval_and_its_video_a_group(drives: Path) -> None:
    found = open_data(listed(drives, "a.mp4,0,2,dark\na.mp4,0:02,0:00:04,bright\nb.mp4,1.2,1.4,dark\n"))
    told = [(item.source.removeprefix(f"{drives}/"), item.label, item.group) for item in found.items]
    assert told == [
        ("a.mp4#0.500", "dark", "a.mp4"), ("a.mp4#1.500", "dark", "a.mp4"), ("a.mp4#2.500", "bright", "a.mp4"),
        ("a.mp4#3.500", "bright", "a.mp4"), ("b.mp4#1.300", "dark", "b.mp4"),
    ]  # fmt: skip
    assert found.notes == ("2 videos, 3 intervals: 5 frames, one a second",)
    greys = [float(np.mean(np.asarray(found.open(item)))) for item in found.items]
    assert np.allclose(greys, [20, 90, 160, 230, 110], atol=4)


def test_frames_are_those_of_the_video_in_any_order_and_from_several_threads(drives: Path) -> None:
    with Video(str(drives / "a.mp4")) as video:
        frames = [(frame.time, np.asarray(frame.image)) for frame in video.frames()]
    keys = [f"{drives}/a.mp4#{time:.3f}" for time, _ in frames]
    reader = moments.VideoFrames()
    order = np.random.default_rng(0).permutation(len(keys)).tolist()
    for number in order[:6]:
        assert np.array_equal(reader.read(keys[number]), frames[number][1])
    with ThreadPoolExecutor(4) as threads:
        for read, (_, frame) in zip(threads.map(reader.read, keys), frames, strict=True):
            assert np.array_equal(read, frame)


def test_forwards_a_video_is_decoded_once_by_each_thread_at_most(drives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    decoding = moments.Decoding
    monkeypatch.setattr(moments, "Decoding", lambda path, **how: (opened.append(path), decoding(path, **how))[1])
    keys = [f"{drives}/b.mp4#{number / 5:.3f}" for number in range(20)]
    reader = moments.VideoFrames()
    for key in keys:
        reader.read(key)
    assert len(opened) == 1
    opened.clear()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(moments.VideoFrames().read, keys))
    assert len(opened) <= 4


def test_columns_name_groups_parts_and_several_labels(drives: Path) -> None:
    rows = "a.mp4,0,2,car,train,monday\nb.mp4,0,2,car,val,tuesday\n"
    found = open_data(listed(drives, rows, "video,start,end,label,split,group\n"))
    assert [(item.split, item.group) for item in found.items] == [("train", "monday")] * 2 + [("val", "tuesday")] * 2
    both = open_data(listed(drives, "a.mp4,0,3,car\na.mp4,1,2,person\nb.mp4,0,1,\n"), task="multilabel")
    assert [item.labels for item in both.items] == [("car",), ("car", "person"), ("car",), ()]
    assert open_data(str(drives / "list.csv")).several  # a frame with two labels says so by itself
    between = open_data(listed(drives, "a.mp4,0,3,car\na.mp4,1.2,1.4,person\nb.mp4,0,1,\n"), task="multilabel")
    assert [item.labels for item in between.items if item.source.endswith("#1.300")] == [("car", "person")]
    with pytest.raises(DataError, match=r"line 3: a.mp4 is in group 'b', and in line 2 in 'a'"):
        open_data(listed(drives, "a.mp4,0,1,car,a\na.mp4,1,2,car,b\n", "video,start,end,label,group\n"))
    with pytest.raises(DataError, match=r"line 3: a.mp4#1.500 is listed again \(first in line 2\)"):
        open_data(listed(drives, "a.mp4,0,3,car\na.mp4,1,2,person\n"), task="classification")


def test_a_list_of_intervals_is_named_too(drives: Path) -> None:
    found = open_pictures(listed(drives, "a.mp4,0,2\n", "video,start,end\n"))
    assert [Path(item.source).name for item in found.items] == ["a.mp4#0.500", "a.mp4#1.500"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.mp4,soon,2,car", "line 2: start is 'soon'"),
        ("a.mp4,2,2,car", "line 2: ends at 2, which is no later than it starts"),
        ("a.mp4,0,9,car", "line 2: ends at 9.000 s, and a.mp4 at 4.000 s"),
        ("gone.mp4,0,9,car", "line 2: .*gone.mp4"),
        ("list.csv,0,9,car", "line 2: .*list.csv"),
        (",0,9,car", "line 2: video is empty"),
    ],
)
def test_what_cannot_be_is_one_line(drives: Path, row: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_data(listed(drives, f"{row}\n"))


def test_a_list_without_start_says_what_is_expected(drives: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'start'.*expected video,start,end,label"):
        open_data(listed(drives, "a.mp4,car\n", "video,label\n"))


def test_a_video_that_is_written_in_several_ways_is_one_group(drives: Path) -> None:
    os.symlink(drives / "a.mp4", drives / "linked.mp4")
    rows = f"a.mp4,0,1,car\n./a.mp4,1,2,bus\n{drives}/a.mp4,2,3,car\nlinked.mp4,0,1,car\n"
    found = open_data(listed(drives, rows))
    os.unlink(drives / "linked.mp4")
    assert len({item.group for item in found.items}) == 1
    assert len(found.items) == 3, "what is said twice of a frame is one frame"
    with pytest.raises(DataError, match=r"line 3: a.mp4 is in group 'tue', and in line 2 in 'mon'"):
        open_data(listed(drives, "a.mp4,0,1,car,mon\n./a.mp4,1,2,car,tue\n", "video,start,end,label,group\n"))
