"""Folders of videos, and folders of the frames of clips, as data: nothing that belongs together is parted."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.preprocess import Preprocess
from resnetkit.data.sources import clips, open_data, open_pictures
from resnetkit.errors import DataError, UsageError, missing_extra
from tests.data.prepared import prepare
from tests.videos import made

pytest.importorskip("av", reason="videos need PyAV")
SMALL = Preprocess.for_size(32)


def noise(seed: int, *, side: int = 40) -> np.ndarray:
    """Return a picture `[side, side, 3]` of large squares."""
    squares = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), np.uint8)
    return squares.repeat(side // 4, 0).repeat(side // 4, 1)


def clip(seed: int, count: int) -> list[np.ndarray]:
    """Return the frames of a scene that hardly changes."""
    scene, random = noise(seed).astype(int), np.random.default_rng(seed)
    return [(scene + random.integers(-9, 10, scene.shape)).clip(0, 255).astype(np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def gestures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four videos of 2.4 seconds each, and in one a video of 0.4 seconds; five frames a second."""
    root = tmp_path_factory.mktemp("data") / "gestures"
    for number, name in enumerate(("wave", "point")):
        (root / name).mkdir(parents=True)
        for one in range(4):
            made(root / name / f"{one}.mp4", clip(10 * number + one, 12), rate=5)
    made(root / "wave" / "short.mp4", clip(99, 2), rate=5)
    return root


def told(dataset: Dataset, root: Path) -> list[tuple[str, str | None, str | None]]:
    def below(path: str | None) -> str:
        return str(path).removeprefix(f"{root}/")

    return [(below(item.source), item.label, below(item.group)) for item in dataset.items]


def sides(items: list[Item] | tuple[Item, ...], of: Callable[[Item], str]) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for item in items:
        found.setdefault(of(item), set()).add(item.split)
    return found


def test_each_video_is_a_group_of_frames_one_a_second(gestures: Path) -> None:
    found = open_data(str(gestures))
    assert found.classes == ("point", "wave")
    rows = told(found, gestures)
    assert rows[:3] == [
        (f"point/0.mp4#{time}", "point", "point/0.mp4") for time in ("0.500", "1.500")
    ] + [("point/1.mp4#0.500", "point", "point/1.mp4")]  # fmt: skip
    assert rows[-1] == ("wave/short.mp4#0.200", "wave", "wave/short.mp4")
    assert found.notes == ("9 videos: 17 frames, one a second",)
    frame = np.asarray(found.open(found.items[2])).astype(int)
    assert np.abs(frame - noise(11)).mean() < 12 < np.abs(frame - noise(10)).mean()


def test_parts_are_those_of_folders_and_several_folders_are_classes(gestures: Path, tmp_path: Path) -> None:
    for part in ("train", "val"):
        (tmp_path / part).symlink_to(gestures)
    found = open_data(str(tmp_path))
    assert {item.split for item in found.items} == {"train", "val"}
    assert len(found) == 34
    both = open_data(str(gestures / "wave"), str(gestures / "point"))
    assert (len(both), both.notes) == (17, ("9 videos: 17 frames, one a second",))
    assert len({item.group for item in both.items}) == 9  # also where two folders have files of one name


@pytest.mark.parametrize("group_by", [None, "video", "(wave/[12])"])
def test_no_division_parts_a_video(gestures: Path, group_by: str | None) -> None:
    found = open_data(str(gestures), group_by=group_by)
    halves = set()
    for seed in range(4):
        items = prepare(found, preprocess=SMALL, threads=1, seed=seed).parts
        split = [item for part in items.values() for item in part.items]
        assert all(len(parts) == 1 for parts in sides(split, lambda item: item.source.partition("#")[0]).values())
        halves.add(frozenset(item.source for item in split if item.split == "val"))
    assert len(halves) > 1  # that they are drawn
    folds = prepare(found, preprocess=SMALL, threads=1, folds=2, holds_out=False).folds
    assert folds is not None
    assert 0 < folds.numbers.tolist().count(1) < 17


def test_groups_of_frames_are_found_in_the_path_of_their_video(gestures: Path) -> None:
    found = open_data(str(gestures), group_by="(wave/[12])")
    assert found.notes[-1] == "9 groups by (wave/[12])"
    groups = {group for _, _, group in told(found, gestures)}
    points = {f"point/{number}.mp4" for number in range(4)}
    assert groups == {"wave/1", "wave/2", "wave/0.mp4", "wave/3.mp4", "wave/short.mp4", *points}
    for nothing in ("(nobody)", "#([0-9.]+)$"):  # times of frames are no groups
        with pytest.raises(UsageError, match="found in no path"):
            open_data(str(gestures), group_by=nothing)


def test_pictures_beside_videos_count_too_and_one_of_the_same_name_stays_with_its_video(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        made(tmp_path / name / "1.mp4", clip(1, 10), rate=5)
        for number in (1, 2):
            Image.fromarray(noise(number)).save(tmp_path / name / f"{number}.jpg")
    found = open_data(str(tmp_path))
    assert found.notes == ("2 videos: 4 frames, one a second; beside them 4 pictures",)
    groups = {source: group for source, _, group in told(found, tmp_path)}
    assert (groups["ant/1.jpg"], groups["ant/2.jpg"]) == ("ant/1.mp4", "None")


def test_the_side_of_a_group_does_not_depend_on_how_the_data_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        folder = tmp_path / "drives" / "ab"[number % 2] / f"d{number}"
        folder.mkdir(parents=True)
        Image.fromarray(noise(number)).save(folder / "1.png")
    rows = [f"{path.relative_to('drives')},{path.parts[1]}" for path in sorted(Path("drives").rglob("*.png"))]
    Path("drives", "list.csv").write_text("\n".join(["image_path,label", *rows]))
    Path("drives", "paths.csv").write_text(
        "\n".join(["image_path,label", *(f"{tmp_path}/drives/{row}" for row in rows)])
    )

    def held_out(*data: object, folds: int = 0) -> object:
        found = prepare(
            open_data(*data, group_by="folder"), preprocess=SMALL, threads=1, folds=folds, holds_out=not folds
        )
        if found.folds is not None:
            return found.folds.numbers.tolist()
        return {str(Path(item.source).resolve()) for item in found.parts["val"].items}

    whole = [tmp_path / "drives", "drives", "./drives/"]
    lists = [Path(data, name) for data in whole[:2] for name in ("list.csv", "paths.csv")]
    sides = [held_out(data) for data in [*whole, *lists]]
    assert all(one == sides[0] for one in sides[1:])
    assert len({str(held_out(data, folds=2)) for data in whole}) == 1
    classes = [
        held_out(*(f"{root}{name}" for name in "ab")) for root in ("drives/", "./drives/", f"{tmp_path}/drives/")
    ]
    assert classes[0] == classes[1] == classes[2]


def test_a_video_that_cannot_be_read_is_a_bad_picture(gestures: Path, tmp_path: Path) -> None:
    (tmp_path / "wave").symlink_to(gestures / "wave")
    (tmp_path / "point").mkdir()
    for number in range(2):
        made(tmp_path / "point" / f"{number}.mp4", clip(number, 10), rate=5)
    tmp_path.joinpath("point", "broken.mp4").write_bytes(b"no video")
    tmp_path.joinpath("point", "empty.mov").touch()
    tmp_path.joinpath("point", "gone.avi").symlink_to(tmp_path / "nowhere.avi")
    found = open_data(str(tmp_path), group_by="video")
    assert found.notes == ("7 videos: 13 frames, one a second", "10 groups by video")
    with pytest.raises(DataError, match="3 of 16 images cannot be read"):
        prepare(found, preprocess=SMALL, threads=1)
    report = prepare(found, preprocess=SMALL, threads=1, bad_images="skip").report
    assert [Path(source).name for source, _ in report.unreadable] == ["broken.mp4", "empty.mov", "gone.avi"]
    assert all("\n" not in why for _, why in report.unreadable)
    assert "cannot be read as a video" in report.unreadable[0][1]


def test_a_video_that_says_nothing_of_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    made(tmp_path / "a" / "raw.mjpeg", clip(0, 60), rate=25, codec="mjpeg", colours="yuvj420p", kind="mjpeg")
    assert [path.partition("#")[2] for path, _, _ in told(open_data(str(tmp_path)), tmp_path)] == ["0.500", "1.500"]


def test_a_video_of_which_nothing_is_said_tells_how_to_write_the_list(gestures: Path) -> None:
    video = str(gestures / "wave" / "1.mp4")
    with pytest.raises(UsageError, match=r"wave/1.mp4: is a video, .*video,start,end,label and .* 1.mp4,0,2.40,CLASS"):
        open_data(video)
    with pytest.raises(UsageError, match=r"1.mp4,0,2.40,CLASS"):
        open_data(video, str(gestures / "wave" / "2.mp4"))
    with pytest.raises(DataError, match=r"wave: nothing tells what its videos show: .* 0.mp4,0,2.40,CLASS"):
        open_data(str(gestures / "wave"))
    listed = gestures.parent / "list.csv"
    listed.write_text("video,start,end,label\ngestures/wave/1.mp4,0,2.40,CLASS\n")  # what it says to write
    assert len(open_data(str(listed))) == 2


def test_without_pyav_one_line_says_what_to_install(gestures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise missing_extra("videos", "video")

    monkeypatch.setattr(clips, "library", missing)
    with pytest.raises(UsageError, match=r'videos need an optional package: pip install "resnetkit\[video\]"'):
        open_data(str(gestures))


def test_videos_in_an_archive_are_said_and_not_used(gestures: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gestures / "wave" / "1.mp4", "wave/1.mp4")
    with pytest.raises(DataError, match=r"a.zip: videos are not read inside archives: unpack it"):
        open_data(str(path))
    Image.fromarray(noise(0)).save(tmp_path / "1.png")
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / "1.png", "wave/1.png")
    found = open_data(str(path))
    assert len(found) == 1
    assert found.notes == (f"1 video not used (first: {path}::wave/1.mp4): {clips._IN_ARCHIVE}",)


def test_a_frame_can_be_given_by_its_name_alone_and_in_a_list(gestures: Path) -> None:
    name = f"{gestures}/wave/2.mp4#1.500"
    (alone,) = open_pictures(name).items
    path = gestures.parent / "frames.csv"
    path.write_text("image_path,label\n" + "".join(f"gestures/wave/2.mp4#{t},wave\n" for t in ("0.500", "1.500")))
    listed = open_data(str(path))
    assert [item.group for item in listed.items] == [alone.group] * 2 == [f"{gestures}/wave/2.mp4"] * 2
    assert np.array_equal(np.asarray(open_pictures(name).open(alone)), np.asarray(listed.open(listed.items[1])))


def test_a_column_of_groups_must_not_part_a_video(gestures: Path) -> None:
    path = gestures.parent / "days.csv"
    path.write_text("video,start,end,label,day\ngestures/wave/1.mp4,0,1,a,1\ngestures/wave/1.mp4,1,2,b,2\n")
    assert len(open_data(str(path))) == 2
    with pytest.raises(DataError, match=r"line 3: gestures/wave/1.mp4 is in day '2', and in line 2 in '1'"):
        open_data(str(path), group_by="day")


def test_check_lists_copies_between_videos_and_not_inside_one(tmp_path: Path) -> None:
    for name, seeds in {"ant": (0, 1), "bee": (2, 3)}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for seed in seeds:
            path = tmp_path / "data" / name / f"{seed}.avi"
            made(path, [noise(seed)] * 15, rate=5, codec="mjpeg", colours="yuvj420p")
    inside = rk.check(str(tmp_path / "data"), weights="none", clean_list=tmp_path / "clean.csv")
    assert not inside.of_kind("identical")
    assert [note for note in inside.notes if "inside one video" in note] == [
        "not listed: 4 findings of copies inside one video or clip, whose frames stay together"
    ]
    kept = open_data(str(tmp_path / "clean.csv"))
    assert (len(kept), len({item.group for item in kept.items})) == (12, 4)
    os.link(tmp_path / "data" / "ant" / "0.avi", tmp_path / "data" / "ant" / "again.avi")
    (found,) = rk.check(str(tmp_path / "data"), weights="none").of_kind("identical")
    assert {Path(source.partition("#")[0]).name for source in found.sources} == {"0.avi", "again.avi"}


def test_a_video_under_another_name_is_one_finding_with_the_count(tmp_path: Path) -> None:
    for name, shown in {"ant": 0, "bee": 8}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        frames = [noise(shown + number // 5) for number in range(20)]
        made(tmp_path / "data" / name / "a.avi", frames, rate=5, codec="mjpeg", colours="yuvj420p")
    os.link(tmp_path / "data" / "ant" / "a.avi", tmp_path / "data" / "ant" / "again.avi")
    found = rk.check(str(tmp_path / "data"), weights="none", clean_list=tmp_path / "clean.csv")
    (copies,) = found.of_kind("identical")
    assert copies.why == "4 pairs of frames of these 2 videos; the first: 2 files with the same picture"
    assert len(found.left_out) == 4


@pytest.fixture(scope="module")
def of_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three folders of six frames each, and the same pictures in folders by chance."""
    root = tmp_path_factory.mktemp("frames")
    for name in range(2):
        pictures = [frame for one in range(3) for frame in clip(10 * name + one, 6)]
        for kind, order in (("clips", range(18)), ("chance", np.random.default_rng(0).permutation(18).tolist())):
            for number, which in enumerate(order):
                path = root / kind / str(name) / f"clip{number // 6}" / f"{number % 6:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pictures[which]).save(path)
    return root


def test_folders_of_frames_are_clips_by_what_they_look_like_and_stay_on_one_side(of_frames: Path) -> None:
    for seed in range(3):
        prepared = prepare(open_data(str(of_frames / "clips")), preprocess=SMALL, threads=1, seed=seed)
        items = [item for part in prepared.parts.values() for item in part.items]
        assert all(len(parts) == 1 for parts in sides(items, lambda item: os.path.dirname(item.source)).values())
    assert [note.partition(" (as ")[0] for note in prepared.report.notes if "clips" in note] == [
        "36 numbered pictures in 6 folders look like frames of clips"
    ]
    found = rk.check(str(of_frames / "clips"), weights="none")
    assert any("look like frames of clips" in note for note in found.notes)
    assert len(set(found.groups.values())) == 6


def test_numbered_pictures_in_folders_by_chance_are_no_clips(of_frames: Path) -> None:
    data = open_data(str(of_frames / "chance"))
    prepared = prepare(data, preprocess=SMALL, threads=1)
    assert not any("clips" in note for note in prepared.report.notes)
    items = [item for part in prepared.parts.values() for item in part.items]
    assert any(len(parts) == 2 for parts in sides(items, lambda item: os.path.dirname(item.source)).values())
    grouped = prepare(open_data(str(of_frames / "clips"), group_by="folder"), preprocess=SMALL, threads=1)
    assert not any("look like" in note for note in grouped.report.notes)  # whoever said groups needs no guess


def test_typescript_is_no_video(tmp_path: Path) -> None:
    root = tmp_path / "site"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        Image.fromarray(noise(1)).save(root / name / "1.png")
    (root / "cat" / "index.ts").write_text("export const cat = 'Get it';\n" * 20)
    made(root / "dog" / "1.ts", clip(2, 10), rate=5)
    assert [item.source.rpartition("/")[2] for item in open_data(str(root)).items] == [
        "1.png",
        "1.png",
        "1.ts#0.500",
        "1.ts#1.500",
    ]
