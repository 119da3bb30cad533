"""Which networks lie in a file of another program, by the names in it, and which of them is meant. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from resnetkit.errors import UsageError, near_miss

Shape = tuple[int, ...]

# Names that say nothing about which network it is: dicts around it, and what other tools put before its names.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_GENERIC = frozenset({*WRAPPERS, "module", "_orig_mod"})
# Trained by gradients, beside the moving average of it that served the training alone (MoCo, versions 1 to 3).
_TRAINED = {"encoder_q": "encoder_k", "base_encoder": "momentum_encoder"}
# A network has two such tensors: as torchvision names them, and as children of an `nn.Sequential` made of its network.
_NAMED = ("conv1.weight", "layer1.0.conv1.weight")
_NUMBERED = ("0.weight", "4.0.conv1.weight")
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
# More names than these are counted.
_MOST_NAMES = 6


def prefixes_in(names: Collection[str]) -> tuple[str, ...]:
    """Return what stands before the names of each network, in the order of `names`: "" or what ends in a dot.

    >>> prefixes_in(["backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "head.weight"])
    ('backbone.',)
    """
    known = set(names)
    found = []
    for name in names:
        for stem, first in (_NAMED, _NUMBERED):
            start = name.removesuffix(first)
            if name.endswith(first) and start + stem in known and (not start or start.endswith(".")):
                found.append(start)
    return tuple(dict.fromkeys(found))


def plain_names(names: Collection[str], prefix: str) -> dict[str, str]:
    """Return the names below `prefix` and what torchvision calls each: `linear.` is `fc.`, numbers are its children."""
    inner = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    if _NAMED[1] not in inner.values():
        inner = {name: _child(plain) for name, plain in inner.items()}
    if "fc.weight" not in inner.values():
        inner = {
            name: f"fc.{plain.removeprefix('linear.')}" if plain.startswith("linear.") else plain
            for name, plain in inner.items()
        }
    return inner


def _child(name: str) -> str:
    number, dot, rest = name.partition(".")
    return f"{_CHILDREN.get(number, number)}{dot}{rest}"


def called(name: str) -> str:
    """Return a name in a file without what says nothing at its beginning, "" where nothing else is in it.

    >>> called("state_dict.module.encoder_q.")
    'encoder_q'
    """
    components = name.rstrip(".").split(".")
    while components and components[0] in _GENERIC:
        components.pop(0)
    return ".".join(components)


def part_names(prefixes: Sequence[str]) -> dict[str, str]:
    """Return what each network of a file is called: shortly where that is unlike the others, else in full."""
    short = [called(prefix) for prefix in prefixes]
    return {
        prefix: name if name and short.count(name) == 1 else prefix.rstrip(".")
        for prefix, name in zip(prefixes, short, strict=True)
    }


def meant(prefixes: Sequence[str], *, part: str | None, file: str) -> str:
    """Return the prefix of the network that is meant: the one called `part`, else the one that cannot be mistaken.

    Of several that is the one without a name of its own, or the trained one of MoCo's pair. Raises `UsageError` with
    the names there are where it is none of these, and for a `part` that is not there.
    """
    names = part_names(prefixes)
    if part is not None:
        found = [prefix for prefix in prefixes if f".{prefix}".endswith(f".{part}.") or names[prefix] == part]
        if len(found) != 1:
            there = [name for name in names.values() if name]
            listed = f": it holds {_listed(there)}" if there else ": it holds one network, which has no name of its own"
            raise UsageError(f"{file}: no network in it is called {part!r}{near_miss(part, there) or listed}")
        return found[0]
    plain = [prefix for prefix in prefixes if not called(prefix)]
    if plain or len(prefixes) == 1:
        return min(plain or prefixes, key=_place_of_wrapper)
    for trained, average in _TRAINED.items():
        of_each = [[prefix for prefix in prefixes if name in prefix.split(".")] for name in (trained, average)]
        if [len(each) for each in of_each] == [1, 1] and len(prefixes) == 2:
            return of_each[0][0]
    listed = _listed(list(names.values()))
    raise UsageError(f"{file}: holds {len(prefixes)} networks, {listed}: say which, as {file}::{names[prefixes[0]]}")


def _place_of_wrapper(prefix: str) -> int:
    first = prefix.partition(".")[0]
    return WRAPPERS.index(first) if first in WRAPPERS else len(WRAPPERS) if first else -1


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def words_of(beside: Mapping[str, Shape], others: Mapping[str, int]) -> str:
    """Say what of a file is not the trunk that was taken: tensors with their shapes, and whole networks; "" for none.

    >>> words_of({"fc.1.weight": (3, 512), "fc.1.bias": (3,)}, {"encoder_k": 120})
    'fc.1.weight 3x512, fc.1.bias 3 (a head of 3); encoder_k, another network of 120 tensors (FILE::encoder_k is that)'
    """
    named = [f"{name} {'x'.join(map(str, shape)) or 'one number'}" for name, shape in beside.items()]
    heads = [shape[0] for name, shape in beside.items() if len(shape) == 2 and name.endswith("weight")]
    last = list(beside.values())[-1:] if heads else []
    if len(named) > _MOST_NAMES:
        named = [*named[:_MOST_NAMES], f"and {len(named) - _MOST_NAMES} more"]
    elif last and len(last[0]) in (1, 2) and last[0][0] == heads[-1]:
        named[-1] += f" (a head of {heads[-1]})"
    networks = [
        f"{name}, another network of {count} tensors (FILE::{name} is that)" if name else f"another of {count} tensors"
        for name, count in others.items()
    ]
    return "; ".join([*([", ".join(named)] if named else []), *networks])
