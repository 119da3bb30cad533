"""Joins the `predict.py` of an export from the modules in `standalone` and those of `data` that they use."""

from __future__ import annotations

import ast
import sys
from importlib import resources

from resnetkit import files
from resnetkit.exporting.folder import Exported, Format
from resnetkit.models.checkpoint import CLASSIFICATION, DETECTION

_PACKAGE = "resnetkit.exporting.standalone"
# No two define a name twice, but for the version that a decoder states.
_DATA = ("opening/silence", "opening/bands", "opening/bit_depth", "opening/pages", "shape")
_OF_A_CACHE = "VERSION = "
_ERROR = 'class DataError(ValueError):\n    """A picture that cannot be used."""'
_RUNTIMES: dict[Format, str] = {
    "onnx": "onnx_runtime",
    "openvino": "openvino_runtime",
    "torchvision": "torchvision_runtime",
}
_NEEDS: dict[Format, str] = {
    "onnx": "onnxruntime numpy pillow",
    "openvino": "openvino numpy pillow",
    "torchvision": "torch torchvision numpy pillow",
}


def needed(format: Format) -> str:
    """Return the packages that the `predict.py` of a format needs, as pip takes them."""
    return _NEEDS[format]


def write_script(exported: Exported) -> None:
    """Write `predict.py`: one file that needs the runtime, NumPy and Pillow."""
    files.write_text(exported.folder / "predict.py", script(exported.format, exported.header.task))


def script(format: Format, task: str = CLASSIFICATION) -> str:
    """Return the text of `predict.py` for a format and a task."""
    found = format == "torchvision" and task == DETECTION
    names = ["pictures", "resizing", "torchvision_detector" if found else _RUNTIMES[format], "main"]
    sources = [_text("resnetkit.data", name) for name in _DATA] + [_text(_PACKAGE, name) for name in names]
    docstring = (
        f'"""Use the model in this folder: python predict.py PHOTO...\n\nIt needs: pip install {needed(format)}\n"""'
    )
    return "\n\n".join([docstring, _imports(sources)]) + "\n\n\n" + "\n\n\n".join([_ERROR, *map(_body, sources)]) + "\n"


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")


def _body(source: str) -> str:
    """Return what follows docstring and imports."""
    last = max(node.end_lineno or 0 for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom))
    lines = source.splitlines()[last:]
    return "\n".join(line for line in lines if not line.startswith(_OF_A_CACHE)).strip()


def _imports(sources: list[str]) -> str:
    """Return the imports of all the modules but those of each other, the standard library's first."""
    whole: set[str] = set()
    parts: dict[str, set[str]] = {}
    for node in (node for source in sources for node in ast.parse(source).body):
        if isinstance(node, ast.Import):
            whole.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("resnetkit."):
            parts.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    future = [f"from __future__ import {name}" for name in sorted(parts.pop("__future__", set()))]
    lines = sorted(whole) + [
        f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(parts.items())
    ]
    ours = [line for line in lines if line.split()[1].split(".")[0] in sys.stdlib_module_names]
    groups = (future, ours, [line for line in lines if line not in ours])
    return "\n\n".join("\n".join(group) for group in groups)
