"""Marked objects that are to be looked at again are found by their boxes, and others are not."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

import resnetkit as rk
from resnetkit.checking.objects import findings
from resnetkit.cli import main
from resnetkit.data.sources import open_data
from resnetkit.errors import DataError, UsageError
from tests.data.annotated_sets import Box, Shot, put, xml

SIZE = (160, 120)
Marks = tuple[tuple[str, Box], ...]


def noise(seed: int) -> bytes:
    """Return a picture of its own for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def cells(seed: int, *, inside: bool = False) -> Marks:
    """Return twenty cells in rows, which the border cuts unless all are to be `inside`."""
    random = np.random.default_rng(seed)
    left, top = (4, 4) if inside else (-5, -5)
    found = []
    for number in range(20):
        x, y = left + 32 * (number % 5) + int(random.integers(3)), top + 30 * (number // 5) + int(random.integers(3))
        found.append(("cell", (max(x, 0), max(y, 0), min(x + 20, SIZE[0]), min(y + 20, SIZE[1]))))
    return tuple(found)


PLANTED: dict[str, Marks] = {
    "twice": (("cell", (40, 40, 60, 60)), ("cell", (41, 40, 61, 60))),
    "names": (("cell", (40, 40, 60, 60)), ("clot", (40, 40, 60, 61))),
    "odd": (("cell", (30, 20, 130, 110)),),
    "giant": (("clot", (0, 0, 160, 119)),),
    "inner": cells(99, inside=True),
    "tiny": (("dot", (50, 50, 52, 52)), ("dot", (70, 70, 90, 90))),
    "crowded": tuple(("clot", (10 * (n % 14) + 3, 10 * (n // 14) + 3, 10 * (n % 14) + 11, 10 * (n // 14) + 11))
                     for n in range(101)),
    "empty": (),
    "copy": cells(98),
}  # fmt: skip


def write(root: Path, shots: dict[str, Marks], *, parts: dict[str, str] | None = None) -> Path:
    parts = parts or {}
    for seed, (name, marks) in enumerate(shots.items()):
        put(root / "JPEGImages" / f"{name}.png", noise(seed))
        put(root / "Annotations" / f"{name}.xml", xml(Shot(f"{name}.png", "train", marks, SIZE)))
    for part in ("train", "val"):
        names = [name for name in shots if parts.get(name, "train") == part]
        put(root / "ImageSets" / "Main" / f"{part}.txt", "".join(f"{name}\n" for name in names))
    return root


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write forty sound pictures, and one with each problem that is called after it."""
    sound = {f"sound{number}": cells(number) for number in range(40)}
    root = write(tmp_path_factory.mktemp("data") / "planted", sound | PLANTED, parts={"sound1": "val", "copy": "val"})
    for one, other in (("sound0", "copy"), ("sound2", "sound3")):
        data = (root / "JPEGImages" / f"{one}.png").read_bytes()
        put(root / "JPEGImages" / f"{other}.png", data)
    faulty = xml(Shot("sound4.png", "train", cells(4), SIZE)).replace("<xmax>17<", "<xmax>-3<", 1)
    put(root / "Annotations" / "sound5.xml", "<annotation>")
    put(root / "Annotations" / "sound4.xml", faulty)
    return root


@pytest.fixture(scope="module")
def found(planted: Path) -> rk.Check:
    return rk.check(planted, threads=1)


def names(found: rk.Check, kind: str) -> list[set[str]]:
    return [{Path(source).stem for source in finding.sources} for finding in found.of_kind(kind)]


@pytest.mark.parametrize(
    ("kind", "pictures"),
    [
        ("annotation", [{"sound4"}, {"sound5"}]), ("marked twice", [{"twice"}]), ("two names", [{"names"}]),
        ("odd size", [{"giant"}, {"names"}, {"odd"}]), ("giant object", [{"giant"}]), ("cut ones missing", [{"inner"}]),
        ("tiny object", [{"tiny"}]), ("crowded", [{"crowded"}]), ("no object", [{"empty"}]),
        ("few objects", [{"tiny"}]),
        ("identical across", [{"sound0", "copy"}]), ("marked differently", [{"sound2", "sound3"}]),
        ("two labels", []), ("few images", []),
    ],
)  # fmt: skip
def test_a_problem_of_objects_is_found_and_only_there(found: rk.Check, kind: str, pictures: list[set[str]]) -> None:
    assert sorted(names(found, kind), key=sorted) == pictures


def test_a_finding_says_which_objects_it_is_about(found: rk.Check) -> None:
    (finding,) = found.of_kind("tiny object")
    assert finding.to_json()["objects"] == [{"label": "dot", "box": [50, 50, 52, 52]}]
    assert finding.why == "dot of 6 x 6 pixels in the frame; 1 of 2 objects so small"
    (fault,) = [one for one in found.of_kind("annotation") if "sound4" in one.sources[0]]
    assert fault.why.startswith("object ")
    assert "; " in fault.why


def test_objects_are_counted_by_class_and_part(found: rk.Check) -> None:
    assert found.report.objects["dot"] == {"train": 2, "val": 0}
    assert found.report.objects["cell"]["val"] == 40
    assert "objects of class" in str(found.report)


def test_the_screen_has_every_fault_and_80_columns(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["check", str(planted), "--threads", "1"])
    out, err = capsys.readouterr()
    assert left.value.code in (None, 0)
    assert "2 faults in the annotations:" in out
    assert "marked twice" in out
    assert max(cell_len(line) for line in out.splitlines()) <= 80
    assert "objects are marked: labels are not held against the pictures" in err


def test_the_page_has_boxes_and_faults(tmp_path: Path) -> None:
    root = write(tmp_path / "few", {name: PLANTED[name] for name in ("twice", "tiny")} | {"sound": cells(1)})
    put(root / "Annotations" / "sound.xml", "<annotation>")
    rk.check(root, threads=1, output=tmp_path / "out")
    page = (tmp_path / "out" / "check.html").read_text()
    assert "Some pictures with all that is marked on them" in page
    assert "sound.xml: is no XML" in page
    assert page.count("data:image/webp") == 4
    assert json.loads((tmp_path / "out" / "check.json").read_text())["counts"]["annotation"] == 1


def test_a_set_of_which_nothing_is_left_has_all_its_faults_told(tmp_path: Path) -> None:
    root = write(tmp_path / "broken", {"one": cells(1), "two": cells(2)})
    for name in ("one", "two"):
        put(root / "Annotations" / f"{name}.xml", "<annotation>")
    with pytest.raises(DataError, match=r"no annotated picture can be used.*\n.*one\.xml.*\n.*two\.xml"):
        rk.check(root, threads=1)


def test_a_clean_list_cannot_hold_objects(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--write-clean-list: a list has no place for objects"):
        rk.check(planted, threads=1, clean_list=tmp_path / "clean.csv")


def test_labels_of_annotated_pictures_are_checked_without_their_boxes(planted: Path) -> None:
    found = rk.check(planted, threads=1, task="multilabel")
    assert len(found.of_kind("annotation")) == 2
    assert found.of_kind("marked twice") == ()
    assert found.report.objects == {}


def test_cells_of_a_real_set_that_are_marked_twice_or_as_something_else(shared_data: Path) -> None:
    items = open_data(shared_data / "bccd").items
    found, _ = findings(items, [(640, 480)] * len(items))
    assert len([one for one in found if one.kind == "marked twice"]) == 8
    odd = {one.sources[0][-9:-4]: one.marks[0].label for one in found if one.kind == "odd size"}
    assert odd | {"00113": "WBC", "00133": "Platelets", "00135": "Platelets", "00338": "RBC", "00343": "RBC"} == odd
    assert len(odd) <= 7
    assert "cut ones missing" not in {one.kind for one in found}
