"""Nothing that is written says who is pictured: names, numbers, dates and places are planted, and searched for."""

import base64
import gzip
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

import resnetkit as rk
from resnetkit.data.opening.burnt_in import BY_PIXELS, BY_TAG, has_text
from resnetkit.data.opening.dicom_identity import Kind
from resnetkit.data.sources import by_number, open_data, open_pictures
from resnetkit.data.sources.telling import telling
from resnetkit.errors import DataError, UsageError
from resnetkit.inference.given import picture_of, pictures_of
from tests.conftest import Output
from tests.data.test_dicom import of, written

SURNAMES = (
    "Zwickelhuber",
    "Pfannenschmied",
    "Quasthoff",
    "Brzęczyk",
    "Nakamurabe",
    "Öhrlein",
    "Xanthopoulos",
    "Vlkovice",
)
GIVEN = ("Ottilie", "Kunibert", "Walburga", "Zbigniew", "Tsukiko", "Jörgen", "Kyriaki", "Myfanwy")
NUMBERS = tuple(f"{number}" for number in range(70912301, 70912301 + 8 * 3137, 3137))
DATES = tuple(f"19{20 + 3 * n}0{n + 1}{11 + n}" for n in range(8))
PLACES = ("Klinikum Abendrot", "Krankenhaus Silbersee", "Mooshammer Stift", "Ziegenrück Spital")
STREETS = ("Froschgasse 17", "Birnbaumallee 204", "Am Teufelsmoor 9", "Hasenheide 33")
DOCTORS = ("Knochenhauer", "Wehwalt", "Quacksalber", "Blutegel")
STATIONS = ("ROENTGENIA4", "SCHALLPLATZ", "MAGNETROMMEL", "DURCHBLICKER")
ACCESSIONS = ("AKZ8830127", "AKZ8830259", "AKZ8830313", "AKZ8830441")
OTHERS = ("ANDERSNR55102", "ANDERSNR55209", "ANDERSNR55317", "ANDERSNR55433")  # in a sequence
PRIVATE = ("geheimnistuerei", "verschlusssache", "wissenichtwer", "niemandsonst")  # in private tags
PLANTED = (
    *SURNAMES, *GIVEN, *NUMBERS, *DATES, *PLACES, *STREETS, *DOCTORS, *STATIONS, *ACCESSIONS, *OTHERS, *PRIVATE,
)  # fmt: skip
assert len(set(PLANTED)) == 60


def scan(number: int, **tags: object) -> bytes:
    """Return a small picture with everything planted in it that belongs to its patient."""
    values = (100 * (number % 2) + np.random.default_rng(number).integers(0, 60, (32, 32))).astype(np.uint16)
    who, where = number % 8, number % 4
    made = of(
        values, SpecificCharacterSet="ISO_IR 192", PatientName=f"{SURNAMES[who]}^{GIVEN[who]}", PatientID=NUMBERS[who],
        PatientBirthDate=DATES[who], InstitutionName=PLACES[where], PatientAddress=STREETS[where],
        ReferringPhysicianName=DOCTORS[where], StationName=STATIONS[where], AccessionNumber=ACCESSIONS[where],
    )  # fmt: skip
    other = Dataset()
    other.PatientID = OTHERS[where]
    made.OtherPatientIDsSequence = Sequence([other])
    made.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x01, "LO", PRIVATE[where])
    for name, value in tags.items():
        setattr(made, name, value)
    return written(made)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder named after an institution; in it one named after a patient, with files named by all that tells."""
    ward = tmp_path_factory.mktemp("data") / PLACES[0]
    for number in range(16):
        folder = ward / f"{SURNAMES[0]}_{GIVEN[0]}" / "scans" / ("dry", "wet")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        who, where = number % 8, number % 4
        name = f"{SURNAMES[who]}-{GIVEN[who]}_{NUMBERS[who]}_{DATES[who]}"
        if number > 7:
            name = f"{STREETS[where]} {DOCTORS[where]}.{STATIONS[where]}"
        if number > 11:
            name = f"{PLACES[where]} {ACCESSIONS[where]} {OTHERS[where]}"
        (folder / f"{name} {number}.dcm").write_bytes(scan(number))
    (ward / "work").mkdir()
    return ward


def hidden_in(content: bytes) -> Iterator[bytes]:
    """Yield a file's bytes, and what is packed in it."""
    yield content
    if content[:2] == b"\x1f\x8b":
        yield from hidden_in(gzip.decompress(content))
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for name in packed.namelist():
                yield name.encode()
                yield from hidden_in(packed.read(name))
    elif content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar.getmembers():
                yield member.name.encode()
                if (file := tar.extractfile(member)) is not None:
                    yield from hidden_in(file.read())
    if content[:4] == b"PAR1":
        import pyarrow.parquet as pq

        yield str(pq.read_table(io.BytesIO(content)).to_pydict()).encode()


def forms(planted: str) -> set[bytes]:
    """Return how a value may be written: in UTF-8, UTF-16 and base64, in JSON, in a URL, as a path has a date."""
    from urllib.parse import quote

    dashed = f"{planted[:4]}-{planted[4:6]}-{planted[6:]}" if planted in DATES else planted
    texts = {planted, dashed, json.dumps(planted)[1:-1], quote(planted)}
    raw = {text.encode(how) for text in texts for how in ("utf-8", "utf-16-le", "latin-1") if encodable(text, how)}
    encoded = set()
    for text in raw:
        for before in range(3):
            inner = base64.b64encode(bytes(before) + text + bytes(-(before + len(text)) % 3))
            encoded.add(inner[(0, 2, 3)[before] : 8 * (before + len(text)) // 6])
    return {one.lower() for one in raw} | {one.lower() for one in encoded if len(one) > 9}


def encodable(text: str, how: str) -> bool:
    try:
        text.encode(how)
    except UnicodeEncodeError:
        return False
    return True


FORMS = {planted: forms(planted) for planted in PLANTED}


def found_in(content: bytes) -> set[str]:
    """Return what of the planted stands in a file, however it is written there."""
    folded = [one.lower() for one in hidden_in(content)]
    return {name for name, ways in FORMS.items() if any(way in one for one in folded for way in ways)}


def search(*places: Path) -> dict[str, set[str]]:
    """Return what stands in any file below these, or in its name, by file."""
    told = {}
    for path in sorted(path for place in places for path in (place, *place.rglob("*"))):
        content = path.read_bytes() if path.is_file() else b""
        name = b"" if path in places else path.name.encode()
        if names := found_in(name) | found_in(content):
            told[str(path)] = names
    return told


def test_the_search_finds_what_is_planted_in_an_output(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name, where = SURNAMES[0], tmp_path / "out"
    where.mkdir()
    (where / "plain.txt").write_text(f"source,{name.upper()}")
    (where / "wide.bin").write_bytes(b"x" + name.encode("utf-16-le"))
    for shift in range(3):
        (where / f"page{shift}.html").write_bytes(base64.b64encode(bytes(shift) + f"of {name}, born".encode()))
    (where / "table.csv.gz").write_bytes(gzip.compress(name.encode()))
    with zipfile.ZipFile(where / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.txt", name)
    pq.write_table(pa.table({"source": [f"{name}.dcm"]}), where / "rows.parquet")
    (where / f"{DATES[2][:4]}-{DATES[2][4:6]}-{DATES[2][6:]}.png").write_bytes(b"")
    found = search(where)
    assert set(found) == {str(path) for path in where.iterdir()}
    assert len(found) == 9
    assert found.pop(str(next(where.glob("*.png")))) == {DATES[2]}
    assert set(map(frozenset, found.values())) == {frozenset({name})}


def test_nothing_that_is_written_or_said_tells_who_is_pictured(
    resnetkit: Callable[..., Output], ward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search test: every verb, every format, an unreadable file among the pictures, in a folder that tells too."""
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(ward / "work")
    data, said = f"../{SURNAMES[0]}_{GIVEN[0]}/scans", []
    telling_file = next((ward / f"{SURNAMES[0]}_{GIVEN[0]}" / "scans" / "dry").iterdir())
    broken = telling_file.with_name(f"{DOCTORS[0]} {NUMBERS[3]}.dcm")
    notes = ward / f"{SURNAMES[0]}_{GIVEN[0]}" / "scans" / f"{SURNAMES[2]}.pdf"

    def run(*arguments: str | Path, code: int = 0) -> str:
        left, out, err = resnetkit(*arguments)
        assert left == code, (arguments, err)
        said.append(out + err)
        return out + err

    try:
        broken.write_bytes(telling_file.read_bytes()[:-700])
        notes.write_text("no picture")
        how = ("--model", "resnet8", "--weights", "none", "--epochs", "1", "--threads", "1", "--name", "first")
        how = (*how, "--set", "preprocess.windows=80 160", "--set", "augment.flip=none", "--set", "val_share=0.3")
        assert "1 of 17 images cannot be read: file-0" in run("train", data, *how, code=3)
        told = " ".join(run("train", data, *how, "--bad-images", "skip").split())
        assert "18 paths hold what identifying tags of DICOM files say: all 17 files are named by number" in told
        assert "1 other file ignored: other 1" in told
        line = run("resume", "runs/first", code=2)
        assert line == (
            "resnetkit: first names its pictures by number and keeps no path: resnetkit resume runs/first --data DATA\n"
        )
        before = Path("runs/first/best.safetensors").read_bytes()
        max(Path("runs/first/state").glob("epoch-*")).unlink()
        run("resume", "runs/first", "--data", data)
        assert rk.load("runs/first").network.state_dict().keys()
        assert Path("runs/first/best.safetensors").read_bytes() == before  # the very same bits
        for form in ("table", "json", "jsonl", "csv"):
            assert "file-0001.dcm" in run("predict", data, "--model", "runs/first", "--format", form, code=4)
        for name in ("a.csv", "a.json", "a.jsonl", "a.parquet", "rows/", "rows.parquet/"):
            run("predict", data, "--model", "runs/first", "--output", f"out/{name}", code=4)
        for by in ("folder", "PatientID"):
            run("predict", data, "--model", "runs/first", "--group-by", by, "--format", "csv", code=4)
        run("predict", telling_file, "--model", "runs/first", "--sort-into", tmp_path / "sorted")
        run("evaluate", data, "--model", "runs/first", "--bad-images", "skip", "--split", "val")
        run("report", "runs/first", "--checklist")
        run("export", "runs/first", "--output", "out/export", "--images", data)
        assert "was trained on was left out of the export (DICOM files are among it" in run(
            "evaluate", data, "--model", "out/export", "--bad-images", "skip"
        )
        run("check", data, "--output", "out/check", "--weights", "none")
        run("explain", telling_file, "--model", "runs/first", "--output", "out/maps")
    finally:
        broken.unlink(missing_ok=True)
        notes.unlink(missing_ok=True)
    record = json.loads(Path("out/export/record.json").read_text())["header"]
    assert {"pictures": 10, "dicom": True}.items() <= record["trained_on"].items()
    assert not record["trained_on"].keys() & {"trained", "chose", "calibrated", "scored", "groups"}
    card = " ".join(Path("out/export/README.txt").read_text().split())
    assert "Trained on: 10 pictures; which they are was left out of the export (DICOM files are among it" in card
    assert "No digest of them is in this folder" in card
    digests = [line.partition(",")[0][:12] for line in Path("runs/first/state/contents.txt").read_text().splitlines()]
    texts = [path.read_bytes() for path in Path("out/export").rglob("*") if path.is_file()]
    assert len(digests) == 16
    assert [one for one in digests for text in texts if one.encode() in text] == []
    decided = {"model": "resnet8", "weights": "none", "threads": 1, "quiet": True}
    _, report = rk.plan(data, split_from="runs/first", **decided)  # other numbers than then, so by content
    assert (report.pictures, "are new since" in str(report)) == ({"train": 10, "val": 6}, False)
    assert [found_in(path.name.encode()) for path in (tmp_path / "sorted").rglob("*")] == [set(), set()]
    assert len(list(Path().rglob("*"))) > 40
    assert search(Path().absolute(), tmp_path / "cache") == {}
    assert found_in("\n".join(said).encode()) == set()
    monkeypatch.setattr(by_number, "look", lambda *_, **__: by_number.Looked())
    assert len(found_in(run("predict", data, "--model", "runs/first", "--format", "csv").encode())) == 56


@pytest.mark.parametrize(
    ("kind", "value", "path", "told"),
    [
        ("person", "Doe^John", "in/DOE_JOHN/1.dcm", True),
        ("person", "Doe^John", "in/johndoe2.dcm", True),
        ("person", "Doe^John", "in/jdoe/1.dcm", True),
        ("person", "Lee^Ann", "in/sleeping/fleet.dcm", False),
        ("person", "Öhrlein^Jörgen", "in/Oehrlein.dcm", True),
        ("person", "Öhrlein^Jörgen", "in/ohrlein-1.dcm", True),
        ("person", "Błaszczyk^Łucja", "in/Blaszczyk.dcm", True),
        ("person", "Sørensen^Đorđe", "in/sorensen.dcm", True),
        ("person", "Kjærgaard^Ida", "in/kjaergaard.dcm", True),
        ("person", "Işıklı^Ida", "in/isikli.dcm", True),
        ("person", "Yamada^Tarou=山田^太郎", "in/太郎.dcm", True),
        ("person", "Anonymous^Patient", "patients/anonymous/1.dcm", False),
        ("number", "MRN-0047110", "in/47110.dcm", True),
        ("number", "MRN-0047110", "mrn/000001.dcm", False),
        ("number", "17", "in/17.dcm", False),
        ("date", "19320714", "in/1932-07-14/1.dcm", True),
        ("date", "19320714", "in/14.07.1932.dcm", True),
        ("date", "19320714", "in/320714_2.dcm", True),
        ("date", "19320714", "in/1932/1.dcm", False),
        ("place", "St. Agnes Hospital", "hospital/ct/1.dcm", False),
        ("place", "St. Agnes Hospital", "in/StAgnes/1.dcm", True),
        ("uid", "1.2.840.113619.2.55.3", "in/1.2.840.113619.2.55.3.dcm", True),
        ("uid", "1.2.3", "in/1.2.3.dcm", False),
    ],
)
def test_a_path_tells_who_is_pictured(kind: Kind, value: str, path: str, told: bool) -> None:
    assert telling([(kind, value)]).stands_in(path) == told


def one_of(folder: Path, name: str, **tags: object) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    made = of(np.full((8, 8), len(list(folder.rglob("*"))), np.uint16), **tags)
    path.write_bytes(written(made))
    return path


def test_a_number_tells_its_file_in_every_way_to_open_it(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    paths = [one_of(scans, f"{kind}/{n}_{who}.dcm", PatientName=who) for n, (kind, who) in enumerate(
        [("wet", "Quasthoff"), ("dry", "Wehwalt"), ("dry", "Blutegel")])]  # fmt: skip
    outside = one_of(scans, "Silbersee.dcm", PatientName="Silbersee")
    by_class, by_file = open_data(str(scans)), open_pictures(scans)
    assert {item.source: item.label for item in by_class.items} == {
        "file-0002.dcm": "dry", "file-0003.dcm": "dry", "file-0004.dcm": "wet",
    }  # fmt: skip
    assert by_class.outside == ("file-0001.dcm",)
    assert len(by_file) == 4
    for item in (*by_class.items, *by_file.items):
        path = rk.path_of(int(item.source[5:9]), scans)
        assert Path(path).read_bytes() == (by_class if item in by_class.items else by_file).read(item)
    assert Path(rk.path_of(1, scans)) == outside
    assert "Quasthoff" not in repr(by_class)
    assert str(scans) not in repr(by_class)
    with pytest.raises(UsageError, match="there are 4 pictures: no number 5"):
        rk.path_of(5, scans)
    paths[0].unlink()
    with pytest.raises(DataError, match=r"^file-0004.dcm: cannot be read \(No such file or directory\)$"):
        by_class.read(next(item for item in by_class.items if item.label == "wet"))


def test_files_whose_paths_tell_nothing_keep_them_and_other_pictures_are_not_opened(tmp_path: Path) -> None:
    one_of(tmp_path / "scans", "dry/1.dcm", PatientName="Wehwalt")
    one_of(tmp_path / "scans", "wet/2.dcm", PatientName="Quasthoff")
    kept = open_data(str(tmp_path / "scans"))
    assert (kept.hidden, kept.dicom) == (None, 2)
    assert [Path(item.source).name for item in kept.items] == ["1.dcm", "2.dcm"]
    hidden_folder = tmp_path / "Wehwalt"
    (tmp_path / "scans").rename(hidden_folder)
    assert open_data(str(hidden_folder)).name == "<numbered>"
    (tmp_path / "link").symlink_to(hidden_folder)
    assert open_data(str(tmp_path / "link")).hidden is not None


def test_a_class_called_after_a_patient_is_refused_and_a_group_after_one_is_hashed(tmp_path: Path) -> None:
    for kind in ("Wehwalt", "dry"):
        one_of(tmp_path / "scans", f"{kind}/1.dcm", PatientName="Wehwalt^Ida")
    with pytest.raises(
        DataError, match=r"^1 of 2 classes are called as an identifying tag .* \(number 2 in their order"
    ):
        open_data(str(tmp_path / "scans"))
    with pytest.raises(DataError) as refused:
        open_data(str(tmp_path / "scans"))
    assert "Wehwalt" not in str(refused.value)
    found = open_data(str(tmp_path / "scans"), rename={"Wehwalt": "wet"}, group_by="scans/([a-zA-Z]+)/")
    assert found.classes == ("dry", "wet")
    assert all(len(str(item.group)) == 16 for item in found.items)


def test_a_run_is_not_called_after_a_patient_and_divides_as_an_earlier_one_by_content(
    ward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, how = ward / f"{SURNAMES[0]}_{GIVEN[0]}" / "scans", {"model": "resnet8", "weights": "none", "quiet": True}
    how |= {"threads": 1, "settings": ("preprocess.windows=80 160", "augment.flip=none", "val_share=0.3")}
    with pytest.raises(UsageError, match="the name or place of the run holds what an identifying tag"):
        rk.train(str(data), name=SURNAMES[3], epochs=1, **how)
    assert not (tmp_path / "runs").exists()


def labelled(values: np.ndarray, text: str) -> np.ndarray:
    """Return a picture of 8 bits with text drawn into its upper left corner, in the largest value."""
    picture = Image.fromarray(values)
    ImageDraw.Draw(picture).text((4, 4), text, fill=255)
    return np.asarray(picture)


def test_text_burnt_into_pixels_is_told_with_its_share_and_its_pictures(
    resnetkit: Callable[..., Output], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for number in range(12):
        values = rng.normal(50 + 40 * (number % 2), 6, (96, 96)).clip(0, 200).astype(np.uint8)
        tags = {"BurnedInAnnotation": "YES"} if number == 2 else {}
        path = tmp_path / "scans" / ("dry", "wet")[number % 2] / f"{number:03d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(of(labelled(values, "QUASTHOFF 1932") if number == 5 else values, **tags)))
    code, said, _ = resnetkit("check", tmp_path / "scans", "--weights", "none", "--output", "out", "--threads", "1")
    assert code == 0
    assert "2 of 12 images (17%) have text in their pixels" in " ".join(said.split())
    found = [
        one for one in json.loads(Path("out/check.json").read_text())["findings"] if one["kind"] == "burnt-in text"
    ]
    assert sorted((Path(one["sources"][0]).name, one["why"].partition(";")[0]) for one in found) == [
        ("002.dcm", BY_TAG), ("005.dcm", BY_PIXELS),
    ]  # fmt: skip
    how = {"model": "resnet8", "weights": "none", "threads": 1, "quiet": True}
    _, report = rk.plan(str(tmp_path / "scans"), **how)
    assert any(
        one.startswith("2 of 12 images looked at (16.7 %) have text burnt into their pixels, 1 by their tag, as")
        for one in report.sentences
    )


def test_letters_are_found_on_real_pictures_and_only_where_there_are_some(shared_data: Path) -> None:
    """Figures over more of them stand in docs/medical.md; the two ultrasound pictures that have text keep it."""
    pictures = open_pictures(shared_data / "hymenoptera" / "val")
    greys = [np.asarray(pictures.open(item).convert("L").resize((256, 256))) for item in pictures.items[::16]]  # type: ignore[union-attr]
    assert len(greys) > 8
    assert not any(has_text(grey) for grey in greys)
    drawn = [has_text(labelled(grey // 2, "MEIER^ANNA 19440229")) for grey in greys]
    assert np.mean(drawn) > 0.7
    assert not has_text(np.zeros((32, 32), np.uint8))


def test_archives_lists_generators_and_open_files_name_by_number_too(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    for number, who in enumerate(("Quasthoff", "Wehwalt", "Blutegel")):
        one_of(scans, f"{'ab'[number % 2]}/{who}.dcm", PatientName=who)
    paths = sorted(scans.rglob("*.dcm"))
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", scans)
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["image_path,label", *(f"{path},{path.parent.name}" for path in paths)]))
    names = ["file-0001.dcm", "file-0002.dcm", "file-0003.dcm"]
    for data in (packed, str(listed), str(scans)):
        found = open_data(data)
        assert sorted(item.source for item in found.items) == names
        assert (found.name, found.dicom) == ("<numbered>", 3)
        assert [found.open(item).size for item in found.items] == [(8, 8)] * 3
    assert [picture.source for picture in pictures_of(path for path in paths)[0]] == names
    with open(paths[0], "rb") as file:
        picture = picture_of(file)
        assert (picture.source, picture.open(1).size) == ("<file>", (8, 8))
    with open(one_of(tmp_path, "plain.dcm", PatientName="Wehwalt"), "rb") as file:
        assert picture_of(file).source.endswith("plain.dcm")
