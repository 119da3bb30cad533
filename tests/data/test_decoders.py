"""What was decoded before is taken from the cache as long as the decoders are the same, and no longer."""

import ast
import hashlib
import json
import os
from pathlib import Path

import PIL
import pytest

from resnetkit.data import preprocess
from resnetkit.data.copies import resaved
from resnetkit.data.decoded import contents, decoding
from resnetkit.data.opening import (
    bands,
    bit_depth,
    dicom,
    dicom_header,
    dicom_packing,
    images,
    many_bands,
    measured,
    pages,
    windows,
)

ACCEPTED = Path(__file__).with_name("decoders.json")
DECODERS = (
    bands, many_bands, bit_depth, dicom, dicom_header, dicom_packing, measured, windows, images, pages, preprocess,
    decoding, contents, resaved,
)  # fmt: skip


def digest(source: str) -> str:
    """Return a digest of what code does: not of comments, docstrings and the version that it states."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            del body[0]
    tree.body = [node for node in tree.body if not ast.unparse(node).startswith("VERSION = ")]
    return hashlib.blake2b(ast.unparse(tree).encode(), digest_size=8).hexdigest()


def test_a_decoder_that_changes_states_another_version() -> None:
    sources = {module.__name__: Path(str(module.__file__)).read_text(encoding="utf-8") for module in DECODERS}
    now = {module.__name__: [module.VERSION, digest(sources[module.__name__])] for module in DECODERS}
    if os.environ.get("RESNETKIT_ACCEPT"):
        ACCEPTED.write_text(json.dumps(now, indent=1) + "\n")
    accepted = json.loads(ACCEPTED.read_text())
    changed = [name for name, (version, code) in now.items() if accepted[name][1] != code]
    assert changed == [], "does it make other pixels? Then raise its VERSION. RESNETKIT_ACCEPT=1 takes it as it is"
    assert now == accepted


def test_comments_and_docstrings_orphan_no_cache() -> None:
    assert digest('"""One."""\nVERSION = 1\ndef f():\n    """Two."""\n    return 1  # three') == digest(
        "VERSION = 2\ndef f():\n    return 1"
    )
    assert digest("def f():\n    return 1") != digest("def f():\n    return 2")


@pytest.mark.parametrize("what", ["images", "dicom", "pillow", "heif"])
def test_another_decoder_has_another_place_in_the_cache(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = decoding.Form(preprocess=preprocess.Preprocess())
    decoding._decoders.cache_clear()
    before = form.folder()
    if what == "images":
        monkeypatch.setattr(images, "VERSION", 99)
    elif what == "dicom":
        monkeypatch.setattr(dicom, "VERSION", 99)
    elif what == "pillow":
        monkeypatch.setattr(PIL, "__version__", "99")
    else:
        monkeypatch.setattr(decoding.metadata, "version", lambda name: f"99 of {name}")
    decoding._decoders.cache_clear()
    assert form.folder() != before
    monkeypatch.undo()
    decoding._decoders.cache_clear()
    assert form.folder() == before


def test_without_pydicom_the_place_is_as_it_was_before_there_was_dicom(monkeypatch: pytest.MonkeyPatch) -> None:
    version = decoding.metadata.version

    def without(name: str) -> str:
        if name == "pydicom":
            raise decoding.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(decoding.metadata, "version", without)
    decoding._decoders.cache_clear()
    assert not [said for said in decoding._decoders() if "dicom" in said or "windows" in said]
    monkeypatch.undo()
    decoding._decoders.cache_clear()
    assert [said for said in decoding._decoders() if "dicom" in said]
