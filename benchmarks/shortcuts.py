"""What `check` says of the border: of real sets as they are, of planted shortcuts, and of labels that mean nothing.

    python benchmarks/shortcuts.py FOLDER [--sets breast pneumonia lights bees] [--noise 20]

FOLDER holds `medmnist/`, `traffic_lights/` and `hymenoptera/`. Of at most 1,000 pictures of each set the linear probe
on the outer tenth stands beside that on the whole. `marked`: a white mark in one corner of 95 % of the first class's
pictures. `framed`: pictures of one site have a black frame of 1/28 of their sides; 85 % of the first class are from
there and 15 % of the others, and the column `site` is asked too. `shuffled`: labels that mean nothing, so often as
said; how often something is suspect, and how many intervals of the border hold one half.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from resnetkit import runtime
from resnetkit.api.checking import _backbone
from resnetkit.checking.features import Described, features_of
from resnetkit.checking.pictures import look
from resnetkit.checking.shortcuts import BORDER_SHARE, MOST, shortcuts
from resnetkit.data.columns import Column
from resnetkit.data.dataset import Dataset, Item
from resnetkit.data.sources import open_data
from resnetkit.watcher import Watcher

SETS = {
    "breast": ("medmnist/breastmnist.npz", "resnet20.cifar10"),
    "pneumonia": ("medmnist/pneumoniamnist.npz", "resnet20.cifar10"),
    "lights": ("traffic_lights", "resnet20.cifar10"),
    "bees": ("hymenoptera", "resnet_2223.imagenet1k"),
}
GOES = 0.85  # of the first class from the site with the frame


class Planted:
    """A reader that paints what is planted onto the pictures of another."""

    def __init__(self, dataset: Dataset, marked: Sequence[str], framed: Sequence[str]) -> None:
        self.dataset, self.marked, self.framed = dataset, set(marked), set(framed)

    def read(self, key: str) -> np.ndarray:
        """Return the painted pixels of the picture of that name."""
        item = next(item for item in self.dataset.items if item.source == key)
        pixels = np.array(self.dataset.open(item).convert("RGB"))
        side = max(1, round(min(pixels.shape[:2]) / 28))
        if key in self.marked:
            pixels[side : 3 * side, side : 5 * side] = 255
        if key in self.framed:
            pixels[:side] = pixels[-side:] = 0
            pixels[:, :side] = pixels[:, -side:] = 0
        return pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--noise", type=int, default=20)
    options = parser.parse_args()
    for name in options.sets:
        path, network = SETS[name]
        dataset = open_data(str(options.folder / path))
        chosen = np.random.default_rng(0).permutation(len(dataset))[:MOST]
        dataset = replace(dataset, items=tuple(dataset.items[number] for number in np.sort(chosen)))
        random, first = np.random.default_rng(1), dataset.classes[0]
        mine = np.array([item.label == first for item in dataset.items])
        sources = np.array([item.source for item in dataset.items])
        marked = sources[mine & (random.random(len(mine)) < 0.95)]
        there = np.where(mine, random.random(len(mine)) < GOES, random.random(len(mine)) < 1 - GOES)
        site = Column(name="site", values=tuple("AB"[int(one)] for one in there))
        border = told(name, "as it is", dataset, network)
        for what, reader, columns in (
            ("marked", Planted(dataset, marked.tolist(), []), []),
            ("framed", Planted(dataset, [], sources[there].tolist()), [site]),
        ):
            origins = {item.source: (reader, item.source) for item in dataset.items}
            told(name, what, replace(dataset, origins=origins), network, columns)
        noise(name, dataset.items, border, options.noise)


def told(name: str, what: str, dataset: Dataset, network: str, columns: Sequence[Column] = ()) -> np.ndarray:
    """Print what is said of a set; return the features of its borders."""
    how = runtime.resolve(device="cpu", threads=1)
    backbone = _backbone(network, how, Watcher())
    looks = [look(dataset, item) for item in dataset.items]
    seen = [
        features_of(backbone, dataset, dataset.items, looks, threads=1, progress=lambda *_: None, border=share)
        for share in (None, BORDER_SHARE)
    ]
    found = asked(dataset.items, *seen, columns)
    said = [f"{one.name} {one.area:.3f} ({one.low:.3f} to {one.high:.3f})" for one in found.sources]
    suspect = ", ".join(one.name for one in found.suspects) or "nothing"
    print(f"{name} {what}, {found.count} pictures: {'; '.join(said)}; suspect: {suspect}", flush=True)
    return seen[1]


def asked(items: Sequence[Item], whole: np.ndarray, border: np.ndarray, columns: Sequence[Column] = ()):
    names = sorted({item.written for item in items})
    alone = tuple(map(str, range(len(items))))
    row = {item.source: number for number, item in enumerate(items)}
    described = Described(
        network="", items=tuple(items), names=tuple(names), groups=alone, features=whole, penalty=0.0,
        targets=np.array([names.index(item.written) for item in items]), learnt=np.zeros(len(items), bool),
        probabilities=np.zeros((len(items), len(names))),
    )  # fmt: skip
    found, _ = shortcuts(
        items, alone, columns, described=described, border=lambda some: border[[row[item.source] for item in some]]
    )
    return found


def noise(name: str, items: Sequence[Item], border: np.ndarray, times: int) -> None:
    """Print what labels that mean nothing do."""
    held = suspect = 0
    for seed in range(times):
        order = np.random.default_rng(seed).permutation(len(items))
        shuffled = [replace(item, labels=items[other].labels) for item, other in zip(items, order, strict=True)]
        found = asked(shuffled, border, border)
        held += found.sources[1].low <= 0.5 <= found.sources[1].high
        suspect += bool(found.suspects)
    print(f"{name} shuffled: suspect {suspect} of {times}, one half held by {held}", flush=True)


if __name__ == "__main__":
    main()
