"""What the weights of a run see and descend from: put together when it begins, kept beside its state."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resnetkit.data.splits import read_split
from resnetkit.errors import DataError
from resnetkit.models.seen import LEFT_OUT, OLDER, Seen, packed, seen_in_training
from resnetkit.training.run import RunFolder, read_contents

if TYPE_CHECKING:
    from resnetkit.data.preflight import Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What a run's weights have `seen`, and the keys of what it holds out, which may choose and calibrate them."""

    seen: Seen
    held_out: str = ""

    def of_model(self, *, selected: bool) -> Seen:
        """Return what the model has seen whose epoch was `selected` by what is held out, or not."""
        return self.seen.and_chosen(self.held_out) if selected else self.seen

    def to_text(self) -> str:
        """Return the JSON that `lineage_of` reads."""
        return json.dumps({"trained_on": self.seen.to_json(), "held_out": self.held_out}) + "\n"


def lineage(prepared: Prepared, *, before: Seen | None, remember: bool) -> Lineage:
    """Return that of a run on these pictures, whose weights begin as those that had seen `before`, or at random.

    Nothing is listed where the recipe says not to `remember`.
    """
    if not remember:
        return Lineage(seen=Seen(why=LEFT_OUT))
    train, held_out = prepared.parts["train"], prepared.parts.get("val")
    seen = seen_in_training(train.contents, groups=[item.group for item in train.items], before=before)
    return Lineage(seen=seen, held_out=packed(held_out.contents) if held_out else "")


def lineage_of(folder: RunFolder) -> Lineage:
    """Return that of a run by its folder; an older version kept none, but which files it trained on.

    Raises `DataError` where it is damaged.
    """
    try:
        values = json.loads(folder.lineage.read_text(encoding="ascii"))
        return Lineage(seen=Seen.from_json(values["trained_on"]), held_out=str(values["held_out"]))
    except FileNotFoundError:
        return lineage_by_files(folder)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise DataError(f"{folder.lineage}: cannot be read ({error}); copy the run again") from error


def lineage_by_files(folder: RunFolder) -> Lineage:
    """Return what split.csv and the list of contents tell: own pictures alone, by the bytes of their files."""
    parts, groups = read_split(folder.split), _groups(folder)
    digests: Mapping[str, list[str]] = {"train": [], "val": []}
    for digest, source in read_contents(folder):
        digests.get(parts.get(source, ""), []).append(digest)
    trained = [group for source, group in groups.items() if parts.get(source) == "train"]
    seen = seen_in_training([(digest,) for digest in digests["train"]], groups=trained)
    page = tomllib.loads((folder.path / "recipe.toml").read_text(encoding="utf-8"))
    if page["weights"] != "none":
        seen = replace(seen, known=False, why=OLDER)
    return Lineage(seen=seen, held_out=packed((digest,) for digest in digests["val"]))


def _groups(folder: RunFolder) -> dict[str, str | None]:
    with open(folder.split, encoding="utf-8", newline="") as file:
        return {row["source"]: row.get("group") or None for row in csv.DictReader(file)}
