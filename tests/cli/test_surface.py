"""The command line as people and scripts meet it: every option, and the exit code of every kind of mistake."""

import errno
import re
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from resnetkit import api
from resnetkit.cli import cli, main
from resnetkit.errors import Terminated, UsageError
from resnetkit.files import check_new
from tests.golden import check_golden

Output = tuple[int, str, str]
Command = Callable[..., Output]


@pytest.fixture
def resnetkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Output]:
    """Run a command beside the folder `pets`; returns exit code, stdout and stderr."""
    for name, level in (("cat", 40), ("dog", 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((12, 12, 3), level + number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("RESNETKIT_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def run(*arguments: str) -> Output:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


def test_the_surface_is_the_one_that_was_agreed_on(resnetkit: Command) -> None:
    pages = []
    for verb in ("", *cli.list_commands(click.Context(cli))):
        command = [verb] if verb else []
        code, out, err = resnetkit(*command, "--help")
        assert (code, err) == (0, "")
        pages.append(f"$ {' '.join(['resnetkit', *command, '--help'])}\n{out}")
    check_golden(Path(__file__).with_name("surface.txt"), "\n".join(pages))


MISTAKES = {
    "unknown command": ("trian pets", 2, "'trian'; did you mean 'train'?"),
    "unknown option": ("train pets --epoch 3", 2, "--epochs"),
    "option of another verb": ("evaluate pets --model resnet18 --epochs 3", 2, "--epochs"),
    "missing argument": ("train", 2, "DATA"),
    "missing option": ("evaluate pets", 2, "--model"),
    "missing data": ("train petz", 2, "petz: no such file or folder; did you mean 'pets'?"),
    "missing picture": ("predict pets/cat/9.png --model resnet18", 2, "pets/cat/9.png: no such file"),
    "missing run": ("resume firts", 2, "no run 'firts'"),
    "unknown model to predict": ("predict pets --model resnet81", 2, "'resnet81'; did you mean 'resnet80'?"),
    "unknown model to train": ("train pets --model resnt18", 2, "'resnt18'; did you mean 'resnet18'?"),
    "unknown weights": ("predict pets --model resnet18.imagenet1k_v3", 2, "did you mean 'resnet18.imagenet1k_v1'?"),
    "unknown model to describe": ("models resnt18", 2, "did you mean 'resnet18'?"),
    "unknown recipe": ("train pets --recipe finetun", 2, "did you mean 'finetune'?"),
    "unknown recipe to show": ("recipes scrach", 2, "did you mean 'scratch'?"),
    "unknown setting": ("train pets --set optim.lrr=0.1", 2, "optim.lrr=0.1: unknown key; did you mean 'optim.lr'?"),
    "setting of the wrong type": ("train pets --set optim.lr=fast", 2, "'fast' is not a number"),
    "setting with a typing error": ("train pets --set optim.name=sgdd", 2, "did you mean 'sgd'?"),
    "setting out of range": ("train pets --set optim.lr=-1", 2, "optim.lr must be a number of at least 0"),
    "setting without its room": ("train pets --set lr=0.1", 2, "did you mean 'optim.lr'?"),
    "setting without a value": ("train pets --set epochs", 2, "KEY=VALUE"),
    "count out of range": ("train pets --epochs 0", 2, "--epochs must be at least 1"),
    "unknown choice": ("train pets --stem cifer", 2, "'auto', 'imagenet', 'cifar'"),
    "objects where none are marked": ("train pets --task detection", 2, "nothing is marked on the"),
    "a detector where none are marked": ("train pets --model fasterrcnn_resnet18_fpn", 2, "or use --model resnet18"),
    "what --task was called before": ("check pets --labels several", 2, "--labels several is --task multilabel now"),
    "rename without a new name": ("train pets --rename cat", 2, "OLD=NEW"),
    "a broken pattern": ("train pets --group-by (", 2, "no regular expression"),
    "two places": ("train pets --name a --output b", 2, "--name and --output contradict"),
    "a path for a name": ("train pets --name a/b", 2, "--output DIR"),
    "fine-tuning from nothing": ("train pets --recipe finetune --weights none", 2, "--recipe scratch"),
    "a suffix that is no format": ("predict pets --model resnet18 --output x.jsn", 2, "did you mean '.json'?"),
    "a folder that is no run": ("resume pets", 3, "no state/ in it"),
    "a picture for a model": ("predict pets --model pets/cat/0.png", 3, "pets/cat/0.png"),
    "no class folders": ("train pets/cat --model resnet8", 3, "class folder"),
    "weights out of reach to predict": ("predict pets --model resnet18", 7, "resnetkit download resnet18"),
    "weights out of reach to train": ("train pets --weights resnet18.imagenet1k_v1", 7, "--weights FILE"),
    "weights out of reach to download": ("download resnet18", 7, "f37072fd"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_with_its_exit_code(resnetkit: Command, mistake: str) -> None:
    command, expected, text = MISTAKES[mistake]
    code, out, err = resnetkit(*command.split())
    told = err.splitlines()[-1]
    assert code == expected
    assert told.startswith("resnetkit: ")
    assert text in told
    assert out == ""
    assert "Traceback" not in err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RuntimeError("wheels fell off"), 1, "a bug of ours: RuntimeError: wheels fell off.*--debug"),
        (MemoryError(), 5, "out of memory.*--batch-size"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 5, "runs/x: No space left"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "interrupted"),
    ],
)
def test_what_nobody_foresaw_is_told_in_one_line_too(
    resnetkit: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fails(_folder: str) -> list[api.Run]:
        raise error

    monkeypatch.setattr(api, "runs", fails)
    left, out, err = resnetkit("runs")
    assert (left, out) == (code, "")
    assert len(err.strip().splitlines()) == 1  # click ends the line that ^C stands on
    assert re.search(text, err)
    left, _, err = resnetkit("runs", "--debug")
    assert left == code
    assert err.strip().startswith("Traceback")
    assert re.search(text, err.splitlines()[-1])


def test_a_file_system_that_takes_no_files_is_no_bug(
    resnetkit: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = OSError(errno.ENOENT, "No such file or directory", str(tmp_path / "odd/x/rows"))

    def refuses(*_: object, **__: object) -> None:
        raise odd

    monkeypatch.setattr(api, "runs", refuses)
    assert resnetkit("runs")[0] == 1, "where files can be made, it is a bug of ours"
    (tmp_path / "odd").mkdir()
    monkeypatch.setattr("resnetkit.files.tempfile.mkstemp", refuses)
    left, _, err = resnetkit("runs")
    assert (left, len(err.splitlines())) == (2, 1)
    assert f"{tmp_path}/odd takes no files (No such file or directory); name another place" in err
    with pytest.raises(UsageError, match=r"--output .*odd cannot be written to \(No such file or directory\); name"):
        check_new(tmp_path / "odd/rows.csv", "--output")
    left, _, err = resnetkit("train", f"{tmp_path}/pictures", "--output", f"{tmp_path}/odd/run")
    assert left == 2
    assert "odd cannot be written to" in err, "a run is refused before any picture is read"
    for option, value in (("--output", "odd/rows/"), ("--sort-into", "odd"), ("--crops", "odd/crops")):
        left, _, err = resnetkit("predict", __file__, option, f"{tmp_path}/{value}")
        assert (left, f"{option} {tmp_path}/{value.rstrip('/')}: {tmp_path}/odd cannot be written to" in err) == (
            2,
            True,
        )
    odd.errno = errno.ENOSPC
    check_new(tmp_path / "odd/rows.csv", "--output")


def test_a_run_below_a_link_to_nowhere_or_a_file_is_refused(resnetkit: Command, tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place, why in (
        ("loop/x", "cannot be written to"),
        ("dangling/y", "cannot be written to"),
        ("dangling", "is no folder"),
        ("file", "is no folder"),
    ):
        left, _, err = resnetkit("train", "pictures", "--output", f"{tmp_path}/{place}")
        assert (left, why in err) == (2, True), err


def test_a_call_without_a_verb_shows_the_verbs(resnetkit: Command) -> None:
    code, out, err = resnetkit()
    assert code == 2
    assert "train" in out + err


def test_the_version_is_the_package_s(resnetkit: Command) -> None:
    from importlib.metadata import version

    assert resnetkit("--version") == (0, f"resnetkit {version('resnetkit')}\n", "")
