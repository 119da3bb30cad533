"""Annotation files with random damage: what comes is a set or one clear error, never another exception."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnetkit.data.sources import annotated, open_data
from resnetkit.errors import ResNetKitError
from resnetkit.words import steers_terminal

from .annotated_sets import WRITERS, polygon, run_lengths, write_coco

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2, 7, 17, 100, 3.5, -0.0, 1e-9, 1e9, 1e308, 10**30, 10**400, float("nan"),
    float("inf"), "", " ", "cat", "a;b", "x?", "one.jpg", "../one.jpg", "/", "\0", "a\nb", "\ud800", "개미", "\u202e",
    "9" * 400, [], {}, [[]], [1], [1, 2, 3, 4], {"size": [30, 40], "counts": "aa"}, {"size": [1, 1], "counts": [1]},
    {"id": 1}, [[0, 0, 1, 1, 2, 2]], "nan", "1e999",
]  # fmt: skip
TOKENS = [
    b"", b" ", b"\n", b"\r", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"-", b"--", b"0", b"1", b"-1", b"nan", b"inf",
    b"1e400", b"9" * 30, b"{", b"}", b"[", b"]", b"[[", b'"', b"'", b":", b",", b"#", b"- ", b"&a", b"*a", b"<", b">",
    b"</", b"<object>", b"</object>", b"&amp;", b"&#0;", b"<!--", b"]]>", b"<![CDATA[", b"names:", b"train:",
    b"path: /", b"..", b"null", b"true", b"\xea\xb0\x9c", b"cat", b"2 0.5",
]  # fmt: skip


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """Return a file with some of its bytes changed, gone, doubled, or swapped for tokens."""
    for _ in range(chance.choice((1, 1, 2, 5))):
        start = chance.randrange(len(data) + 1)
        stop = min(len(data), start + chance.choice((0, 1, 1, 3, 10, 60)))
        what = chance.randrange(5)
        if what == 0:
            data = data[:start] + bytes(chance.randrange(256) for _ in range(stop - start)) + data[stop:]
        elif what == 1:
            data = data[:start] + data[stop:]
        elif what == 2:
            data = data[:stop] + data[start:stop] * chance.choice((1, 2, 50)) + data[stop:]
        elif what == 3:
            data = data[:start] + chance.choice(TOKENS) + data[stop:]
        else:
            data = data[:start]
    return data


def damaged_words(data: bytes, chance: random.Random) -> bytes:
    """Return a text with some of its words swapped, doubled or odd."""
    words = data.decode("utf-8").replace("<", " <").replace(">", "> ").split(" ")
    for _ in range(chance.choice((1, 1, 2, 4))):
        place = chance.randrange(len(words))
        words[place] = chance.choice([
            "", words[chance.randrange(len(words))], words[place] * 2, "-" + words[place], words[place][:-1],
            chance.choice(TOKENS).decode("utf-8", "replace"), words[place] + "\n", "7" + words[place],
        ])  # fmt: skip
    return " ".join(words).encode("utf-8")


def damaged_json(data: bytes, chance: random.Random) -> bytes:
    """Return JSON with odd values, and values that are gone, doubled, or elsewhere."""
    content = json.loads(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        holder, place = content, None
        for _ in range(chance.randrange(1, 6)):
            below = holder if place is None else holder[place]
            if not isinstance(below, list | dict) or not below:
                break
            holder, place = below, chance.choice(list(below) if isinstance(below, dict) else range(len(below)))
        if place is None:
            continue
        what = chance.randrange(5)
        if what == 0:
            del holder[place]
        elif what == 1 and isinstance(holder, list):
            holder.append(holder[place])
        elif what == 2 and isinstance(holder, dict):
            holder[chance.choice(["id", "bbox", "name", "x", "size", "counts", "image_id"])] = holder[place]
        else:
            holder[place] = chance.choice(ODD)
    return json.dumps(content).encode("utf-8", "surrogatepass")


def write_outlined(root: Path) -> Path:
    return write_coco(root, outline=polygon)


def write_run_lengths(root: Path) -> Path:
    return write_coco(root, outline=run_lengths)


SETS: dict[str, tuple[Callable[[Path], Path], str, tuple[Callable[[bytes, random.Random], bytes], ...]]] = {
    "coco": (WRITERS["coco"], "annotations/*.json", (damaged_json, damaged_json, damaged_bytes)),
    "coco with polygons": (write_outlined, "annotations/*.json", (damaged_json, damaged_json, damaged_bytes)),
    "coco with run lengths": (write_run_lengths, "annotations/*.json", (damaged_json, damaged_json, damaged_bytes)),
    "voc": (WRITERS["voc"], "Annotations/*.xml", (damaged_words, damaged_bytes)),
    "lists of voc": (WRITERS["voc"], "ImageSets/Main/*.txt", (damaged_words, damaged_bytes)),
    "yolo": (WRITERS["yolo"], "labels/*/*.txt", (damaged_words, damaged_bytes)),
    "data.yaml": (WRITERS["yolo"], "data.yaml", (damaged_words, damaged_bytes)),
    "masks": (WRITERS["masks"], "masks/*/*/*.png", (damaged_bytes,)),
}


def check(root: Path, name: str, number: int) -> str:
    """Damage one file of a set, open it in every way, put the file back, and return what came of it."""
    writer, pattern, ways = SETS[name]
    if not root.exists():
        writer(root)
    chance = random.Random(f"{name} {number}")
    file = chance.choice(sorted(root.glob(pattern)))
    whole = file.read_bytes()
    file.write_bytes(chance.choice(ways)(whole, chance))
    outcome = ""
    try:
        for how in (lambda: open_data(root), lambda: open_data(root, faulty="skip"), lambda: annotated.faults_of(root)):
            try:
                how()
                outcome += "read "
            except ResNetKitError as error:
                line = str(error)
                assert line.strip()
                assert not any(steers_terminal(letter) for letter in line.replace("\n", ""))
                line.encode("utf-8")
                outcome += "refused "
        if file.suffix in annotated.FILES:
            try:
                open_data(file)
            except ResNetKitError:
                pass
    except Exception as error:
        shutil.copy(file, root.parent / "damaged")
        raise AssertionError(f"{name} {number}: {type(error).__name__}: {error}") from error
    finally:
        file.write_bytes(whole)
    return outcome


@pytest.mark.parametrize("name", SETS)
def test_damaged_annotation_files_give_a_set_or_one_clear_error(tmp_path, name):
    outcomes = [check(tmp_path / "photos", name, number) for number in range(20)]
    assert len(set(outcomes)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_two_thousand_damaged_annotation_files_give_a_set_or_one_clear_error(tmp_path, name):
    outcomes = [check(tmp_path / "photos", name, number) for number in range(20, 270)]
    assert len(set(outcomes)) > 1
