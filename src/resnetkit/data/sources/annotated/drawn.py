"""What an annotation file says of pictures, before anyone has looked at these: objects in the file's own frame."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnetkit.data.dataset import Split
from resnetkit.data.marks import Box, Mask
from resnetkit.data.sources.folders import Tree


@dataclass(frozen=True, slots=True)
class Drawn:
    """An object as a file has it: `where` it stands there, its class, its box (None: around its mask).

    Box and mask are in the frame of the annotation: as `marks.Object` has them but not yet upright, or as shares.
    """

    where: str
    label: str
    box: Box | None
    mask: Mask | None = None
    crowd: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """A picture that somebody looked at: its key in the tree, the file that says so and where, and its objects.

    `size` is the (width, height) that the file says it has. `shares`: the numbers of its objects are shares of the
    upright picture's sides. `lost`: it has objects that could not be read.
    """

    key: str
    file: str
    where: str = ""
    drawn: tuple[Drawn, ...] = ()
    size: tuple[int, int] | None = None
    shares: bool = False
    lost: bool = False
    split: Split | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What the files of a set say: its pictures, the classes that it names itself, and the files that were used.

    `boxes_are`: how a box is written there, for those who mend one. `notes`: what a person should know.
    """

    tree: Tree
    noted: list[Noted]
    boxes_are: str
    classes: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
