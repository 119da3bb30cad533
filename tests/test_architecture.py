"""The house of the design: who may import whom, what needs no torch, and how files are named and sized."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "resnetkit"
PACKAGE = "resnetkit"

# Left never imports right; rooms of one set do not import each other.
ORDER = (
    {"errors"},
    {"runtime", "files", "watcher", "words"},
    {"data"},
    {"models"},
    {"inference"},
    {"evaluation"},
    {"explaining"},  # as `exporting` below: a room `explain` would hide the call resnetkit.explain
    {"training"},
    {"checking", "exporting"},  # not `export`: a room of that name would hide the call resnetkit.export
    {"tasks"},
    {"report"},
    {"api"},
    {"serve"},
    {"cli"},
    {"__init__", "__main__"},
)

# Every other module can be imported where there is no torch.
NEED_TORCH = {
    "data.batches.augment",
    "data.batches",
    "data.batches.mixing",
    "explaining.heatmaps",
    "exporting.standalone.torchvision_detector",
    "exporting.standalone.torchvision_runtime",
    "models.building",
    "models.detection.foreign",
    "models.few_places",
    "models.detection.losses",
    "models.detection.network",
    "models.detection.pooling",
    "models.detection.targets",
    "models.detection.trunk",
    "models.foreign",
    "models.layers",
    "models.pooled",
    "models.resnet",
    "models.surgery",
    "models.weights",
    "training.steps.augmenter",
    "training.planning.checks",
    "training.planning.duration",
    "training.steps.head",
    "training.together.heartbeat",
    "training.job",
    "training.learning",
    "training.loop",
    "training.planning.memory",
    "training.planning.mirrored",
    "training.planning.nearness",
    "training.steps.muon",
    "training.steps.optim",
    "training.steps.recounting",
    "training.together.ranks",
    "training.resuming",
    "training.state",
    "training.steps.stored",
    "training.steps.whitening",
    "tasks.classification.learning",
    "tasks.detection.learning",
    "tasks.detection.placing",
    "tasks.held_out",
    "tasks.multilabel.learning",
}
BANNED_NAMES = {"util", "utils", "common", "helper", "helpers", "misc", "base", "manager", "managers"}
OPTIONAL = {
    "captum",
    "cleanlab",
    "faster_coco_eval",
    "simplejpeg",
    "pillow_heif",
    "mplfonts",
    "nncf",
    "pyarrow",
    "tifffile",
    "supervision",
    "trackers",
}
MOST_LINES = 400


def module_name(path: Path) -> str:
    """Return `data.images` for `data/images.py` and `data` for `data/__init__.py`."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


@cache
def trees() -> dict[str, ast.Module]:
    """Return what stands in each module; asked for by the process that runs these tests alone."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports_of(name: str) -> Iterator[str]:
    """Yield the modules of this package that a module imports, wherever in its text the import stands."""
    package = [PACKAGE, *MODULES[name].relative_to(SOURCE).parent.parts]
    for node in ast.walk(trees()[name]):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            found = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (own_module(dotted) for dotted in found if dotted.split(".")[0] == PACKAGE)


def own_module(dotted: str) -> str:
    """Return the module that `resnetkit.data.opening.images.decode` lives in: `data.images`."""
    parts = dotted.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts) or "__init__"


def room_of(name: str) -> str:
    return name.split(".")[0]


@cache
def imports() -> dict[str, set[str]]:
    return {name: set(imports_of(name)) - {name} for name in MODULES}


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room_of(name) for name in MODULES} <= set().union(*ORDER)


def test_rooms_import_only_rooms_to_their_left() -> None:
    place = {room: position for position, rooms in enumerate(ORDER) for room in rooms}
    wrong = [
        f"{name} imports {other}"
        for name, others in imports().items()
        for other in sorted(others)
        if room_of(name) != room_of(other) and place[room_of(other)] >= place[room_of(name)]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    circles: list[str] = []
    finished: set[str] = set()

    def follow(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circles.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in finished:
            for other in sorted(imports()[name]):
                follow(other, (*path, name))
            finished.add(name)

    for name in MODULES:
        follow(name, ())
    assert circles == []


def in_fresh_python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None
import importlib, json, traceback
problems = {}
for name in json.loads(sys.argv[1] if len(sys.argv) > 1 else NAMES):
    try:
        importlib.import_module(name)
    except ImportError as error:
        problems[name] = str(error)
print(json.dumps(problems))
"""


def test_everything_but_the_networks_and_the_training_imports_without_torch() -> None:
    assert set(MODULES) >= NEED_TORCH, "a module of the list is gone"
    names = [PACKAGE, *(f"{PACKAGE}.{name}" for name in MODULES if name not in NEED_TORCH | {"__init__", "__main__"})]
    out = in_fresh_python(f"NAMES = {json.dumps(names)!r}\n{WITHOUT_TORCH}")
    assert json.loads(out) == {}


def test_what_the_design_calls_free_of_torch_is_not_excused() -> None:
    free = {"errors", "runtime", "files", "watcher", "words", "inference", "evaluation", "report", "api", "cli"}
    free |= {f"data.{name}" for name in ("opening.images", "preprocess", "sources", "splits", "preflight")}
    free |= {"data.decoded.cache", "data.sources.fetch", "tasks.classification"}
    free |= {"models.spec", "models.catalog", "models.checkpoint"}
    free |= {f"training.{name}" for name in ("recipe", "recipes", "planning.plan")}
    assert not [name for name in NEED_TORCH if name in free or room_of(name) in free]
    assert all(name in MODULES for name in free)


PREDICT_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None
import numpy as np
from resnetkit.data.preprocess import Preprocess
from resnetkit.inference.predictor import Predictor

class Brightness:
    def logits(self, pixels):
        bright = pixels.mean(axis=(1, 2, 3)) / 128 - 1
        return np.stack([-9 * bright, 9 * bright], axis=1).astype(np.float32)

predictor = Predictor(Brightness(), classes=("dark", "bright"), preprocess=Preprocess.for_size(8))
print(predictor.predict(np.full((20, 30, 3), 250, np.uint8)).label)
"""


def test_prediction_with_a_ready_engine_needs_no_torch() -> None:
    assert in_fresh_python(PREDICT_WITHOUT_TORCH).strip() == "bright"


HELP = """
import sys
from resnetkit.cli import main
try:
    main(["--help"])
except SystemExit as left:
    assert left.code == 0
heavy = ("numpy", "PIL", "torch", "torchvision", "sklearn", "scipy", "matplotlib", "rich", "safetensors")
print("loaded:", [name for name in heavy if name in sys.modules])
"""


def test_help_loads_nothing_heavy() -> None:
    assert in_fresh_python(HELP).splitlines()[-1] == "loaded: []"


def test_modules_are_named_after_what_they_hold() -> None:
    assert [name for name in MODULES if BANNED_NAMES & set(name.split("."))] == []


def test_files_fit_in_a_head() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def imported_at_once(tree: ast.Module) -> Iterator[str]:
    """Yield the top-level packages that importing a module imports: those outside its functions."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def test_optional_packages_are_imported_where_they_are_used() -> None:
    assert [name for name, tree in trees().items() if OPTIONAL & set(imported_at_once(tree))] == []


DOORS = {"inference.openvino_library", "exporting.standalone.openvino_runtime"}


def imported_for_use(tree: ast.Module) -> Iterator[str]:
    """Yield the top-level packages that a module imports anywhere, but for its types."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.expr) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            continue  # no import stands in an expression
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        waiting.extend(ast.iter_child_nodes(node))


def test_openvino_has_one_door_and_another_in_what_is_handed_over() -> None:
    assert {name for name, tree in trees().items() if "openvino" in imported_for_use(tree)} == DOORS


TEXTS = {".py", ".md", ".toml", ".txt", ".json", ""}
OF_A_MACHINE = re.compile(r"(?<![\w.:/~})-])/(?:work|root|opt|mnt)/\w")


def texts_of_the_repository() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in ("src", "tests", "docs", "benchmarks", ".ci"):
        found = (ROOT / folder).rglob("*")
        yield from (path for path in found if path.is_file() and not path.match("*.egg-info/*"))


def test_no_text_names_a_place_on_the_machine_it_was_written_on() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in texts_of_the_repository() if path.suffix in TEXTS}
    assert texts
    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if OF_A_MACHINE.search(text)] == []
