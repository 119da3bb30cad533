import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.dataset import Dataset
from resnetkit.data.sources import open_data, open_pictures
from resnetkit.errors import DataError, UsageError

KOREAN = unicodedata.normalize("NFC", "개미")
HEBREW = "נמלים"


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (value % 256, value // 256 % 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, *names: str) -> Path:
    """Write a picture of its own content under each name that ends in .png, text under the others."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number) if name.endswith(".png") else b"text")
    return root


def found(data: Dataset) -> set[tuple[str | None, str | None, str]]:
    return {(item.split, item.label, os.path.basename(item.source)) for item in data.items}


def labels(data: Dataset) -> Counter[str | None]:
    return Counter(item.label for item in data.items)


def test_class_folders_hold_pictures_at_any_depth(tmp_path):
    data = open_data(write(tmp_path / "photos", "ants/a.png", "ants/2024/may/b.png", "bees/c.PNG".lower()))
    assert found(data) == {(None, "ants", "a.png"), (None, "ants", "b.png"), (None, "bees", "c.png")}
    assert (data.name, data.classes) == ("photos", ("ants", "bees"))
    assert data.items[0].source == f"{tmp_path}/photos/ants/2024/may/b.png"


@pytest.mark.parametrize(("train", "val", "test"), [("train", "val", "test"), ("Training", "VALID", "testing")])
def test_split_folders_are_understood_by_all_their_names(tmp_path, train, val, test):
    data = open_data(write(tmp_path, f"{train}/a/1.png", f"{train}/b/2.png", f"{val}/a/3.png", f"{test}/b/4.png"))
    assert found(data) == {
        ("train", "a", "1.png"),
        ("train", "b", "2.png"),
        ("val", "a", "3.png"),
        ("test", "b", "4.png"),
    }


def test_single_wrapper_folders_are_entered(tmp_path):
    data = open_data(write(tmp_path, "readme.txt", "outer/inner/train/a/1.png", "outer/inner/val/a/2.png"))
    assert found(data) == {("train", "a", "1.png"), ("val", "a", "2.png")}


def test_a_tree_with_only_a_train_folder_is_unsplit(tmp_path):
    assert found(open_data(write(tmp_path, "train/a/1.png", "train/b/2.png"))) == {
        (None, "a", "1.png"),
        (None, "b", "2.png"),
    }


def test_a_class_may_be_called_train(tmp_path):
    assert open_data(write(tmp_path, "train/1.png", "bus/2.png", "car/3.png")).classes == ("bus", "car", "train")


def test_folders_that_mean_two_things_are_refused(tmp_path):
    with pytest.raises(DataError, match="train/ stands beside bus/, car/"):
        open_data(write(tmp_path / "x", "train/2020/1.png", "bus/2.png", "car/3.png"))
    with pytest.raises(DataError, match="train/ holds pictures but no class folders: expected train/CLASS"):
        open_data(write(tmp_path / "y", "train/cat.1.png", "test/2.png"))


def test_what_lies_beside_the_classes_is_counted_and_named(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png", "loose.png", "Thumbs.db", "a/notes.txt", ".hidden/x.png", "__MACOSX/a/1.png")
    write(tmp_path, "a/._1.png")
    (tmp_path / "c").mkdir()
    data = open_data(tmp_path)
    assert len(data) == 2
    assert data.ignored == (f"{tmp_path}/a/notes.txt", f"{tmp_path}/Thumbs.db")
    assert data.outside == (f"{tmp_path}/loose.png",)
    assert data.empty == (f"{tmp_path}/c",)


def test_empty_folders_of_classes_and_parts_are_named(tmp_path):
    write(tmp_path, "train/a/1.png", "train/b/2.png", "val/a/3.png")
    (tmp_path / "val/b").mkdir()
    (tmp_path / "test").mkdir()
    assert open_data(tmp_path).empty == (f"{tmp_path}/test", f"{tmp_path}/val/b")


def test_several_folders_are_one_class_each(tmp_path):
    write(tmp_path, "2024/ants/1.png", "2025/ants/x/2.png", "2025/bees/3.png")
    data = open_data(tmp_path / "2024/ants", tmp_path / "2025/ants", f"{tmp_path}/2025/bees/")
    assert labels(data) == {"ants": 2, "bees": 1}
    assert data.name == "ants-ants-bees"
    with pytest.raises(UsageError, match="are parts of one data set; name the folder around them"):
        open_data(write(tmp_path, "train/a/1.png") / "train", write(tmp_path, "val/a/1.png") / "val")


def test_folders_in_nfd_merge_with_the_same_name_in_nfc(tmp_path):
    decomposed = unicodedata.normalize("NFD", KOREAN)
    assert decomposed != KOREAN
    data = open_data(
        write(tmp_path, f"train/{KOREAN}/1.png", f"val/{decomposed}/{decomposed}.png", f"train/{HEBREW}/3.png")
    )
    assert data.classes == (HEBREW, KOREAN)
    assert labels(data) == {KOREAN: 2, HEBREW: 1}
    assert all(data.read(item) for item in data.items), "a source is the name on the disk"


def test_classes_that_differ_only_by_case_are_refused(tmp_path):
    names = [("Ants", "1"), ("ants", "2")]
    path = tmp_path / "list.csv"
    path.write_text("image_path,label\n" + "".join(f"{n}.png,{label}\n" for label, n in names))
    with pytest.raises(DataError, match=r"'Ants' and 'ants' differ only by case.*--rename ants=Ants"):
        open_data(path)
    assert open_data(path, rename={"ants": "Ants"}).classes == ("Ants",)


def test_classes_stand_in_natural_order(tmp_path):
    assert open_data(write(tmp_path, *(f"{i}/x.png" for i in (10, 2, 1)))).classes == ("1", "2", "10")


def test_a_validation_class_unknown_to_training_is_refused_and_mended_by_rename(tmp_path):
    write(tmp_path, "train/airplane/1.png", "train/ship/2.png", "val/aeroplane/3.png", "val/ship/4.png")
    with pytest.raises(DataError, match=r"'aeroplane' .*did you mean 'airplane'.*--rename aeroplane=airplane"):
        open_data(tmp_path)
    data = open_data(tmp_path, rename={"aeroplane": "airplane"})
    assert data.classes == ("airplane", "ship")
    assert labels(data) == {"airplane": 2, "ship": 2}
    with pytest.raises(UsageError, match="no class is called 'aeroplan'; did you mean 'aeroplane'"):
        open_data(tmp_path, rename={"aeroplan": "airplane"})


def test_links_that_lead_in_circles_do_not_hang(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "a/itself").symlink_to("itself")
    (tmp_path / "c").symlink_to(tmp_path / "b")
    data = open_data(tmp_path)
    assert labels(data) == {"a": 1, "b": 1, "c": 1}
    assert data.ignored == (f"{tmp_path}/a/itself",)


def test_folders_that_cannot_be_listed_are_reported(tmp_path, monkeypatch):
    write(tmp_path, "a/1.png", "b/2.png", "b/locked/3.png")
    scandir = os.scandir

    def guarded(path):  # root may list every folder, so permissions alone do not show it
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert open_data(tmp_path).unreadable == ((f"{tmp_path}/b/locked", "Permission denied"),)


def test_what_is_no_file_is_one_that_cannot_be_read_and_a_link_to_one_is_read(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "linked.png").symlink_to(tmp_path / "a" / "1.png")
    (tmp_path / "all.csv").write_text("image_path\na/pipe.png\na/linked.png\n")
    for data in (open_data(tmp_path), open_pictures(tmp_path), open_pictures(tmp_path / "all.csv")):
        pipe, linked = (
            next(one for one in data.items if one.source.endswith(name)) for name in ("pipe.png", "linked.png")
        )
        assert data.read(linked) == png(0)
        with pytest.raises(DataError, match=r"pipe.png: cannot be read \(it is neither a file nor a folder\)"):
            data.read(pipe)


def test_file_names_that_are_no_utf8_are_shown_and_read(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png")
    with open(os.fsencode(tmp_path) + b"/a/\xb0\xb3.png", "wb") as file:
        file.write(png(9))
    data = open_data(tmp_path)
    assert f"{tmp_path}/a/\\xb0\\xb3.png" in {item.source for item in data.items}
    assert all(data.read(item) for item in data.items)


def zipped(path: Path, names: list[str], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for number, name in enumerate(names):
            archive.writestr(name, png(number) if name.endswith(".png") else b"text")
    return path


NAMES = ["photos/train/a/1.png", f"photos/train/{KOREAN}/2.png", "photos/val/a/3.png", "photos/readme.txt"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_in_place_by_several_threads(tmp_path, method):
    data = open_data(zipped(tmp_path / "photos.zip", NAMES, method=method))
    assert found(data) == {("train", "a", "1.png"), ("train", KOREAN, "2.png"), ("val", "a", "3.png")}
    assert data.items[0].source == f"{tmp_path}/photos.zip::photos/train/a/1.png"
    assert data.ignored == (f"{tmp_path}/photos.zip::photos/readme.txt",)
    with ThreadPoolExecutor(2) as pool:
        read = list(pool.map(data.read, data.items * 50))
    assert read[:3] == [png(0), png(1), png(2)]
    assert read == read[:3] * 50
    assert data.open(data.items[0]).size == (4, 3)


def test_a_tar_is_read_in_place(tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for number, name in enumerate(NAMES):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(png(number))
            archive.addfile(info, io.BytesIO(png(number)))
        link = tarfile.TarInfo("photos/val/a/same.png")
        link.type, link.linkname = tarfile.LNKTYPE, f"./{NAMES[0]}"
        archive.addfile(link)
    data = open_data(tmp_path / "photos.tar")
    assert labels(data) == {"a": 3, KOREAN: 1}
    by_name = {os.path.basename(item.source): data.read(item) for item in data.items}
    assert by_name == {"1.png": png(0), "2.png": png(1), "3.png": png(2), "same.png": png(0)}


@pytest.mark.parametrize("names", [("./a/0.png", "./b/1.png"), (".//a/./0.png", "b//1.png")])
def test_dots_in_the_names_of_a_zip_hide_nothing(tmp_path, names):
    path = zipped(tmp_path / "x.zip", list(names))
    with zipfile.ZipFile(path, "a") as archive:
        archive.mkdir("./")
        archive.mkdir("./c")
    data = open_data(path)
    assert [(item.source, item.label) for item in data.items] == [(f"{path}::a/0.png", "a"), (f"{path}::b/1.png", "b")]
    assert (data.read(data.items[1]), data.empty) == (png(1), (f"{path}::c",))


@pytest.mark.parametrize("name", ["../a/0.png", "a/../../0.png", "/a/0.png"])
def test_members_that_lead_out_of_an_archive_are_refused_by_name(tmp_path, name):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    for path in (zipped(tmp_path / "x.zip", ["b/1.png", name]), tmp_path / "x.tar"):
        with pytest.raises(DataError, match=f"{path.name}: the member {name} leads out of the archive"):
            open_data(path)


@pytest.mark.parametrize(("method", "kind"), [(zipfile.ZIP_LZMA, "lzma"), (zipfile.ZIP_BZIP2, "bzip2")])
def test_a_zip_of_another_compression_is_refused_once_with_the_line_to_type(tmp_path, method, kind):
    path = zipped(tmp_path / "my photos.zip", NAMES, method=method)
    with pytest.raises(DataError, match=rf"compressed \({kind}\) .*: python -m zipfile -e '{path}' 'my photos'$"):
        open_data(path)
    with zipfile.ZipFile(zipped(tmp_path / "notes.zip", NAMES), "a") as archive:
        archive.writestr("photos/more.txt", "text", compress_type=method)
    assert len(open_data(tmp_path / "notes.zip")) == 3


def test_compressed_archives_are_refused_with_the_line_to_type(tmp_path):
    with tarfile.open(tmp_path / "my photos.tar.gz", "w:gz"):
        pass
    with pytest.raises(DataError, match=r"gzip.*mkdir 'my photos' && tar xf '.*my photos.tar.gz' -C 'my photos'"):
        open_data(tmp_path / "my photos.tar.gz")


def test_encrypted_and_broken_zips_are_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", NAMES, method=zipfile.ZIP_STORED)
    whole = path.read_bytes()
    directory = whole.index(b"PK\1\2")
    path.write_bytes(whole[: directory + 8] + b"\1\0" + whole[directory + 10 :])
    with pytest.raises(DataError, match="is encrypted; unpack it with its password: unzip "):
        open_data(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is no readable .zip or .tar"):
        open_data(path)


def test_damage_inside_a_zip_is_found_where_it_is(tmp_path):
    path = zipped(tmp_path / "x.zip", NAMES, method=zipfile.ZIP_STORED)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"IDAT") + 4] ^= 1
    path.write_bytes(damaged)
    data = open_data(path)
    with pytest.raises(DataError, match=r"x.zip::photos/train/a/1.png: the archive is damaged here"):
        data.read(data.items[0])
    assert data.read(data.items[1]) == png(1)


def legacy_zip(path: Path, raw: bytes, *, extra: bytes = b"") -> Path:
    """Write a zip whose second name consists of `raw` bytes without the UTF-8 flag."""
    placeholder = "b/" + "x" * (len(raw) - 6) + ".png"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", png(1))
        info = zipfile.ZipInfo(placeholder)
        info.extra = extra
        archive.writestr(info, png(2))
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), raw))
    return path


def test_utf8_names_without_the_flag_are_read_right(tmp_path):
    assert open_data(legacy_zip(tmp_path / "x.zip", f"{KOREAN}/22.png".encode())).classes == ("a", KOREAN)


def test_the_unicode_path_field_of_info_zip_is_read(tmp_path):
    raw = KOREAN.encode("cp949") + b"/22.png"
    body = struct.pack("<BL", 1, zlib.crc32(raw)) + f"{KOREAN}/22.png".encode()
    extra = struct.pack("<HH", 0x7075, len(body)) + body
    assert open_data(legacy_zip(tmp_path / "x.zip", raw, extra=extra)).classes == ("a", KOREAN)


def test_names_in_an_unstated_code_page_are_refused(tmp_path):
    raw = KOREAN.encode("cp949") + b"/22.png"
    with pytest.raises(DataError, match=r"\\xb0\\xb3.*old encoding.*unzip -O cp949"):
        open_data(legacy_zip(tmp_path / "x.zip", raw))
    assert open_data(legacy_zip(tmp_path / "y.zip", b"c/\xb0\xb3\xb9\xcc.txt")).classes == ("a",)


def csv(path: Path, *lines: str, encoding: str = "utf-8-sig") -> Path:
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def test_a_csv_names_pictures_relative_to_itself(tmp_path, monkeypatch):
    write(tmp_path / "set", "img/1.png", "img/2.png")
    csv(tmp_path / "set/list.csv", "image_path,label,split,group", "img/1.png,a,train,p1", "img\\2.png,a,test,")
    monkeypatch.chdir(tmp_path)
    data = open_data("set/list.csv")
    assert [(item.source, item.label, item.split, item.group) for item in data.items] == [
        ("set/img/1.png", "a", "train", "p1"),
        ("set/img/2.png", "a", "test", None),
    ]
    assert data.read(data.items[1]) == png(1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label"], "line 1: no column 'image_path'"),
        (["image_path;label"], "the separator is a semicolon: separate the columns with commas"),
        (["image_path\tlabel", "1.png\ta"], "found image_path label .the separator is a tab: separate .* with commas"),
        (["image_path,label"], "list.csv: has no rows below image_path,label"),
        (["image_path,label", "1.png,a", "2.png"], "line 3: 1 values for 2 columns"),
        (["image_path,label", "1.png,"], "line 2: 1.png has no label"),
        (["image_path,label", ",a"], "line 2: image_path is empty"),
        (["image_path,label,split", "1.png,a,dev"], "line 2: split is 'dev': expected train, val or test"),
        (["image_path,label", "1.png,a", "1.png,b"], r"line 3: 1.png is listed again \(first in line 2\), as 'b' and"),
        (["image_path,label", "1.png,a", "./1.png,b"], r"line 3: ./1.png is listed again \(first in line 2\), as 'b'"),
        (
            ["image_path,label,split", "1.png,a,train", "1.png,a,val"],
            r"listed again \(first in line 2\) with another sp",
        ),
        (["image_path,label", "1.png,007;warm", "2.png,cold"], "line 2: label '007;warm' is several names with ';' be"),
        (["image_path,label", "1.png,a", "2.png,", "3.png,a|b"], r"line 4: label 'a\|b' is several names with '\|'"),
        (["image_path,label", "1.png,warm", '2.png,"warm,wet"'], "line 3: label 'warm,wet' is several names with ','"),
        (["image_path,label", '1.png,"a, b"', '2.png,"b, c"', '3.png,"c, a"'], "line 2: label 'a, b' is several names"),
        (
            ["image_path,warm,cold", "1.png,0,1"],
            r"list.csv, line 1: has a column for each label \(warm, cold\): write the",
        ),
        (["image_path,a,b,c,d,split", "1.png,0.0,1.0,0,0,val"], r"column for each label \(a, b, c and 1 more\)"),
        (["image_path,a,b", "1.png,True,False", "2.png,False,True"], r"column for each label \(a, b\)"),
        (["image_path,a,b", "1.png,,X", "2.png,x,"], r"column for each label \(a, b\)"),
        (["image_path,a,b", "1.png,1.00,", "2.png,0.00,yes"], r"column for each label \(a, b\)"),
        (["id,image_path,a,b", "0,1.png,1,0", "1,2.png,0,1", "2,3.png,1,0"], r"column for each label \(a, b\)"),
        (["image_path,id,kind", "1.png,0,1", "2.png,1,7"], "line 1: no column 'label'"),
        (["image_path,label", "1.png,warm", "2.png,warm;"], "line 3: label 'warm;' is several names with ';'"),
        (["image_path,label", '1.png,"warm,wet"', '2.png,"cold,dry"'], "line 2: label 'warm,wet' is several names"),
        (["image_path,label", "1.png,a", "2.png,\"['warm', 'wet']\""], "line 3: label .* is a list of names: write"),
        (["image_path,label", "1.png,a", '2.png,"[""warm"",""wet""]"'], "line 3: label .* is a list of names: write"),
        (["image_path,label", "1.png,a", "2\0.png,b"], "line 3: (image_path holds a NUL|line contains NUL)"),
        (["image_path,label", '"1.png,a'], "line 2: unexpected end of data"),
    ],
)
def test_a_wrong_csv_is_refused_with_the_line(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        open_data(csv(tmp_path / "list.csv", *lines), task="classification")


def test_names_with_commas_stay_names(tmp_path):
    names = [
        "tench, Tinca tinca",
        "oak,ash",
        "[unsure]",
        "(red, ripe)",
        "maillot",
        "maillot, tank suit",
        "missile",
        "projectile, missile",
        "normal, benign",
    ]
    write(tmp_path, *(f"{i}.png" for i in range(len(names))))
    rows = [f'{i}.png,"{name}"' for i, name in enumerate(names)]
    assert set(open_data(csv(tmp_path / "list.csv", "image_path,label", *rows)).classes) == set(names)


def test_labels_of_arrays_that_are_several_names_are_refused_too():
    images = np.zeros((3, 4, 4), np.uint8)
    with pytest.raises(DataError, match="label 'a;b' is several names with ';' between them"):
        open_data((images, ["a", "a;b", "b"]))
    assert open_data((images, ["a", "a, plain", "b"])).classes == ("a", "a, plain", "b")


def test_rows_that_say_the_same_again_are_used_once_and_counted(tmp_path):
    write(tmp_path, "1.png", "2.png")
    rows = ["1.png,a", "2.png,b", "1.png,a", "./2.png,b"]
    data = open_data(csv(tmp_path / "list.csv", "image_path,label", *rows))
    assert labels(data) == {"a": 1, "b": 1}
    assert data.notes == ("2 rows repeat an earlier one: each picture is used once",)


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("1", "01"), ("-2.50", "-2.5"), ("3.", "3")])
def test_one_number_written_in_two_ways_is_asked_about_and_renamed(tmp_path, one, other):
    write(tmp_path, "1.png", "2.png", "3.png")
    path = csv(tmp_path / "list.csv", "image_path,label", f"1.png,{one}", f"2.png,{other}", "3.png,v1.0")
    with pytest.raises(DataError, match=r"are the same number: are they one class\? then add --rename (\S+);") as error:
        open_data(path)
    old, new = str(error.value).partition("--rename ")[2].partition(";")[0].split("=")
    assert labels(open_data(path, rename={old: new})) == {new: 2, "v1.0": 1}


def _first_of(ask: Callable[[str], Dataset], path: str) -> bytes | np.ndarray:
    data = ask(path)
    return data.read(data.items[0])


@pytest.mark.parametrize(
    ("files", "written", "found"),
    [
        (["img1.png", "img2.png"], "img1", "img1.png"),
        (["IMG1.PNG.png"], "IMG1.PNG", "IMG1.PNG.png"),
        (["Img1.png"], "img1.PNG", "Img1.png"),
        (["photos/img1.png"], "img1.png", "photos/img1.png"),
        (["img1.png"], "photos/img1.png", "img1.png"),
        (["photos/img1.png"], "set/photos/img1", "photos/img1.png"),
        (["img1.png"], "img1.jpg", "img1.png"),
        (["img1.png", "photos/img1.jpg"], "img1.jpg", "photos/img1.jpg"),
    ],
)
@pytest.mark.parametrize("ask", [open_data, open_pictures])
def test_a_list_of_names_that_are_not_there_is_told_what_to_write(tmp_path, files, written, found, ask, monkeypatch):
    write(tmp_path / "set", *files)
    monkeypatch.chdir(tmp_path)
    path = csv(tmp_path / "set/list.csv", "image_path,label", f"{written},a", "none,b")
    said = rf"none of the 2 pictures is there, as line 2, {written}: write {found} for {written}, and so on"
    with pytest.raises(DataError, match=said):
        _first_of(ask, "set/list.csv")
    assert _first_of(open_data, str(csv(path, "image_path,label", f"{found},a")))


def test_one_name_of_a_list_without_its_ending_is_told_too(tmp_path):
    write(tmp_path, "1.png", "2.png")
    data = open_data(csv(tmp_path / "list.csv", "image_path,label", "1.png,a", "2,b", "3,b", "2.jpg,b"))
    with pytest.raises(DataError, match=r"/2: is not there, but 2\.png is: write that"):
        data.read(data.items[1])
    with pytest.raises(DataError, match=r"/2\.jpg: is not there, but 2\.png is: write that"):
        data.read(data.items[3])
    with pytest.raises(DataError, match=r"/3: cannot be read \(No such file"):
        data.read(data.items[2])


def test_brackets_in_paths_mean_themselves(tmp_path, monkeypatch):
    write(tmp_path / "photos [2024]", "[red] a/a[1].png", "[red] a/a[2].png", "b/1.png")
    monkeypatch.chdir(tmp_path)
    assert open_data("photos [2024]").classes == ("[red] a", "b")
    listed = csv(tmp_path / "photos [2024]/list[1].csv", "image_path,label", "[red] a/a[1].png,a[1]", "b/1.png,b")
    assert labels(open_data(listed)) == {"a[1]": 1, "b": 1}
    for asked, count in (
        ("photos [2024]/[red] a/a[1].png", 1), ("photos [2024]/*/a[[]1].png", 1), ("photos [2024]/**/*.png", 3),
        ("photos [2024]/[red] a/a[1]*", 1), ("photos [2024]/[red] a", 2), ("photos [[]2024]/b/[0-9].png", 1),
    ):  # fmt: skip
        assert len(open_pictures(asked)) == count, asked


def test_a_csv_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(DataError, match='save it as "CSV UTF-8"'):
        open_data(csv(tmp_path / "list.csv", "image_path,label", f"1.png,{KOREAN}", encoding="cp949"))


def test_a_csv_names_pictures_in_archives_and_arrays_too(tmp_path):
    write(tmp_path, "own.png")
    zipped(tmp_path / "photos.zip", NAMES)
    medmnist(tmp_path / "x.npz", train_images=np.arange(48, dtype=np.uint8).reshape(3, 4, 4), train_labels=[[0]] * 3)
    rows = [f"photos.zip::{NAMES[1]},a", "own.png,b", f"photos.zip::{NAMES[0]},b", "x.npz::train/2,b"]
    csv(tmp_path / "list.csv", "image_path,label", *rows)
    for data in (open_data(tmp_path / "list.csv"), open_pictures(tmp_path / "list.csv")):
        read = [data.read(item) for item in data.items]
        assert read[:3] == [png(1), png(0), png(0)]
        assert read[3].tolist() == np.arange(32, 48).reshape(4, 4).tolist()
        assert data.items[0].source == f"{tmp_path}/photos.zip::{NAMES[1]}"
    assert labels(open_data(tmp_path / "list.csv")) == {"a": 1, "b": 3}
    csv(tmp_path / "list.csv", "image_path,label", "photos.zip::photos/none.png,a", "own.png,a")
    data = open_data(tmp_path / "list.csv")
    with pytest.raises(DataError, match=r"photos\.zip has no such picture"):
        data.read(data.items[0])
    assert data.read(data.items[1]) == png(0)


def test_groups_come_from_a_column_or_from_paths(tmp_path):
    path = csv(tmp_path / "list.csv", "image_path,label,patient", "1.png,a,p1", "2.png,b,p2")
    assert [item.group for item in open_data(path, group_by="patient").items] == ["p1", "p2"]
    with pytest.raises(UsageError, match=r"--group-by pacient: no such column; .* image_path, label, patient; did you"):
        open_data(path, group_by="pacient")
    assert [item.group for item in open_data(path, group_by=r"([0-9])\.png").items] == ["1", "2"]
    folder = write(tmp_path / "f", "a/p1_1.png", "a/p1_2.png", "b/p2_1.png", "b/other.png")
    data = open_data(folder, group_by=r"(p\d+)_")
    assert Counter(item.group for item in data.items) == {"p1": 2, "p2": 1, None: 1}
    assert data.notes == (r"2 groups by (p\d+)_", f"1 of 4 images are in no group (first: {folder}/b/other.png)")
    for pattern, message in ((r"p\d+_", "put parentheses"), ("(", "no regular expression"), ("(q)_", "in no path")):
        with pytest.raises(UsageError, match=message):
            open_data(folder, group_by=pattern)


def test_limit_keeps_the_same_pictures_of_each_class_wherever_the_data_lie(tmp_path):
    names = [f"train/{c}/{i}.png" for c, n in (("a", 30), ("b", 30), ("c", 2)) for i in range(n)] + ["val/a/1.png"]
    here, there = (open_data(write(tmp_path / at / "x", *names), limit=12) for at in ("here", "there"))
    assert labels(here) == {"a": 6, "b": 5, "c": 2}
    assert here.notes == ("--limit 12: 12 of 62 train images are used",)
    assert [i.source.partition("here")[2] for i in here.items] == [i.source.partition("there")[2] for i in there.items]
    with pytest.raises(UsageError, match="less than one image for each of the 3 classes"):
        open_data(tmp_path / "here", limit=2)


def medmnist(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_an_npz_holds_grey_or_coloured_arrays(tmp_path):
    grey, coloured = np.arange(48, dtype=np.uint8).reshape(3, 4, 4), np.zeros((2, 4, 4, 3), np.uint8)
    arrays = {
        "train_images": grey,
        "train_labels": np.array([[0], [1], [1]]),
        "test_images": coloured,
        "test_labels": np.array([0, 1]),
    }
    data = open_data(medmnist(tmp_path / "x.npz", **arrays))
    assert [(i.source.partition("::")[2], i.label, i.split) for i in data.items][1:4] == [
        ("train/1", "1", "train"),
        ("train/2", "1", "train"),
        ("test/0", "0", "test"),
    ]
    assert (data.read(data.items[1]) == grey[1]).all()
    assert [data.open(data.items[i]).mode for i in (0, 3)] == ["L", "RGB"]
    assert open_data(medmnist(tmp_path / "pneumoniamnist.npz", **arrays)).classes == ("normal", "pneumonia")


def test_an_npz_without_images_is_told_so(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, train_images=np.zeros((0, 4, 4), np.uint8), train_labels=np.zeros(0, np.int64))
    with pytest.raises(DataError, match=r"x.npz: has no rows"):
        open_data(path)


def test_npz_files_of_other_content_are_refused(tmp_path):
    images, labels = np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64)
    for arrays, message in (
        ({"x": images}, "has no array train_images; found x"),
        ({"train_images": images.astype(bool), "train_labels": labels}, "expected uint8"),
        ({"train_images": np.zeros((2, 4, 4, 3), np.uint16), "train_labels": labels}, "or other numbers .N, H, W."),
        ({"train_images": np.zeros((2, 4, 4, 4), np.uint8), "train_labels": labels}, r"uint8 \[2, 4, 4, 4\]"),
        ({"train_images": images, "train_labels": np.zeros((2, 14), int)}, "several labels per image"),
        ({"train_images": np.array([None, {}]), "train_labels": labels}, "allow_pickle"),
    ):
        with pytest.raises(DataError, match=message):
            open_data(medmnist(tmp_path / "x.npz", **arrays))


def test_digits_are_inside_the_installation():
    data = open_data("digits")
    assert len(data) == 1797
    assert data.classes == tuple("0123456789")
    picture = data.read(data.items[12])
    assert data.items[12].source == "digits::12"
    assert (picture.shape, picture.dtype, picture.max()) == ((8, 8), np.uint8, 255)


def test_cifar10_is_fetched_into_the_cache_and_unpacked_once(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    from resnetkit.data.sources import fetch

    images = np.random.default_rng(0).integers(0, 255, (12, 3, 32, 32), np.uint8)
    batches = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    files = {
        name: pickle.dumps({"data": images[2 * i : 2 * i + 2].reshape(2, -1), "labels": [i, 9 - i]})
        for i, name in enumerate(batches)
    }
    files["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")})
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in batches[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})

    def publish(url, target, *, checksum, what, ways_out):
        assert ways_out == ("a folder or .zip of it as DATA", f"the archive put at {target}")
        assert checksum == "md5:c58f30108f718f92721af3b95e74349a"
        target.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(target, "w:gz") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return target

    monkeypatch.setattr(fetch, "fetch", publish)
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path))
    for _ in range(2):
        data = open_data("cifar10", rename={"j": "a"})
        assert [(item.source, item.label) for item in data.items[:2]] == [
            ("cifar10::train/0", "a"),
            ("cifar10::train/1", "a"),
        ]
        assert Counter(item.split for item in data.items) == {"train": 10, "test": 2}
        assert (data.read(data.items[10]) == images[10].transpose(1, 2, 0)).all()
    names = sorted(path.name for path in (tmp_path / "datasets").iterdir())
    assert names == ["cifar-10-batches-py", "cifar-10-python.tar.gz"], "nothing temporary stays"


def test_what_does_not_exist_is_wrong_usage_with_the_nearest_name(tmp_path):
    write(tmp_path, "hymenoptera/a/1.png", "notes.txt")
    with pytest.raises(UsageError, match="digitz: no such file or folder; did you mean 'digits'"):
        open_data("digitz")
    with pytest.raises(UsageError, match=r"did you mean '.*/hymenoptera'"):
        open_data(tmp_path / "hymenopterra")
    with pytest.raises(UsageError, match=r"notes.txt: is no data set; DATA is a folder"):
        open_data(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="DATA is missing"):
        open_data()


def test_pictures_to_predict_come_from_everywhere(tmp_path, monkeypatch):
    write(tmp_path, "one.picture", "deep/er/2.png", "deep/notes.txt", "3.png", "list/4.png")
    zipped(tmp_path / "more.zip", ["a/5.png", "a/6.png"])
    csv(tmp_path / "list.csv", "image_path", "list/4.png")
    monkeypatch.chdir(tmp_path)
    data = open_pictures("one.picture", "deep", "*.png", "3.png", "more.zip::a/6.png", "list.csv", "digits::5")
    assert [item.source for item in data.items] == [
        *("one.picture", "deep/er/2.png", "3.png", "more.zip::a/6.png", "list/4.png", "digits::5"),
    ]
    assert {(item.label, item.split) for item in data.items} == {(None, None)}
    assert data.ignored == ("deep/notes.txt",)
    assert data.read(data.items[3]) == png(1)
    assert len(open_pictures("more.zip")) == 2


def test_an_archive_that_cannot_be_opened_does_not_stop_the_other_pictures(tmp_path, monkeypatch):
    write(tmp_path, "1.png")
    (tmp_path / "scan.gz").write_bytes(b"\x1f\x8b compressed")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 and no more")
    monkeypatch.chdir(tmp_path)
    data = open_pictures("scan.gz", "cut.zip", "1.png")
    assert [item.source for item in data.items] == ["scan.gz", "cut.zip", "1.png"]
    with pytest.raises(DataError, match=r"^scan.gz: is compressed .*unpack it: gzip -dk scan.gz$"):
        data.open(data.items[0])
    with pytest.raises(DataError, match=r"^cut.zip: is no readable"):
        data.open(data.items[1])
    assert data.open(data.items[2]).size == (4, 3)


def test_what_a_pattern_matches_and_is_not_there_stops_nothing(tmp_path):
    write(tmp_path, "1.png", "2.png")
    (tmp_path / "nowhere[1].png").symlink_to("gone.png")
    data = open_pictures(tmp_path / "*.png")
    assert [os.path.basename(item.source) for item in data.items] == ["1.png", "2.png", "nowhere[1].png"]
    with pytest.raises(DataError, match=r"nowhere\[1\].png: is a link that leads nowhere"):
        data.open(data.items[2])
    with pytest.raises(
        UsageError, match=r"nowhere\[1\].png: no such .*; it is a link to gone.png, which is not there$"
    ):
        open_pictures(tmp_path / "1.png", tmp_path / "nowhere[1].png")


def test_missing_and_empty_pictures_to_predict_are_told_apart(tmp_path):
    write(tmp_path, "folder/notes.txt")
    (tmp_path / "nowhere.png").symlink_to("gone.png")
    for missing in ("gone.png", "*.jpg", "nowhere.png", "gone.zip::1.png"):
        with pytest.raises(UsageError, match="no such file"):
            open_pictures(tmp_path / missing)
    with pytest.raises(DataError, match=r"no pictures found \(ignored files: 1, the first .*notes.txt\)"):
        open_pictures(tmp_path / "folder")


def test_reading_what_is_gone_names_the_source(tmp_path):
    data = open_data(write(tmp_path, "a/1.png", "b/2.png"))
    (tmp_path / "a/1.png").unlink()
    with pytest.raises(DataError, match=r"a/1.png: cannot be read .No such file"):
        data.open(data.items[0])


def test_sources_need_no_torch():
    code = "import sys, resnetkit.data.sources, resnetkit.data.preflight; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_cifar10_opens_from_its_archive(shared_data):
    data = open_data(shared_data / "cifar10.zip")
    assert Counter(item.split for item in data.items) == {"train": 50_000, "test": 10_000}
    assert set(Counter((item.split, item.label) for item in data.items).values()) == {5_000, 1_000}
    assert data.classes == (
        *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
    assert data.open(data.items[-1]).size == (32, 32)


@pytest.mark.parametrize(("name", "classes"), [("pneumoniamnist", 2), ("breastmnist", 2)])
def test_medmnist_files_open(shared_data, name, classes):
    data = open_data(shared_data / "medmnist" / f"{name}.npz")
    assert len(data.classes) == classes
    assert {item.split for item in data.items} == {"train", "val", "test"}
