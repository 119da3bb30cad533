"""What finished seeds gave, kept so that they are not run again; test pictures that another part also holds."""

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resnetkit.data.copies import copies_of
from resnetkit.data.decoded.survey import survey
from resnetkit.data.sources import open_data

Found = dict[str, Any]


def kept(path: Path, key: Sequence[Any], make: Callable[[], Found]) -> Found:
    """Return what a finished run gave, else what `make` gives now, which is kept."""
    wanted = json.dumps(key, sort_keys=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for one in map(json.loads, lines):
        if one["key"] == wanted:
            found: Found = one["found"]
            return found
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"key": wanted, "found": found}) + "\n")
    return found


def print_spread(found: Sequence[Found]) -> None:
    """Print the mean of each number over seeds, with its spread."""
    for name in (name for name, value in found[0].items() if isinstance(value, int | float)):
        values = [one[name] for one in found]
        spread = f" (sd {statistics.stdev(values):.2g})" if len(values) > 1 else ""
        print(f"{name}: {statistics.mean(values):.4g}{spread}, {min(values):.4g} to {max(values):.4g}")


def with_copies(data: Path) -> frozenset[str]:
    """Return the test pictures that also lie, perhaps saved again or nearly the same, in another part."""
    dataset = open_data(str(data))
    surveyed = survey(dataset, threads=1)
    parts = {item.source: item.split for item in dataset.items}
    found = set()
    for one, other in copies_of(dataset, surveyed, parts_alone=True):
        found |= {item.source for item in (one, other) if item.split == "test"}
    by_content: dict[str, set[str | None]] = {}
    for source, part in parts.items():
        by_content.setdefault(surveyed.identities[source], set()).add(part)
    found |= {s for s, part in parts.items() if part == "test" and len(by_content[surveyed.identities[s]]) > 1}
    return frozenset(found)
