"""What share of the DICOM files of a data set have text burnt into their pixels, by a sample of them."""

from __future__ import annotations

from resnetkit.data.dataset import Dataset, Item, decoded
from resnetkit.data.opening.burnt_in import BY_TAG, burnt_in
from resnetkit.data.threads import ordered
from resnetkit.errors import ResNetKitError
from resnetkit.words import percent

_MOST = 100  # pictures looked at: each is decoded once more


def text_in_pixels(dataset: Dataset, *, threads: int) -> tuple[str, ...]:
    """Say how many of at most 100 pictures, spread over the data, have text burnt in; nothing without DICOM files."""
    if not dataset.dicom:
        return ()
    items = dataset.items[:: -(-len(dataset) // _MOST)]

    def look(item: Item) -> str | None:
        try:
            data = dataset.read(item)
            return burnt_in(data, decoded(data, name=item.source))
        except ResNetKitError:
            return None  # it is named among those that cannot be read

    why = list(ordered(look, items, threads=threads, progress=None))
    found = [item.source for item, text in zip(items, why, strict=True) if text is not None]
    if not found:
        return ()
    by_tag = sum(text == BY_TAG for text in why)
    return (
        f"{len(found):,} of {len(items):,} images looked at ({percent(len(found) / len(items))}) have text burnt into "
        f"their pixels, {by_tag:,} by their tag, as {found[0]}. It may tell who is pictured, and a network may learn "
        "it; nothing removes it here. resnetkit check names all.",
    )
