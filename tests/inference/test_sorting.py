import os
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.sources import open_pictures
from resnetkit.errors import ResourceError, UsageError
from resnetkit.inference import sorting
from resnetkit.inference.sorting import class_folders, execute, refuse_own_output, sort_into
from resnetkit.models.decision import Decision


def sort(predictor, directory, *sources):
    """Predict and sort; return the plan and the new files relative to the directory."""
    pictures = open_pictures(*map(str, sources))
    plan = sort_into(predictor.predict_many(pictures), directory, pictures, classes=predictor.classes)
    assert not directory.exists() or any(directory.iterdir())
    return plan, [path.relative_to(directory).as_posix() for path in execute(plan, pictures)]


def files_under(folder: Path):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_pictures_are_copied_into_a_folder_per_class_and_sources_stay(predictor, paint, tmp_path):
    paths = [paint("photos/a.png", "red"), paint("photos/b.png", "blue"), paint("photos/day/c.png", "red")]
    os.utime(paths[0], (1_000_000, 1_000_000))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    plan, made = sort(predictor, tmp_path / "sorted", tmp_path / "photos")
    assert plan.counts == {"blue": 1, "red": 2}
    assert plan.bytes == sum(len(content) for content, _ in before.values())
    assert "3 pictures" in str(plan)
    assert "2 folders" in str(plan)
    assert sorted(made) == files_under(tmp_path / "sorted") == ["blue/b.png", "red/a.png", "red/c.png"]
    assert (tmp_path / "sorted/red/a.png").read_bytes() == before[paths[0]][0]
    assert (tmp_path / "sorted/red/a.png").stat().st_mtime == 1_000_000
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths} == before


def test_planning_writes_nothing(predictor, paint, tmp_path):
    pictures = open_pictures(str(paint("photos/a.png")))
    sort_into(predictor.predict_many(pictures), tmp_path / "sorted", pictures, classes=predictor.classes)
    assert not (tmp_path / "sorted").exists()


@pytest.mark.parametrize("hostile", ["../evil", "/etc/evil", "a/b", "CON", "..", ".", "", "x" * 300, "a\x00b", "~"])
def test_hostile_class_names_stay_inside_the_directory(predictor, paint, tmp_path, hostile):
    paint("photos/a.png", "red")
    _, [made] = sort(replace(predictor, classes=(hostile, "g", "b")), tmp_path / "out/sorted", tmp_path / "photos")
    assert made.count("/") == 1
    assert files_under(tmp_path / "out") == [f"sorted/{made}"]
    assert made.split("/")[0] not in ("..", ".", "CON", "")


def test_every_class_has_its_own_folder_even_where_case_is_ignored():
    names = ["a/b", "a_b", "A:B", "CON", "not_sure", "고양이", "", "."]
    folders = class_folders(names)
    assert list(folders) == names
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    assert folders["고양이"] == "고양이"
    assert folders["not_sure"] != sorting.NOT_SURE


def test_equal_names_get_numbers_and_nothing_is_overwritten(predictor, paint, tmp_path):
    paint("photos/day/img.png", (255, 0, 0))
    paint("photos/night/img.png", (250, 0, 0))
    paint("photos/noon/img.png", (245, 0, 0))
    mine = paint("sorted/red/img.png", (1, 2, 3)).read_bytes()
    _, made = sort(predictor, tmp_path / "sorted", tmp_path / "photos")
    assert made == ["red/img_2.png", "red/img_3.png", "red/img_4.png"]
    assert (tmp_path / "sorted/red/img.png").read_bytes() == mine


def test_the_same_sorting_twice_does_not_double_the_pictures(predictor, paint, tmp_path):
    paint("photos/day/img.png", (255, 0, 0))
    paint("photos/night/img.png", (250, 0, 0))
    first = sort(predictor, tmp_path / "sorted", tmp_path / "photos")[1]
    assert sort(predictor, tmp_path / "sorted", tmp_path / "photos")[1] == first
    assert files_under(tmp_path / "sorted") == first


def test_unsure_pictures_have_their_own_folder_and_unreadable_ones_are_left_out(predictor, paint, tmp_path):
    paint("photos/a.png", "red")
    paint("photos/b.png", (255, 255, 0))
    (tmp_path / "photos/c.jpg").write_text("no picture")
    careful = replace(predictor, decision=Decision(threshold=0.9))
    plan, made = sort(careful, tmp_path / "sorted", tmp_path / "photos")
    assert made == ["red/a.png", "not_sure/b.png"]
    assert plan.left_out == 1
    assert "1 without an answer left out" in str(plan)
    assert str(sort(careful, tmp_path / "x", tmp_path / "photos/a.png")[0]).startswith("1 picture (")
    assert "into 1 folder of" in str(sort(careful, tmp_path / "y", tmp_path / "photos/a.png")[0])


def test_members_of_archives_come_out_under_their_base_names(predictor, paint, tmp_path):
    day, evening = paint("a.png", "blue"), paint("b.png", (0, 0, 250))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(day, "day/a.png")
        archive.write(evening, "evening/a.png")
    plan, made = sort(predictor, tmp_path / "sorted", tmp_path / "photos.zip")
    assert made == ["blue/a.png", "blue/a_2.png"]
    assert plan.bytes == day.stat().st_size + evening.stat().st_size
    assert (tmp_path / "sorted/blue/a_2.png").read_bytes() == evening.read_bytes()


def test_arrays_come_out_as_png(predictor, tmp_path):
    pixels = np.zeros((2, 6, 6, 3), np.uint8)
    pixels[0, ..., 1] = pixels[1, ..., 2] = 255
    np.savez(tmp_path / "tiles.npz", train_images=pixels, train_labels=np.array([[0], [1]]))
    _, made = sort(predictor, tmp_path / "sorted", tmp_path / "tiles.npz")
    assert [Path(name).suffix for name in made] == [".png", ".png"]
    assert [name.split("/")[0] for name in made] == ["green", "blue"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "sorted" / made[0])), pixels[0])


def test_names_that_are_not_utf8_are_sorted(predictor, paint, tmp_path):
    path = paint("photos/a.png", "red")
    try:
        os.rename(path, os.fsencode(path.parent) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    _, made = sort(predictor, tmp_path / "sorted", tmp_path / "photos")
    assert made == ["red/caf_xe9.png"]


def test_a_folder_that_holds_the_pictures_is_refused(predictor, paint, tmp_path):
    paint("photos/a.png", "red")
    inside = tmp_path / "photos/sorted"
    sort(predictor, inside, tmp_path / "photos/a.png")
    with pytest.raises(UsageError, match="would be sorted again"):
        sort(predictor, inside, inside / "red/a.png")
    for directory in (tmp_path, tmp_path / "photos"):
        with pytest.raises(UsageError, match="would be sorted again"):
            refuse_own_output(open_pictures(str(tmp_path / "photos/a.png")), directory)


@pytest.mark.parametrize("source", ["photos", "phot*", "link"])
@pytest.mark.parametrize("directory", ["photos/sorted", "photos/new/deep", "link/sorted"])
def test_a_folder_inside_the_pictures_is_refused(predictor, paint, tmp_path, source, directory):
    paint("photos/a.png", "red")
    paint("other/a.png", "red")
    (tmp_path / "link").symlink_to("photos")
    with pytest.raises(UsageError, match=r"lies inside .* the copies would become part of those pictures"):
        sort(predictor, tmp_path / directory, tmp_path / "other", tmp_path / source)
    assert files_under(tmp_path / "photos") == ["a.png"]


def test_a_file_is_no_folder_to_sort_into(paint):
    path = paint("photos/a.png")
    with pytest.raises(UsageError, match="is a file"):
        refuse_own_output(open_pictures(str(path)), path)


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_copied(predictor, paint, tmp_path, monkeypatch):
    paint("photos/a.png", "red")
    monkeypatch.setattr(sorting.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ResourceError, match="has 10 bytes free"):
        sort(predictor, tmp_path / "sorted", tmp_path / "photos")
    assert not (tmp_path / "sorted").exists()


def test_a_copy_that_breaks_off_leaves_no_half_file(predictor, paint, tmp_path, monkeypatch):
    pictures = open_pictures(str(paint("photos/a.png", "red")))
    plan = sort_into(predictor.predict_many(pictures), tmp_path / "sorted", pictures, classes=predictor.classes)

    def full(source, target):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sorting.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        list(execute(plan, pictures))
    assert files_under(tmp_path / "sorted") == []
