"""A model inside other people's programs: forked workers, pickles, other folders."""

import copy
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import resnetkit as rk
from resnetkit.api.progress import listening
from resnetkit.errors import DataError, UsageError
from resnetkit.models.hub import hub_folder
from resnetkit.runtime import cache_folder, keep_to_the_cache, refuse_forked
from resnetkit.watcher import Watcher

PICTURE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)

# Two threads whatever the machine: with one nothing could hang. The alarm ends a child that waits for ever.
FORKED = """
import os, signal, sys
import numpy as np
import resnetkit as rk

model = rk.load("resnet20.cifar10", engine=sys.argv[1], threads=2, precision="fp32")
picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
one, many = model.predict(picture).top, [answer.top for answer in model.predict_many([picture] * 20)]
open_stream = model.predict_many(picture for _ in range(99))
next(open_stream)

def in_child():
    signal.alarm(90)
    assert np.allclose([p for _, p in model.predict(picture).top], [p for _, p in one], atol=1e-5)
    assert [answer.top[0][0] for answer in model.predict_many([picture] * 20)] == [top[0][0] for top in many]
    try:
        list(open_stream)
    except rk.errors.UsageError as error:
        assert "before the process was forked" in str(error), error
    else:
        raise AssertionError("a stream of the parent went on")
    if sys.argv[1] == "openvino":
        try:
            rk.load("resnet20.cifar10", engine="openvino")
        except rk.errors.UsageError as error:
            assert "does not live through a fork" in str(error), error
        else:
            raise AssertionError("OpenVINO would compute in a forked process")
        assert "PyTorch" in rk.load("resnet20.cifar10").computes
    else:
        import torch
        model.features(torch.zeros(1, 3, 32, 32))
    sys.exit(0)  # not os._exit: what the parent left under way must not be waited for at the end either

for _ in range(2):
    child = os.fork()
    if not child:
        in_child()
    assert os.waitpid(child, 0)[1] == 0
assert model.predict(picture).top == one
assert len(list(open_stream)) == 98
print("answered")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_forked_workers_answer_like_the_process_that_loaded_the_model(engine: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED, engine], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "answered\n", done.stderr


TRAINING = """
import os, signal, sys
import numpy as np
import resnetkit as rk
import torch

torch.set_num_threads(2)
torch.zeros(1 << 20).add(1)
child = os.fork()
if not child:
    signal.alarm(90)
    settings = ("augment.flip=none",)
    how = dict(model="resnet8", epochs=1, limit=60, settings=settings)
    try:
        rk.train("digits", threads=2, output=sys.argv[1] + "/two", **how)
    except rk.errors.UsageError as error:
        assert "--threads 1" in str(error), error
    rk.train("digits", output=sys.argv[1] + "/one", **how)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_trains_on_one_thread_or_says_why_not(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "0\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_was_begun_in_another_process_says_so() -> None:
    refuse_forked(os.getpid())
    with pytest.raises(UsageError, match="begin it again"):
        refuse_forked(os.getpid() + 1)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_pickled_or_copied_model_answers_the_same_in_another_folder(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = rk.load("resnet20.cifar10", engine=engine, threads=1, precision="fp32")  # type: ignore[arg-type]
    expected = model.predict(PICTURE).top
    pickled = pickle.dumps(model)
    monkeypatch.chdir(tmp_path)
    for folder in (os.environ["RESNETKIT_CACHE"], str(tmp_path / "no cache")):
        monkeypatch.setenv("RESNETKIT_CACHE", folder)
        again = pickle.loads(pickled)
        assert again.predict(PICTURE).top == expected
        assert len(list(again.predict_many([PICTURE] * 9))) == 9
        assert (again.name, again.classes, again.header) == (model.name, model.classes, model.header)
    assert copy.deepcopy(model).predict(PICTURE).top == expected


def test_a_pickle_needs_no_file_to_answer_and_its_network_needs_no_folder(
    finished: rk.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.safetensors").write_bytes((finished.path / "best.safetensors").read_bytes())
    monkeypatch.chdir(tmp_path)
    model = rk.load("m.safetensors", threads=1, precision="fp32")
    expected, pickled = model.predict(PICTURE).top, pickle.dumps(model)
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).network.fc.out_features == 10
    (tmp_path / "m.safetensors").unlink()
    assert pickle.loads(pickled).predict(PICTURE).top == expected


SPAWNED = """
import multiprocessing, sys
import numpy as np
import resnetkit as rk

def answer(given):
    model, picture = given
    return model.predict(picture).top

if __name__ == "__main__":
    model = rk.load("resnet20.cifar10", threads=1, precision="fp32")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(answer, [(model, picture)] * 2) == [model.predict(picture).top] * 2
    print("answered")
"""


def test_a_model_goes_to_spawned_workers(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SPAWNED)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=240)
    assert done.stdout == "answered\n", done.stderr


# One process runs many verbs, as a person does over a day; the last one is a day later.
FIRST = [
    "train digits --model resnet8 --epochs 1 --limit 60 --set augment.flip=none --name a --threads 1 --quiet",
    "predict one.png --model a --threads 1 --quiet",
    "evaluate digits --model a --limit 60 --threads 1 --quiet",
    "export a --to onnx --output onnx --quiet",
    "check digits --limit 60 --weights none --quiet",
    "compare a a",
    "runs", "models", "recipes", "cache", "report a --quiet",
]  # fmt: skip
SECOND = ["predict photos --model a --threads 1 --quiet"]
VERBS = """
import sys
from resnetkit.cli import main
for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as left:
        assert left.code == (2 if "compare" in line else 0), line
"""


@pytest.mark.slow
def test_no_verb_leaves_anything_outside_the_cache(tmp_path: Path) -> None:
    for name in ("home", "tmp", "work/photos"):
        (tmp_path / name).mkdir(parents=True)
    for number in range(9):
        Image.fromarray(PICTURE).save(tmp_path / f"work/photos/{number}.png")
    Image.fromarray(PICTURE).save(tmp_path / "work/one.png")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL", "TORCH"))}
    environment = kept | {
        "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "RESNETKIT_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    for lines in (FIRST, SECOND):
        done = subprocess.run(
            [sys.executable, "-c", VERBS, *lines], cwd=tmp_path / "work", env=environment, capture_output=True,
            text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    left = [path for folder in ("home", "tmp") for path in (tmp_path / folder).rglob("*")]
    assert left == []


def in_child(work: Callable[[], object]) -> int:
    """Run something in a process of a user who is not root, and return its exit status."""
    child = os.fork()
    if not child:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_place_that_may_not_be_looked_into_is_not_called_missing(tmp_path: Path) -> None:
    from resnetkit.api.locating import locate
    from resnetkit.data.sources import open_data, open_pictures

    secret = tmp_path / "secret"
    secret.mkdir()
    Image.fromarray(PICTURE).save(secret / "a.png")
    os.chmod(tmp_path, 0o755)
    os.chmod(secret, 0)

    def look() -> None:
        for call in (
            lambda: open_pictures(secret / "a.png"), lambda: open_data(secret / "data"),
            lambda: locate(str(secret / "model.safetensors"), watcher=Watcher()),
        ):  # fmt: skip
            with pytest.raises((UsageError, DataError), match="Permission denied"):
                call()

    for folder in (*tmp_path.parents,)[:2]:
        os.chmod(folder, 0o755)
    status = in_child(look)
    os.chmod(secret, 0o700)
    assert status == 0


def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("RESNETKIT_CACHE", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    assert cache_folder().parts[-2:] == (f"cache-{os.getuid()}", "resnetkit")
    assert hub_folder().is_absolute()


FOLDERS = ("MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR")


@pytest.mark.parametrize("cache", ["a plain file", "/proc/nope", "read only"])
def test_other_packages_write_elsewhere_where_the_cache_takes_no_files(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a plain file").touch()
    monkeypatch.setenv("RESNETKIT_CACHE", cache)
    for name in FOLDERS:
        monkeypatch.setenv(name, "")
    if cache == "read only":  # of which root takes no notice
        monkeypatch.setattr(os, "access", lambda *args: False)
    keep_to_the_cache()
    for name in FOLDERS:
        assert not os.environ[name].startswith(cache)
        Path(os.environ[name]).mkdir()


def test_a_cache_that_takes_no_files_stops_nothing(
    digits: Path, resnetkit: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a plain file").touch()
    monkeypatch.setenv("RESNETKIT_CACHE", "a plain file")
    for name in FOLDERS:
        monkeypatch.setenv(name, "")
    small = ("--threads", "1", "--quiet", "--limit", "20")
    for command in (
        ("train", digits, "--model", "resnet8", "--image-size", "96", "--epochs", "1", "--output", "a", *small),
        ("resume", "a", "--epochs", "2", "--quiet"), ("evaluate", digits, "--model", "a", *small),
    ):  # fmt: skip
        code, _, err = resnetkit(*command)
        assert code == 0, err
        assert [line for line in err.splitlines() if "the prepared model cannot be kept" not in line] == []


SHOWN = """
import os, pty, sys
import numpy as np
import resnetkit as rk

labels = np.arange(60) % 3
images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
for quiet in (False, True):
    child, terminal = pty.fork()
    if not child:
        rk.plan((images, labels), model="resnet8", quiet=quiet)
        os._exit(0)
    said = b""
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break
    os.waitpid(child, 0)
    print(b"network   resnet8" in said, len(said) == 0)
rk.plan((images, labels), model="resnet8")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no pseudo-terminals")
def test_a_terminal_is_shown_what_goes_on_and_a_script_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, timeout=240)
    assert done.stdout == "True False\nFalse True\n", done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("shell", "heard"), [("ZMQInteractiveShell", True), ("TerminalInteractiveShell", False)])
def test_a_notebook_is_a_place_where_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str, heard: bool
) -> None:
    instance = type(shell, (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: instance))
    with listening(None, quiet=False) as watcher:
        watcher.note("found something")
    assert ("found something" in capsys.readouterr().err) == heard
    with listening(None, quiet=True) as watcher:
        watcher.note("found something")
    assert capsys.readouterr().err == ""
