"""What is seen of frames: the answers of pictures, in order, with number and time, again after an interruption."""

import csv
import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnetkit.cli import main
from resnetkit.cli.progress import ConsoleWatcher
from resnetkit.data.opening.video import Frame, Video
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.threads import ahead
from resnetkit.errors import UsageError
from resnetkit.inference.predictor import Predictor
from resnetkit.inference.video.kept import Kept
from resnetkit.inference.video.seen import Seen, seen
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header
from resnetkit.models.resnet import ResNet
from tests.models.test_resnet import KINDS, randomised
from tests.videos import made, plain

pytest.importorskip("av", reason="videos need PyAV")
GREYS = (0, 10, 30, 60, 100, 140, 170, 200, 230, 250)
HOW = ("--model", "model.safetensors", "--threads", "1", "--precision", "fp32", "--quiet")


class Brightness:
    """Engine whose logits are the mean brightness, and its negative."""

    batch_size = 4
    ahead = 0

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        bright = pixels.astype(np.float32).mean(axis=(1, 2, 3)) / 25 - 5
        return np.stack([bright, -bright], axis=1)

    def submit(self, pixels: np.ndarray) -> Any:
        found = self.logits(pixels)
        return type("Done", (), {"result": lambda self: found})()


def of_brightness() -> Predictor:
    return Predictor(Brightness(), classes=("bright", "dark"), preprocess=Preprocess.for_size(32))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("clip") / "clip.mp4", plain(*GREYS), rate=10)


def test_each_frame_is_answered_as_its_picture_is(clip: Path) -> None:
    predictor = of_brightness()
    with Video(str(clip)) as video:
        images = [frame.image for frame in video.frames()]
    with Video(str(clip)) as video:
        found = list(seen(predictor, video.frames(), source="clip.mp4"))
    assert [one.number for one in found] == list(range(len(GREYS)))
    assert [round(one.time, 3) for one in found] == [number / 10 for number in range(len(GREYS))]
    told = [one.told(predictor, "clip.mp4", top_k=2) for one in found]
    assert [one.top for one in told] == [predictor.predict(image, top_k=2).top for image in images if image]
    assert {one.label for one in told} == {"bright", "dark"}
    assert told[3].to_json()["frame"] == 3
    assert type(told[3]).from_json(told[3].to_json()).moment == told[3].moment


def test_a_broken_frame_costs_that_frame() -> None:
    frames = [Frame(0, 0.0, None, error="is cut off"), Frame(1, 0.1, _grey(200))]
    broken, whole = seen(of_brightness(), iter(frames), source="clip.mp4", images=True)
    told = broken.told(of_brightness(), "clip.mp4", top_k=2)
    assert (told.status, told.error) == ("error", "clip.mp4#0: is cut off")
    assert whole.row is not None
    assert whole.image is frames[1].image


def _grey(value: int) -> Any:
    from PIL import Image

    return Image.new("RGB", (64, 48), (value,) * 3)


def test_what_is_kept_comes_again_and_a_torn_end_is_taken_away(tmp_path: Path) -> None:
    path, rows = tmp_path / "rows.csv.seen", [np.array([0.25, 0.75], np.float32), None, np.zeros((0, 6), np.float32)]
    all_of_them = [Seen(number=n, time=n / 3, row=row, size=(64, 48)) for n, row in enumerate(rows)]
    with Kept.open(path, {"model": "a"}) as kept:
        for one in all_of_them:
            kept.add(one)
    with open(path, "ab") as file:
        file.write(path.read_bytes()[-20:-3])  # killed while it wrote
    with Kept.open(path, {"model": "a"}) as kept:
        assert (kept.frames, kept.last) == (3, 2)
        again = list(kept.again())
        kept.add(Seen(number=3, time=1.0, row=rows[0]))
    for one, before in zip(again, all_of_them, strict=True):
        assert (one.number, one.time, one.size) == (before.number, before.time, before.size)
        assert (one.row is None) if before.row is None else np.array_equal(one.row, before.row)
    with Kept.open(path, {"model": "a"}) as kept:
        assert [one.number for one in kept.again()] == [0, 1, 2, 3]
    with pytest.raises(Exception, match="another model, video or choice of frames"), Kept.open(path, {"model": "b"}):
        pass
    path.write_bytes(b"something else altogether")
    with pytest.raises(Exception, match="take it away"), Kept.open(path, {}):
        pass


def test_zeros_at_the_end_of_what_is_kept_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.seen"
    for frames in (0, 2):  # the zeros are what a disk makes of what a loss of power left unwritten
        with Kept.open(path, {}) as kept:
            assert kept.frames == 0
            for number in range(frames):
                kept.add(Seen(number=number, time=0.0, row=None))
        with open(path, "ab") as file:
            file.write(bytes(4096))
    with Kept.open(path, {}) as kept:
        assert [one.number for one in kept.again()] == [0, 1]
        kept.add(Seen(number=2, time=0.0, row=None))
    with Kept.open(path, {}) as kept:
        assert kept.last == 2
    path.write_bytes(path.read_bytes()[:8] + bytes(100))
    with Kept.open(path, {}) as kept:
        assert kept.frames == 0


def test_two_commands_do_not_keep_in_one_file(predict: Callable[..., tuple[int, str, str]]) -> None:
    path = Path("rows.csv.seen")
    line = f"{path}: another command is writing it and makes the same output: wait for it, or name another output"
    with Kept.open(path, {}) as kept:
        kept.add(Seen(number=0, time=0.0, row=None))
        with pytest.raises(UsageError, match=re.escape(line)), Kept.open(path, {}):
            pass
        Path("model.safetensors").unlink()
        code, _, said = predict("clip.mp4", "--output", "rows.csv")
        assert (code, said.splitlines()[-1]) == (2, f"resnetkit: {line}"), "before a model is opened"
    with Kept.open(path, {}) as kept:
        assert kept.frames == 1


def test_a_thread_that_makes_ahead_stops_with_who_takes_and_hands_on_what_it_raises() -> None:
    closed: list[int] = []

    def made_things() -> Any:
        try:
            for number in range(1000):
                yield number
        finally:
            closed.append(number)

    things = ahead(made_things(), limit=2)
    assert [next(things), next(things)] == [0, 1]
    things.close()
    assert closed[0] < 10

    def broken() -> Any:
        yield 1
        raise ValueError("cut")

    things = ahead(broken(), limit=2)
    assert next(things) == 1
    with pytest.raises(ValueError, match="cut"):
        next(things)


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clip: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    spec = KINDS["resnet20"]
    header = Header(spec=spec, classes=tuple(map(str, range(spec.num_classes))), preprocess=Preprocess.for_size(32))
    checkpoint.save(Path("model.safetensors"), randomised(ResNet(spec)).eval(), header)
    Path("clip.mp4").symlink_to(clip)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["predict", *arguments, *HOW])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(left.value.code or 0), said.out, said.err

    return run


def test_the_same_command_goes_on_with_the_same_rows(
    predict: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict("clip.mp4", "--output", "whole.csv", "--batch-size", "2")[0] == 0
    rows = list(csv.DictReader(Path("whole.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == [str(number) for number in range(len(GREYS))]
    assert rows[3]["time"] == "0.300"

    add = Kept.add

    def stopped(self: Kept, one: Seen) -> None:
        add(self, one)
        if one.number == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Kept, "add", stopped)
        code, _, said = predict("clip.mp4", "--output", "rows.csv", "--batch-size", "2")
    assert code == 130
    assert "the same command goes on" in said
    assert not Path("rows.csv").exists()
    looked_at: list[int] = []
    read = Predictor.answered_of
    monkeypatch.setattr(
        Predictor, "answered_of",
        lambda self, found, **how: read(self, (looked_at.append(1) or one for one in found), **how),  # type: ignore[func-returns-value]
    )  # fmt: skip
    assert predict("clip.mp4", "--output", "rows.csv", "--batch-size", "2")[0] == 0
    assert len(looked_at) == len(GREYS) - 5
    assert Path("rows.csv").read_text() == Path("whole.csv").read_text()
    assert not Path("rows.csv.seen").exists()


def test_one_answer_for_a_whole_video_and_fewer_frames(predict: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = predict("clip.mp4", "--aggregate", "mean", "--every", "0.5s", "--format", "json")
    [told] = json.loads(out)
    assert (code, told["pictures"], told["source"]) == (0, 2, "clip.mp4")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("clip.mp4", "--sort-into", "sorted"), "--sort-into is for pictures"),
        (("clip.mp4", "--every", "often"), "--every often: write it as 5"),
        (("clip.mp4", "--smooth", "medain 1s"), "did you mean 'median'?"),
        (("clip.mp4", "--track"), "gives one class"),
        (("list.csv", "--smooth", "3 of 5"), "list.csv is a list of single pictures, or of intervals: name the videos"),
        (("clip.mp4", "--events", "e.txt"), ".csv, .jsonl, .png, .html"),
        (("clip.mp4", "--draw", "e.avi"), ".mp4, .webm or .mkv"),
        (("clip.mp4", "--aggregate", "mean", "--smooth", "3 of 5"), "--smooth is of frames"),
        (("clip.mp4", "--rate", "25"), "--rate is for folders of frames"),
        (("model.safetensors", "--smooth", "3 of 5"), "--rate 25"),
        (("clip.mp4", "--min-event", "1"), "add --events"),
        (("clip.mp4", "--output", "a.csv", "--events", "a.csv"), "a.csv is to hold two things"),
        (("clip.mp4", "more/clip.mp4", "--draw", "drawn"), "two of the videos are called clip"),
        (("clip.mp4", "gone.mp4", "--output", "a.csv"), "gone.mp4: no such file"),
        (("clip.mp4", "model.safetensors"), "name them in two commands"),
        (("nowhere.mp4",), "nowhere.mp4"),
    ],
)
def test_what_has_no_meaning_is_refused(
    predict: Callable[..., tuple[int, str, str]], given: tuple[str, ...], says: str
) -> None:
    Path("more").mkdir()
    Path("more/clip.mp4").symlink_to(Path("clip.mp4").resolve())
    code, _, said = predict(*given)
    assert code in (2, 3)
    assert says in said


def test_what_can_be_known_before_is_refused_before_a_model_is_opened(
    predict: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetkit.api.load", lambda *_, **__: pytest.fail("is opened"))
    os.mkfifo("pipe.mp4")
    for given in (("clip.mp4", "--track"), ("clip.mp4", "--rate", "25"), ("pipe.mp4",)):
        code, out, said = predict(*given)
        assert (code, out) == (2, "")
    assert "pipe.mp4: is neither a file nor a folder" in said


def test_a_list_with_a_wrong_line_is_told_by_that_line(predict: Callable[..., tuple[int, str, str]]) -> None:
    Path("list.csv").write_text("video,start,end,label\nclip.mp4,0,1,a\nclip.mp4,2,1,b\n")
    code, out, said = predict("list.csv")
    assert (code, out) == (3, "")
    assert said.splitlines()[-1].startswith("resnetkit: list.csv, line 3: ends at 1, which is no later")


def test_beside_rows_there_are_events_a_picture_a_page_and_a_video_also_after_an_interruption(
    predict: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_into(folder: str) -> tuple[str, ...]:
        names = [f"{folder}/events.csv", f"{folder}/time.png", f"{folder}/page.html"]
        return (
            "clip.mp4",
            "--smooth",
            "2 of 3",
            "--batch-size",
            "2",
            "--draw",
            f"{folder}/drawn.mkv",
            *(part for name in names for part in ("--events", name)),
        )

    assert predict(*made_into("whole"))[0] == 0
    add = Kept.add
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "add", lambda self, one: (add(self, one), _raise() if one.number == 4 else None))
        code, _, said = predict(*made_into("stopped"))
    assert code == 130
    assert said.splitlines()[-1].endswith("the same command goes on, and writes the annotated video from its beginning")
    assert [path.name for path in Path("stopped").iterdir()] == ["events.csv.seen"]
    Path("stopped/.drawn.mkv.k1ll3d_1.tmp").touch()
    notes: list[str] = []
    monkeypatch.setattr(ConsoleWatcher, "note", lambda self, line: notes.append(line))
    assert predict(*made_into("stopped"))[0] == 0
    going_on = "going on behind frame 4, as stopped/events.csv.seen keeps"
    assert f"{going_on}; the annotated video is written from its beginning" in notes
    assert sorted(path.name for path in Path("stopped").iterdir()) == [
        "drawn.mkv", "events.csv", "page.html", "time.png",
    ]  # fmt: skip
    for name in ("events.csv", "page.html"):
        assert Path("stopped", name).read_text() == Path("whole", name).read_text()
    rows = list(csv.DictReader(Path("whole/events.csv").read_text().splitlines()))
    assert sum(int(row["frames"]) for row in rows) == len(GREYS) - 1  # two of the first three frames agree first
    with Video("stopped/drawn.mkv") as video:
        assert [round(frame.time, 2) for frame in video.frames()] == [number / 10 for number in range(len(GREYS))]


def _raise() -> None:
    raise KeyboardInterrupt


def test_frames_in_a_folder_are_a_video_at_a_rate(predict: Callable[..., tuple[int, str, str]]) -> None:
    from PIL import Image

    Path("frames").mkdir()
    for number, picture in enumerate(plain(*GREYS)):
        Image.fromarray(picture).save(f"frames/{number}.png")
    code, out, _ = predict("frames", "--rate", "5", "--format", "csv")
    times = [row["time"] for row in csv.DictReader(out.splitlines())]
    assert (code, times[:3], len(times)) == (0, ["0.000", "0.200", "0.400"], len(GREYS))


def test_a_broken_video_among_several_costs_itself(predict: Callable[..., tuple[int, str, str]]) -> None:
    Path("broken.mp4").write_text("no video")
    code, out, _ = predict("broken.mp4", "clip.mp4", "clip.mp4", "--format", "csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert (code, len(rows)) == (4, 1 + len(GREYS))
    assert "broken.mp4: cannot be read as a video" in rows[0]["error"]
    code, out, _ = predict("clip.mp4", "broken.mp4", "--aggregate", "mean", "--format", "json")
    assert (code, [told["pictures"] for told in json.loads(out)]) == (4, [len(GREYS), 0])


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_frames_of_a_stream_are_answered_as_they_come(batch: int | None) -> None:
    came: list[int] = []

    asked_for = threading.Semaphore(0)

    def frames() -> Any:
        for number, grey in enumerate(GREYS):
            came.append(number)
            yield Frame(number, number / 10, _grey(grey))
            assert asked_for.acquire(timeout=5), "an answer waits for the frames behind it"

    answered = seen(of_brightness(), frames(), source="camera:0", live=True, batch_size=batch)
    together = batch or 1
    for number in range(0, 6, together):
        for _ in range(together - 1):
            asked_for.release()
        assert [next(answered).number for _ in range(together)] == list(range(number, number + together))
        assert came == list(range(number + together))
        asked_for.release()
    asked_for.release(len(GREYS))
    assert [one.number for one in answered] == list(range(6, len(GREYS))), "the last ones may be fewer"
