"""What is said of paths that are no DATA, and of files that cannot be opened."""

from __future__ import annotations

import os

from resnetkit.data.opening.video import is_video
from resnetkit.data.sources import arrays, clips, folders
from resnetkit.errors import DataError, UsageError, near_miss
from resnetkit.files import hidden


def missing(source: str) -> UsageError:
    """Return the error for a path that is not there, with the nearest that is."""
    if (error := hidden(source)) is not None:
        return error
    folder = os.path.dirname(source)
    try:
        siblings = [os.path.join(folder, name) for name in os.listdir(folder or ".")]
    except OSError:
        siblings = []
    if os.path.islink(source):
        return UsageError(
            f"{source}: no such file or folder; it is a link to {os.readlink(source)}, which is not there"
        )
    return UsageError(f"{source}: no such file or folder{near_miss(source, [*siblings, *arrays.NAMED])}")


def several_folders(sources: list[str]) -> list[str]:
    """Check that several DATA are folders of one class each."""
    for source in sources:
        if not os.path.exists(source):
            raise missing(source)
        if not os.path.isdir(source):
            if is_video(source):
                raise UsageError(clips.nobody_says(source))
            raise UsageError(f"{source}: is no folder; several DATA are folders with the pictures of one class each")
    names = [os.path.basename(os.path.realpath(source)).casefold() for source in sources]
    if all(name in folders.SPLIT_FOLDERS for name in names):
        parent = os.path.dirname(sources[0].rstrip("/")) or "."
        raise UsageError(f"{' '.join(sources)}: are parts of one data set; name the folder around them: {parent}")
    return sources


class Refused:
    """Stands for a file that cannot be opened: reading it raises why, and the files beside it go on."""

    def __init__(self, error: DataError) -> None:
        self._error = error

    def read(self, key: str) -> bytes:
        """Raise the reason."""
        raise self._error
