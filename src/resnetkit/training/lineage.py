"""What the weights of a run see and descend from: put together when it begins, kept beside its state."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resnetkit.data.splits import read_split
from resnetkit.errors import DataError
from resnetkit.models.seen import BY_BYTES, LEFT_OUT, OLDER, Seen, packed, seen_in_training
from resnetkit.training.run import RunFolder, read_contents, reading

if TYPE_CHECKING:
    from resnetkit.data.prepared import Prepared


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What a run's weights have `seen`, and the keys of what it holds out.

    `held_out` may choose and calibrate them, `scored` is the test part that was drawn from them. `before`: what the
    weights that folds begin with had seen, None for random ones and where there are no folds. `license`: that of the
    weights they began from.
    """

    seen: Seen
    held_out: str = ""
    scored: str = ""
    before: Seen | None = None
    license: str | None = None

    def of_model(self, *, selected: bool) -> Seen:
        """Return what the model has seen whose epoch was `selected` by what is held out, or not."""
        seen = replace(self.seen, scored=self.scored)
        return seen.and_chosen(self.held_out) if selected else seen

    def to_text(self) -> str:
        """Return the JSON that `lineage_of` reads."""
        said: dict[str, Any] = {"trained_on": self.seen.to_json(), "held_out": self.held_out, "scored": self.scored}
        if self.before is not None:
            said["before"] = self.before.to_json()
        said |= {"license": self.license} if self.license else {}
        return json.dumps(said) + "\n"


def lineage(prepared: Prepared, *, before: Seen | None, license: str | None = None) -> Lineage:
    """Return that of a run on these pictures, whose weights begin as those that had seen `before`, or at random.

    `license`: that of the weights it begins from.
    """
    train, held_out, folds = prepared.parts["train"], prepared.parts.get("val"), prepared.folds
    in_turn = () if folds is None else [c for c, fold in zip(train.contents, folds.numbers, strict=True) if fold]
    scored = prepared.parts["test"] if prepared.report.halved else None  # one that was given is known by its place
    return Lineage(
        seen=seen_in_training(
            train.contents, groups=[item.group for item in train.items], before=before, dicom=prepared.dicom
        ),
        held_out=packed(held_out.contents if held_out else in_turn),
        scored=packed(scored.contents) if scored else "", before=None if folds is None else before, license=license,
    )  # fmt: skip


def lineage_of(folder: RunFolder) -> Lineage:
    """Return that of a run by its folder; an older version kept none, but which files it trained on.

    Raises `DataError` where it is damaged.
    """
    try:
        values = json.loads(folder.lineage.read_text(encoding="ascii"))
        seen, held_out = Seen.from_json(values["trained_on"]), str(values["held_out"])
        license = values.get("license")
        if seen.why == LEFT_OUT and not seen.pictures:
            return replace(lineage_by_files(folder), license=license)
        before = Seen.from_json(values["before"]) if "before" in values else None
        return Lineage(
            seen=seen, held_out=held_out, scored=str(values.get("scored", "")), before=before, license=license
        )
    except FileNotFoundError:
        return lineage_by_files(folder)
    except DataError:
        raise
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise DataError(f"{folder.lineage}: cannot be read ({error}); copy the run again") from error


def lineage_by_files(folder: RunFolder) -> Lineage:
    """Return what split.csv and the list of contents tell: own pictures alone, by the bytes of their files."""
    parts, groups = read_split(folder.split), _groups(folder)
    digests: Mapping[str, list[str]] = {"train": [], "val": []}
    for digest, source in read_contents(folder):
        digests.get(parts.get(source, ""), []).append(digest)
    trained = [group for source, group in groups.items() if parts.get(source) == "train"]
    keys = {part: packed((digest,) for digest in of_part) for part, of_part in digests.items()}
    recipe = folder.path / "recipe.toml"
    with reading(recipe):
        page = tomllib.loads(recipe.read_text(encoding="utf-8"))
    seen = replace(
        seen_in_training([(digest,) for digest in digests["train"]], groups=trained), known=False,
        why=BY_BYTES if page["weights"] == "none" else OLDER,
    )  # fmt: skip
    return Lineage(seen=seen, held_out=keys["val"])


def _groups(folder: RunFolder) -> dict[str, str | None]:
    with reading(folder.split), open(folder.split, encoding="utf-8", newline="") as file:
        return {row["source"]: row.get("group") or None for row in csv.DictReader(file)}
