"""`resnetkit demo`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from resnetkit.cli import options
from resnetkit.cli.progress import watching
from resnetkit.words import duration

_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@click.command()
@click.option("--output", default="demo", metavar="DIR", show_default=True, help="Folder for pictures and runs.")
@options.computing
def demo(output: str, device: str, threads: int | None, quiet: bool) -> None:
    """Train a ResNet on handwritten digits, score it and name single pictures; offline, in about a minute.

    The bundled CIFAR-10 network is fine-tuned to them.
    """
    from resnetkit import api
    from resnetkit.inference import output as outputs
    from resnetkit.training.run import free_path

    started = time.monotonic()
    place = Path(output)
    data = place / "digits"
    # So small a network needs no second core, and two threads on a busy computer can be ten times slower than one.
    threads = threads or 1
    with watching(quiet=quiet) as console:
        console.note(f"1. writing 1,797 handwritten digits as pictures in class folders: {data}/")
        pictures = write_digits(data)
        path = free_path(place / "runs", "digits-resnet20")
        console.note(f"2. resnetkit train {data} --model resnet20 --epochs 5 --set augment.flip=none --output {path}")
        run = api.train(
            data, model="resnet20", epochs=5, settings=("augment.flip=none",), output=path, device=device,
            threads=threads, watcher=console, command="resnetkit demo",
        )  # fmt: skip
        assert run.metrics is not None
        click.echo(api.headline(run.metrics))
        console.note(f"3. resnetkit predict {' '.join(map(str, pictures[:2]))} ... --model {path}")
        with outputs.to_stream(sys.stdout, format="table", top_k=3) as write:
            for prediction in run.model.predict_many([str(picture) for picture in pictures], top_k=3):
                write(prediction)
    click.echo(f"\nDone in {duration(time.monotonic() - started)}. Pictures to look at:")
    for name in sorted(picture.name for picture in path.glob("*.png")):
        click.echo(f"  {path / name}")
    click.echo(f"All of it on one page:\n  {path / 'report.html'}")
    click.echo("Next, with your own pictures in a folder per class:")
    click.echo("  resnetkit train my_pictures/")


def write_digits(folder: Path) -> list[Path]:
    """Write scikit-learn's digits as `folder/{train,test}/<name>/*.png`, every fifth to test; return ten of test.

    What is there already stays as it is.
    """
    from resnetkit.data.opening.images import to_look_at
    from resnetkit.data.sources import open_data

    shown: dict[str, Path] = {}
    digits = open_data("digits")
    for number, item in enumerate(digits.items):
        part = "test" if number % 5 == 4 else "train"
        path = folder / part / _NAMES[int(str(item.label))] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            to_look_at(digits.open(item)).save(path)
        if part == "test":
            shown.setdefault(path.parent.name, path)
    return [shown[name] for name in _NAMES]
