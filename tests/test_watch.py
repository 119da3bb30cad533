"""`watch` from end to end: pictures, videos and folders held against a model's reference, and what comes of that."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.api import references, sights, watching
from resnetkit.checking.drift import reference as drift
from resnetkit.cli.watch import _wrapped
from resnetkit.data.dataset import Item
from resnetkit.data.opening.video import ALL
from resnetkit.data.prepared import Part
from resnetkit.errors import DataError, UsageError
from resnetkit.inference.predictor import Predictor
from resnetkit.watcher import Watcher
from tests.videos import made

Output = tuple[int, str, str]
SIDE = 16


def scenes(count: int, seed: int, *, changed: bool = False) -> list[Image.Image]:
    """Return pictures of coarse noise, or where they are `changed` of finer and darker noise."""
    random = np.random.default_rng(seed)
    grid = (count, 8, 8, 3) if changed else (count, 4, 4, 3)
    coarse = random.integers(40, 255, grid) * (0.4 if changed else 1.0)
    return [Image.fromarray(one.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for one in coarse]


class Rows:
    """Decoded pictures in memory."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.pixels[rows]


def written(folder: Path, pictures: list[Image.Image], *, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, start=first):
        picture.save(folder / f"{number:04d}.png")
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, finished: rk.Run) -> Path:
    """A reference of 300 pictures by the model of the run, which a first watch saved."""
    place = tmp_path_factory.mktemp("watch")
    written(place / "usual", scenes(300, 0))
    written(place / "today", scenes(60, 1))
    changed = written(place / "changed", scenes(30, 2))
    written(changed, scenes(60, 3, changed=True), first=30)
    found = rk.watch(
        place / "today", model=finished.folder.path, reference=place / "usual", save_reference=place / "usual.npz",
        false_alarm_every=1_000, threads=1,
    )  # fmt: skip
    assert not found.alarms
    assert (found.counted + found.copies, found.unreadable) == (60, 0)
    assert found.words.startswith("no alarm: ")
    return place


def test_a_run_keeps_features_of_what_it_held_out_and_no_names(
    finished: rk.Run, kept: Path, resnetkit: Callable[..., Output]
) -> None:
    file = finished.folder.path / "reference.npz"
    own = drift.read(file)
    rows = (finished.folder.path / "split.csv").read_text().splitlines()[1:]
    assert sum(own.counts.values()) == len(own) == sum(",train" not in row for row in rows)
    assert not any(word in file.read_bytes() for word in (b".png", b"train", str(finished.folder.path.parent).encode()))
    code, out, _ = resnetkit("watch", kept / "today", "--model", finished.folder.path, "--quiet")
    assert (code, out.startswith("alarm: since picture ")) == (8, True)  # they are no digits


def test_features_that_were_kept_while_pictures_were_scored_are_those_of_another_pass(finished: rk.Run) -> None:
    model = rk.load(finished.folder.path, engine="torch", precision="fp32", threads=1)
    pictures = [np.asarray(one) for one in scenes(7, 10)]
    pixels = np.stack([model.header.preprocess.pixels(Image.fromarray(one)) for one in pictures])
    part = Part(items=tuple(Item(str(number)) for number in range(7)), targets=np.zeros(7), pixels=Rows(pixels))  # type: ignore[arg-type]
    once, again = references.HeldOut(model, {"val": part}), references.HeldOut(model, {"val": part})
    with once.scoring("val"):
        for start in (0, 3, 6):
            model.engine.logits(pixels[start : start + 3])
    with again.scoring("val", views="flip"):
        model.engine.logits(pixels)
    assert list(once._read) == ["val"]
    assert not again._read
    np.testing.assert_allclose(once.reference().features, again.reference().features, atol=1e-5)


def test_features_of_every_engine_are_what_the_head_reads(finished: rk.Run) -> None:
    place = finished.folder.path
    torch, openvino = (rk.load(place, engine=engine, precision="fp32", threads=1) for engine in ("torch", "openvino"))
    pixels, own = drift.probes(torch.header.preprocess), drift.read(place / "reference.npz")
    ours, theirs = (references.feature_engine(model).logits(pixels) for model in (torch, openvino))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    head = torch.network.body.fc
    logits = ours @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(logits, torch.engine.logits(pixels), atol=1e-4)
    own.check_fits(references.feature_engine(openvino), openvino.header.preprocess, name="it", file="reference.npz")


@pytest.mark.parametrize(("dicom", "precision", "carried"), [(False, "fp32", 1), (True, "fp32", 0), (False, "int8", 0)])
def test_exports_carry_the_reference_but_not_that_of_patients_or_of_other_arithmetic(
    tmp_path: Path, dicom: bool, precision: str, carried: int
) -> None:
    (tmp_path / "out").mkdir()
    source, made = SimpleNamespace(path=tmp_path / "m"), SimpleNamespace(folder=tmp_path / "out", precision=precision)
    references.carry(source, made, dicom=dicom)  # type: ignore[arg-type]
    (tmp_path / "reference.npz").write_bytes(b"features")
    references.carry(source, made, dicom=dicom)  # type: ignore[arg-type]
    assert len(list((tmp_path / "out").iterdir())) == carried


def test_an_alarm_has_its_own_exit_code_calls_a_program_and_shows_the_pictures(
    kept: Path, finished: rk.Run, resnetkit: Callable[..., Output]
) -> None:
    does = (
        'import os, sys; open("told.json", "w").write(sys.stdin.read()); sys.exit(3 + (not os.path.sameopenfile(1, 2)))'
    )
    program = f"{sys.executable} -c '{does}'"
    code, out, err = resnetkit(
        "watch", kept / "changed", "--model", finished.folder.path, "--reference", kept / "usual.npz", "--quiet",
        "--false-alarm-every", 1_000, "--call", program, "--report", "shown", "--format", "json", "--threads", 1,
    )  # fmt: skip
    assert code == 8
    assert "ended with 3" in err
    [alarm] = json.loads(out)["alarms"]
    assert alarm == json.loads(Path("told.json").read_text())
    assert alarm["kind"] == "drift"
    assert 29 <= alarm["since"]["picture"] <= 34
    assert alarm["at"]["picture"] < 60
    assert alarm["looks"]["brightness"]["deviations"] < -1
    assert json.loads(Path("shown/watch.json").read_text())["alarms"] == [alarm]
    with Image.open("shown/alarm-1.png") as sheet:
        assert sheet.width > 600


def test_a_watch_that_goes_on_begins_anew_after_an_alarm(kept: Path, finished: rk.Run) -> None:
    told: list[int] = []
    found = rk.watch(
        kept / "changed", model=finished.folder.path, reference=kept / "usual.npz", keep_watching=True, threads=1,
        false_alarm_every=1_000, on_alarm=lambda alarm: told.append(alarm.at.number),
    )  # fmt: skip
    assert told == [alarm.at.number for alarm in found.alarms]
    assert len(told) > 1
    assert found.counted + found.copies == 90


def test_a_video_is_watched_by_its_time_and_a_picture_that_stands_still_is_told(
    kept: Path, finished: rk.Run, tmp_path: Path
) -> None:
    shown = [np.asarray(one.resize((64, 48))) for one in scenes(12, 4) + scenes(20, 5, changed=True)]
    frames = [shown[min(number // 5, 5)] if number < 60 else shown[number - 48] for number in range(80)]
    video = made(tmp_path / "v.mp4", frames, rate=5)
    found = rk.watch(
        str(video), model=finished.folder.path, reference=kept / "usual.npz", false_alarm_every=1_000, every="0.2s",
        threads=1, still="3s", keep_watching=True, report=tmp_path / "told",
    )  # fmt: skip
    assert found.copies >= 45
    still, drift = found.alarms[:2]
    kinds = [alarm.kind for alarm in found.alarms]
    assert kinds.count("still") == 1
    assert found.words == (
        f"{len(kinds)} alarms (still 1, drift {len(kinds) - 1}) in 80 pictures, among them {found.copies} copies of "
        "their neighbours"
    )
    assert (still.kind, still.since.time, still.pictures) == ("still", pytest.approx(5, abs=0.3), 15)
    assert still.at.time == pytest.approx(still.since.time + 3, abs=0.01)  # type: ignore[operator]
    assert ", for 3.0 s, 15 copies in a row" in still.words
    assert still.to_json()["kind"] == "still"
    assert drift.since.source.startswith(f"{video}#")
    assert drift.since.time == pytest.approx(12, abs=1)
    assert len(list((tmp_path / "told").glob("alarm-*.png"))) == len(found.alarms)


def test_too_few_pictures_say_nothing_and_broken_ones_are_counted(
    kept: Path, finished: rk.Run, tmp_path: Path, resnetkit: Callable[..., Output]
) -> None:
    written(tmp_path / "few", scenes(5, 6))
    (tmp_path / "few" / "broken.png").write_bytes(b"no picture")
    ask = ("--model", finished.folder.path, "--reference", kept / "usual.npz", "--threads", 1, "--quiet")
    code, out, err = resnetkit("watch", tmp_path / "few", *ask)
    assert code == 4
    assert "5 pictures (and 1 that cannot be read, which do not count): too few to say anything" in out
    assert "broken.png" in err


def test_what_cannot_be_read_of_a_reference_is_told(kept: Path, finished: rk.Run, tmp_path: Path) -> None:
    folder, said = written(tmp_path / "some", scenes(3, 6)), list[str]()
    (folder / "broken.png").write_bytes(b"no picture")
    model = rk.load(finished.folder.path, threads=1, precision="fp32")
    predictor = Predictor(
        references.feature_engine(model), classes=(), preprocess=model.header.preprocess, name="m"
    )  # fmt: skip
    looked = sights.Sights(predictor, thinned=ALL, order="name", threads=1, say=said.append)
    assert sum(len(features) for _, features, _ in looked.of_reference(str(folder))) == 3
    assert said == ["1 picture of the reference cannot be read"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--false-alarm-every", 10), "--false-alarm-every 10: must be 1,000 to 100,000"),
        (("--call", "no-such-program"), "there is no such program"),
        (("--follow",), "--follow watches one folder"),
        (("--save-reference", "usual.npz"), "is there already"),
        (("--save-reference", "usual.npz/there"), "cannot be written to"),
        (("--report", "usual.npz"), "is a file"),
        (("--report", "usual.npz/there"), "cannot be written to"),
        (("--report", "earlier"), "has an earlier report in it (watch.json); name another folder"),
        (("gone.mp4",), "gone.mp4: no such file"),
        (("--reference", "usual.npz"), "is no reference, or damaged"),
        (("--reference", "pipe.npz"), "pipe.npz: is neither a file nor a folder"),
        (("--every", "0s"), "--every 0s"),
        (("--still", "5 minutes"), "--still 5 minutes: write it as"),
    ],
)
def test_wrong_usage_is_one_line(
    more: tuple[object, ...], says: str, finished: rk.Run, kept: Path, resnetkit: Callable[..., Output]
) -> None:
    Path("usual.npz").write_bytes(b"PK")
    os.mkfifo("pipe.npz")
    Path("earlier").mkdir()
    Path("earlier/watch.json").write_text("{}")
    code, _, err = resnetkit("watch", kept / "today" / "0000.png", "--model", finished.folder.path, *more)
    assert (code, says in err) == (3 if says.startswith("is no reference") else 2, True)
    assert len(err.splitlines()) <= 2


def test_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    for options, says in (
        ({"follow": True, "order": "time"}, "--order: --follow takes pictures as they come"),
        ({"follow": True, "every": "5"}, "--every: is for videos and streams that are named themselves"),
    ):
        with pytest.raises(UsageError, match=says):
            rk.watch(tmp_path, model="resnet20.cifar10", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--order: only videos are named"):
        rk.watch("rtsp://camera/1", model="resnet20.cifar10", order="time")


def test_a_model_without_a_reference_says_how_to_get_one(resnetkit: Callable[..., Output], kept: Path) -> None:
    code, _, err = resnetkit("watch", kept / "today", "--model", "resnet20.cifar10")
    assert code == 2
    assert "--reference DATA" in err


def test_pictures_come_in_the_order_in_which_they_were_written(kept: Path, finished: rk.Run, tmp_path: Path) -> None:
    folder = written(tmp_path / "backwards", scenes(6, 7))
    for number, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (1e9 - number, 1e9 - number))
    looking = sights.Sights(None, thinned=None, order="time", threads=1, say=print)  # type: ignore[arg-type]
    ordered = looking._ordered(rk.api.sights.open_pictures(folder))
    assert [Path(item.source).name for item in ordered.items] == [f"{number:04d}.png" for number in range(5, -1, -1)]
    with pytest.raises(UsageError, match="--order time"):
        looking._ordered(rk.api.sights.open_pictures(_zipped(tmp_path, folder)))


def _zipped(place: Path, folder: Path) -> Path:
    import shutil

    return Path(shutil.make_archive(str(place / "pictures"), "zip", folder))


def test_a_folder_is_followed_until_ctrl_c(
    kept: Path, finished: rk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sights, "_LOOK_AGAIN_S", 0.05)
    folder, rounds, said = written(tmp_path / "growing", scenes(3, 8)), [], list[str]()

    def wait(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 2:
            written(folder, scenes(4, 9), first=3)
            for name in ("empty.png", "empty too.png"):
                (folder / name).touch()
        if len(rounds) > 200 or (len(list(folder.iterdir())) == 9 and len(rounds) > 8):
            raise KeyboardInterrupt
        threading.Event().wait(seconds)

    monkeypatch.setattr(sights.time, "sleep", wait)
    watcher = Watcher()
    monkeypatch.setattr(watcher, "note", said.append)
    found = rk.watch(
        folder, model=finished.folder.path, reference=kept / "usual.npz", follow=True, threads=1, watcher=watcher
    )
    assert found.counted + found.copies == 7
    assert (found.signal, found.unreadable) == (2, 2)
    assert len([line for line in said if "what cannot be read does not count" in line]) == 1


def test_pictures_dated_in_the_future_are_followed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "ahead", scenes(2, 8))
    os.utime(folder / "0001.png", (9e9, 9e9))
    os.utime(folder / "0000.png", (1e9, 1e9))
    slept: list[float] = []
    monkeypatch.setattr(sights.time, "sleep", slept.append)
    found = sights.followed(str(folder), say=lambda line: None)
    assert next(found).picture.source.endswith("0000.png")
    assert not slept
    assert next(found).picture.source.endswith("0001.png")
    assert len(slept) == 1


def test_a_followed_folder_into_which_nothing_comes_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, said, rounds = written(tmp_path / "camera", scenes(1, 8)), list[str](), list[float]()
    os.utime(folder / "0000.png", (1e9, 1e9))
    monkeypatch.setattr(sights, "_LONG_S", 0.0)

    def wait(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) in (3, 4):
            written(folder, scenes(1, 8), first=len(rounds))
            os.utime(folder / f"{len(rounds):04d}.png", (1e9, 1e9))

    monkeypatch.setattr(sights.time, "sleep", wait)
    found = sights.followed(str(folder), say=said.append)
    assert [next(found).picture.source[-8:-4] for _ in range(3)] == ["0000", "0003", "0004"]
    stalls, again = f"{folder}: it stalls, no picture for 0 min: waiting on", f"{folder}: pictures come again, after 0."
    assert [line[: len(again)] if line.startswith(again) else line for line in said] == 2 * [stalls, again]


def test_an_alarm_is_told_though_ctrl_c_comes_while_it_is_drawn(
    kept: Path, finished: rk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnetkit.report.drawing.alarms.draw", interrupted)
    dark, told = written(tmp_path / "dark", scenes(60, 2, changed=True)), list[object]()
    found = rk.watch(
        dark, model=finished.folder.path, reference=kept / "usual.npz", report=tmp_path / "report", threads=1,
        on_alarm=told.append,
    )  # fmt: skip
    assert (len(told), len(found.alarms), found.signal) == (1, 1, 2)
    assert (tmp_path / "report" / "watch.json").exists()


def test_a_picture_that_is_written_anew_counts_again_and_a_folder_that_goes_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "camera", scenes(1, 8))
    monkeypatch.setattr(sights.time, "sleep", lambda seconds: None)
    for times in (1e9, 1.1e9):
        os.utime(folder / "0000.png", (times, times))
    found = sights.followed(str(folder), say=lambda line: None)
    assert next(found).picture.source.endswith("0000.png")
    os.utime(folder / "0000.png", (1.2e9, 1.2e9))
    assert next(found).picture.source.endswith("0000.png")
    written(folder, scenes(3, 9), first=1)
    for name in ("0001.png", "0002.png", "0003.png"):
        os.utime(folder / name, (1.3e9, 1.3e9))
    assert next(found).picture.source.endswith("0001.png")
    (folder / "0002.png").unlink()
    gone = next(found).picture
    assert gone.source.endswith("0002.png")
    with pytest.raises(DataError, match="cannot be read any more"):
        gone.open(1)
    assert next(found).picture.source.endswith("0003.png")
    os.mkfifo(folder / "0004.png")
    os.utime(folder / "0004.png", (1.3e9, 1.3e9))
    with pytest.raises(DataError, match=r"0004\.png: is neither a file nor a folder"):
        next(found).picture.open(1)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="camera: the folder that is followed is there no more"):
        next(found)


def test_a_report_that_takes_no_more_is_said_and_the_alarm_stays(
    kept: Path, finished: rk.Run, tmp_path: Path, resnetkit: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resnetkit.report.drawing.alarms.draw", full)
    dark = written(tmp_path / "dark", scenes(60, 2, changed=True))
    ask = ("--model", finished.folder.path, "--reference", kept / "usual.npz", "--threads", 1)
    code, out, err = resnetkit("watch", dark, *ask, "--report", tmp_path / "report")
    assert (code, "1 alarm (drift 1) in " in out) == (8, True)
    assert "No space left on device: nothing more is written to it" in " ".join(err.split())
    assert resnetkit("watch", dark, *ask, "--call", "'")[0] == 2


def test_ctrl_c_ends_with_what_was_seen_and_a_broken_video_costs_itself(
    kept: Path, finished: rk.Run, tmp_path: Path, resnetkit: Callable[..., Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    ask = ("--model", finished.folder.path, "--reference", kept / "usual.npz", "--threads", 1, "--quiet")
    few = written(tmp_path / "few", scenes(3, 6))
    code, out, err = resnetkit("watch", broken, few, *ask, "--report", "whole")
    assert (code, "3 pictures (and 1 that cannot be read" in out, "broken.mp4" in err) == (4, True, True)
    see, seen = watching.Lookout.see, list[object]()

    def interrupted(*given: object) -> object:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(see(*given))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(watching.Lookout, "see", interrupted)
    code, out, _ = resnetkit("watch", few, *ask, "--report", "part")
    assert (code, out.startswith("2 pictures, then interrupted: too few")) == (130, True)
    told = [json.loads(Path(place, "watch.json").read_text()) for place in ("whole", "part")]
    assert [(one["counted"], one["unreadable"], one["interrupted"]) for one in told] == [(3, 1, False), (2, 0, True)]
    assert watching.Watched(
        model="m", reference="r", every=1, counted=1, copies=1, known=0, unreadable=0, level=0, limit=1
    ).words.startswith("1 picture (and 1 copy of")  # fmt: skip


def test_an_alarm_is_wrapped_for_people_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "alarm: since picture 305 (dark/00304.png) the pictures differ from the reference: " + "darker " * 12
    assert _wrapped(text) == text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    lines = _wrapped(text).splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert all(line.startswith("  ") for line in lines[1:])
