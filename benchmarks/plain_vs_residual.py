"""Figure 6 of the paper in small: plain and residual networks of two depths on the same data, by the same recipe.

    python benchmarks/plain_vs_residual.py --runs runs/plain20 runs/resnet20 runs/plain56 runs/resnet56 \\
        --output figure.png
    python benchmarks/plain_vs_residual.py --data cifar10 --recipe cifar10 --epochs 16 --set val_share=0.1 \\
        --into runs/why --output figure.png

The first line draws finished runs, several of one network (seeds) too; the second trains what is not in the folder of
--into yet. Prints training and held-out error of the last epoch and the test error of the best: mean, spread, n.
"""

import argparse
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.ticker import MaxNLocator

import resnetkit as rk
from resnetkit.errors import UsageError
from resnetkit.models.spec import ResNetSpec
from resnetkit.report.drawing.canvas import FAINT, RIGHT, WRONG, sheet
from resnetkit.training.run import open_run


@dataclass(frozen=True, kw_only=True)
class Curves:
    """One run: its network, the errors of each epoch in percent, and that of the test part where it was scored."""

    plain: bool
    depth: int
    train: tuple[float, ...]
    held_out: tuple[float, ...]
    test: float | None

    @property
    def name(self) -> str:
        """plain-20, ResNet-56."""
        return f"{'plain' if self.plain else 'ResNet'}-{self.depth}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, help="finished runs")
    parser.add_argument("--data", help="train on these instead, or go on with what is in --into")
    parser.add_argument("--recipe", default="cifar10")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument(
        "--into", type=Path, default=Path("runs/plain_vs_residual"), help="folder of the runs it trains"
    )
    parser.add_argument("--output", type=Path, required=True, help="the figure, a PNG")
    options = parser.parse_args()
    if (options.runs is None) == (options.data is None):
        parser.error("give either --runs or --data")
    runs = options.runs or trained(options)
    curves = sorted((read(run) for run in runs), key=lambda one: (not one.plain, one.depth))
    print_table(curves)
    draw(curves, options.output)


def trained(options: argparse.Namespace) -> list[Path]:
    """Train each network with each seed, where that is not done, and return the run folders."""
    paths = []
    for seed in range(options.seeds):
        for model in (f"{kind}{depth}" for depth in options.depths for kind in ("plain", "resnet")):
            path = options.into / f"{model}-{seed}"
            paths.append(path)
            if (path / "state").is_dir():
                rk.resume(path)
            else:
                rk.train(
                    options.data, model=model, weights="none", recipe=options.recipe, epochs=options.epochs, seed=seed,
                    settings=("select=top1", *options.settings), threads=options.threads, output=path,
                )  # fmt: skip
            print(f"{path}: done", flush=True)
    return paths


def read(path: Path) -> Curves:
    """Read a finished run; raises `UsageError` for a folder that is none, or one without held-out pictures."""
    run = rk.Run(open_run(str(path), root=Path("runs")))
    spec = ResNetSpec.from_json(tomllib.loads((run.path / "recipe.toml").read_text(encoding="utf-8"))["spec"])
    if not run.history or any(row["val_top1"] == "" for row in run.history):
        raise UsageError(f"{path}: has no epoch with held-out pictures")
    tested = run.metrics if run.metrics is not None and run.metrics["split"] == "test" else None
    return Curves(
        plain=spec.shortcut == "none",
        depth=spec.num_layers,
        train=tuple(100 * (1 - float(row["train_top1"])) for row in run.history),
        held_out=tuple(100 * (1 - float(row["val_top1"])) for row in run.history),
        test=None if tested is None else 100 * (1 - tested["top1"]),
    )


def by_name(curves: Sequence[Curves]) -> Mapping[str, list[Curves]]:
    """Return the runs of each network."""
    groups: dict[str, list[Curves]] = {}
    for one in curves:
        groups.setdefault(one.name, []).append(one)
    return groups


def print_table(curves: Sequence[Curves]) -> None:
    """Print errors after the last epoch; the test part was scored with the best epoch by held-out accuracy."""
    print(f"{'error, %':<12} {'n':>2} {'epochs':>6}  {'training':<20} {'held out':<20} test, best epoch")
    for name, group in by_name(curves).items():
        tests = [one.test for one in group if one.test is not None]
        cells = (_spread([one.train[-1] for one in group]), _spread([one.held_out[-1] for one in group]))
        epochs = "/".join(map(str, sorted({len(one.train) for one in group})))
        print(f"{name:<12} {len(group):>2} {epochs:>6}  {cells[0]:<20} {cells[1]:<20} {_spread(tests)}")


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "not scored"
    deviation = f" (sd {statistics.stdev(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def draw(curves: Sequence[Curves], path: Path) -> None:
    """Draw plain networks on the left, residual ones on the right; several runs of one network as several lines."""
    highest = min(100.0, 1.05 * max(max(one.train + one.held_out) for one in curves))
    deepest = max(one.depth for one in curves)
    with sheet(path, texts=()) as drawn:
        drawn.resize(900, 460)
        drawn.header("Plain and residual networks by the same recipe", "error, %; dashed: training, solid: held out")
        for left, plain, words in ((70, True, "plain"), (520, False, "with shortcuts")):
            drawn.text(left, 96, words, size=14, color=FAINT)
            axes = drawn.axes(left, 112, 350, 270)
            for one in (one for one in curves if one.plain == plain):
                color = WRONG if one.depth == deepest else RIGHT
                epochs = range(1, len(one.train) + 1)
                axes.plot(epochs, one.train, "--", color=color, linewidth=1.4)
                axes.plot(epochs, one.held_out, "-", color=color, linewidth=2.2, label=one.name)
            axes.set(ylim=(0, highest), xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(axis="y")
            handles = {line.get_label(): line for line in axes.lines if not str(line.get_label()).startswith("_")}
            if handles:
                axes.legend(list(handles.values()), [str(name) for name in handles], loc="upper right")


if __name__ == "__main__":
    main()
