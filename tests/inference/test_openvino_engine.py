"""OpenVINO answers as PyTorch does, whatever the batch; a prepared model is made once and needs no torch."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import resnetkit as rk
from resnetkit import runtime
from resnetkit.data.preprocess import Preprocess
from resnetkit.errors import DataError, ResourceError, UsageError
from resnetkit.inference import prepared
from resnetkit.inference.engines import TorchEngine, choose, overlapped
from resnetkit.inference.openvino_engine import OpenVINOEngine, prepare
from resnetkit.models import checkpoint
from resnetkit.models.checkpoint import Header, load_arrays
from resnetkit.models.resnet import ResNet
from resnetkit.runtime import Runtime
from tests.inference.test_graph import some
from tests.models.test_resnet import KINDS, randomised

SPEC = KINDS["resnet20"]
PREPROCESS = Preprocess.for_size(32)
TIMED = True  # sizes of batches are what is tested
CLASSES = tuple(f"kind {i}" for i in range(SPEC.num_classes))


@pytest.fixture(autouse=True)
def _briefly_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnetkit.inference.openvino_engine._TIMED_S", 0.02)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def network() -> ResNet:
    return randomised(ResNet(SPEC)).eval()


@pytest.fixture
def file(network: ResNet, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "m.safetensors", network, Header(spec=SPEC, classes=CLASSES, preprocess=PREPROCESS))
    return tmp_path / "m.safetensors"


@pytest.fixture
def model(file: Path, cache: Path) -> prepared.Converted:
    return prepare(prepared.key_of(file), "small", checkpoint.read_header(file), load_arrays(file))


@pytest.mark.parametrize("count", [1, 32, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 7))])
def test_logits_are_those_of_pytorch_in_fp32(model: prepared.Converted, network: ResNet, count: int) -> None:
    pixels = some(count, 32, 32)
    expected = TorchEngine(network, PREPROCESS, Runtime()).logits(pixels)
    answer = OpenVINOEngine(model, Runtime()).logits(pixels)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_answers_come_in_order_however_many_are_under_way(model: prepared.Converted) -> None:
    engine = OpenVINOEngine(model, Runtime(threads=2))
    pixels = some(41, 32, 32)
    expected = np.concatenate([engine.logits(pixels[i : i + 1]) for i in range(41)])
    assert len(np.unique(expected.round(3), axis=0)) == 41
    sizes = [3, 1, 9, 5, 2, 16, 4, 1]
    ends = np.cumsum(sizes)
    batches = [(size, pixels[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    batches.insert(3, (0, None))
    answers = list(overlapped(engine, batches))
    assert [asked for asked, _ in answers] == [3, 1, 9, 0, 5, 2, 16, 4, 1]
    together = np.concatenate([logits for _, logits in answers if logits is not None])
    np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-4)


def test_the_batch_size_is_measured_once_and_kept_with_the_model(
    model: prepared.Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = OpenVINOEngine(model, Runtime(threads=1)).batch_size
    assert size in (1, 4, 16, 64)
    assert json.loads((model.folder / "batch_sizes.json").read_text()) == {"fp32 1": size}
    monkeypatch.setattr(OpenVINOEngine, "_fastest_batch_size", lambda self: 3)
    assert OpenVINOEngine(model, Runtime(threads=1)).batch_size == size
    assert OpenVINOEngine(model, Runtime(threads=2)).batch_size == 3
    (model.folder / "batch_sizes.json").write_text("{")
    assert OpenVINOEngine(model, Runtime(threads=1)).batch_size == 3


def test_a_prepared_model_is_found_again_and_made_again_where_it_is_broken(file: Path, cache: Path) -> None:
    rk.load(file)
    [folder] = (cache / "prepared").iterdir()
    made = (folder / "network.bin").stat().st_mtime_ns
    rk.load(file)
    assert (folder / "network.bin").stat().st_mtime_ns == made
    (folder / "header.json").write_text('{"format": 1')
    assert rk.load(file).classes == CLASSES
    assert [path.name for path in (cache / "prepared").iterdir()] == [folder.name]


def test_a_prepared_model_that_was_cut_off_is_made_again_and_a_damaged_one_is_told(file: Path, cache: Path) -> None:
    before = rk.load(file, precision="fp32").predict(some(1, 40, 40)[0])
    [folder] = (cache / "prepared").iterdir()
    os.truncate(folder / "network.bin", 100)
    assert rk.load(file, precision="fp32").predict(some(1, 40, 40)[0]) == before
    graph = folder / "network.xml"
    graph.write_bytes(b"#" * graph.stat().st_size)
    with pytest.raises(ResourceError, match="damaged: resnetkit cache clear"):
        rk.load(file, precision="fp32").predict(some(1, 40, 40)[0])


@pytest.mark.slow
def test_a_process_may_end_while_requests_are_under_way(file: Path, cache: Path) -> None:
    program = """if True:
        import sys
        import numpy as np
        import resnetkit as rk
        engine = rk.load(sys.argv[1], threads=2).engine
        pixels = np.zeros((engine.batch_size, 32, 32, 3), np.uint8)
        engine.submit(pixels).result()
        answers = [engine.submit(pixels) for _ in range(50)]
    """
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_prepared_models_are_listed_and_cleared(file: Path, cache: Path) -> None:
    model = rk.load(file, precision="fp32")
    before = model.predict(some(1, 40, 40)[0])
    [entry] = rk.api.cached()
    assert (entry.data, entry.what, entry.pictures) == (str(file), "for OpenVINO", 0)
    assert entry.bytes > file.stat().st_size / 2
    assert model.predict(some(1, 40, 40)[0]) == before
    cleared = rk.api.clear_cache()
    assert (cleared.bytes, cleared.failed) == (entry.bytes, 0)
    assert rk.api.cached() == []
    assert rk.load(file, precision="fp32").predict(some(1, 40, 40)[0]) == before


def test_other_weights_are_another_prepared_model(file: Path, cache: Path, network: ResNet) -> None:
    before = rk.load(file, precision="fp32").predict(some(1, 40, 40)[0], top_k=5).top
    with torch.no_grad():
        network.fc.bias[2] += 5
    checkpoint.save(file, network, checkpoint.read_header(file))
    after = rk.load(file, precision="fp32").predict(some(1, 40, 40)[0], top_k=5)
    with torch.no_grad():
        network.fc.bias[2] -= 5
    assert (after.label, before[0][0] == after.label) == ("kind 2", False)
    assert len(list((cache / "prepared").iterdir())) == 2


@pytest.mark.parametrize(
    "problem",
    [pytest.param(problem, marks=pytest.mark.slow) for problem in (errno.EROFS, errno.EACCES, errno.ENOSPC)],
)
def test_a_cache_that_takes_no_files_is_told_once_and_the_answer_comes(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: int
) -> None:
    expected = rk.load(file, precision="fp32").predict(some(1, 40, 40)[0])

    def refuse(*args: object, **kwargs: object) -> str:
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setenv("RESNETKIT_CACHE", str(cache / f"other {problem}"))
    monkeypatch.setattr("resnetkit.inference.prepared.tempfile.mkdtemp", refuse)
    models = [rk.load(file, precision="fp32") for _ in range(2)]
    for model in models:
        assert dict(model.predict(some(1, 40, 40)[0]).top) == pytest.approx(dict(expected.top), abs=1e-5)
        assert model.predict(some(1, 40, 40)[0]).label == expected.label
        assert len(list(model.predict_many([some(1, 40, 40)[0]] * 9))) == 9
    [line] = [record.getMessage() for record in caplog.records]
    assert os.strerror(problem) in line
    assert "set RESNETKIT_CACHE" in line


def test_a_cache_that_was_made_by_someone_else_is_read_and_not_written_to(
    model: prepared.Converted, network: ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnetkit.inference.prepared.os.access", lambda path, mode: False)
    OpenVINOEngine(model, Runtime()).logits(some(1, 32, 32))
    assert list((model.folder or Path()).glob("compiled/*")) == []


def test_tensors_that_are_not_the_networks_are_refused(file: Path, cache: Path) -> None:
    header, tensors = checkpoint.read_header(file), load_arrays(file)
    with pytest.raises(DataError, match="not those it describes"):
        prepare("a", "a", header, {name: value for name, value in tensors.items() if name != "layer2.0.conv2.weight"})
    with pytest.raises(DataError, match="not those it describes"):
        prepare("b", "b", header, tensors | {"layer2.0.conv2.weight": np.zeros((7, 7, 3, 3), np.float32)})
    with pytest.raises(DataError, match="not those it describes"):
        prepare("c", "c", header, tensors | {"layer9.0.conv1.weight": np.zeros((7, 7, 3, 3), np.float32)})
    assert not list((cache / "prepared").glob("*"))


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "openvino_telemetry"):
    sys.modules[name] = None
from resnetkit.cli import main
main(["predict", sys.argv[1], "--model", sys.argv[2], "--format", "jsonl"])
"""


def test_a_checkpoint_predicts_without_torch_and_without_telemetry(
    file: Path, cache: Path, tmp_path: Path, network: ResNet
) -> None:
    from PIL import Image

    for number in range(6):
        Image.fromarray(some(1, 32, 32, seed=number)[0]).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path), str(file)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    expected = rk.load(file, engine="torch", precision="fp32").predict_many(tmp_path)
    for row, prediction in zip(rows, expected, strict=True):
        assert (row["source"], row["status"]) == (prediction.source, "ok")
        assert row["probability"] == pytest.approx(prediction.probability, abs=0.02)


def test_what_computes_is_chosen_by_hardware_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_may_have_gpu", lambda: False)
    for fast, dtype in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(runtime, "has_fast_bf16", lambda device, fast=fast: fast)
        chosen = choose(threads=2)
        assert (chosen.engine, chosen.runtime.dtype) == ("openvino", dtype)
        assert f"computing with OpenVINO in {dtype} on 2 cores of the processor" in chosen.why
        assert ("--precision fp32" in chosen.why) == fast
    assert choose(engine="torch", precision="fp32", threads=1).why.endswith(
        "PyTorch in fp32 on one core of the processor"
    )
    with pytest.raises(UsageError, match="unknown engine 'onnx'"):
        choose(engine="onnx")  # type: ignore[arg-type]


def test_contradictions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_resolve_device", lambda device: "cuda")
    monkeypatch.setattr(runtime, "has_fast_bf16", lambda device: True)
    assert choose().engine == "torch"
    with pytest.raises(UsageError, match="add --device cpu"):
        choose(engine="openvino")
    monkeypatch.setattr(runtime, "_resolve_device", lambda device: "cpu")
    monkeypatch.setattr("resnetkit.inference.engines.importlib.util.find_spec", lambda name: None)
    assert choose().engine == "torch"
    with pytest.raises(UsageError, match="pip install openvino"):
        choose(engine="openvino")
