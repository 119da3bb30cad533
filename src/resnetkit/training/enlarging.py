"""Which small pictures are enlarged for weights that have seen photos; needs no torch."""

from __future__ import annotations

# At least so many pixels are needed of a picture before the trunk is of use to it.
LEAST_SIDE = 64
# Median short side up to, training pictures up to, side that the network sees: the first row that holds counts.
_TABLE = ((95, 10_000, 96),)


def enlarged_side(*, median_side: int, num_pictures: int) -> int | None:
    """Return the side to enlarge small pictures to for the ImageNet trunk, in pixels, or None to do without it.

    `median_side`: median shorter side of the pictures, in pixels; `num_pictures`: those of the training part.

    >>> enlarged_side(median_side=40, num_pictures=1_200), enlarged_side(median_side=32, num_pictures=50_000)
    (96, None)
    """
    for most_pixels, most_pictures, side in _TABLE:
        if median_side <= most_pixels and num_pictures <= most_pictures:
            return side
    return None


def side_for_trunk(*, median_side: int) -> int:
    """Return the side to enlarge small pictures to where the trunk is wanted however many they are, in pixels."""
    return next((side for most_pixels, _, side in _TABLE if median_side <= most_pixels), _TABLE[-1][2])
