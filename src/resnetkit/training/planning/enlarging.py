"""How pictures are shown to weights that have seen photos, and whether more than a head is trained; needs no torch.

Measured by cross-validation on training parts alone (LOG.md). Distances (`nearness.distance`): ants and bees 0.011,
CIFAR-10 0.038, traffic signs 0.056, traffic lights 0.11, blood cells, X-rays and ultrasound 0.19. On a few hundred
pictures of the first two kinds no training of further layers was right more often than a head alone on large pictures
(ants and bees: 96.7 % against 95.9 at best); the others gained by training all layers (signs: 53 to 87 %).
"""

from __future__ import annotations

# At least so many pixels are needed of a picture before the trunk is of use to it.
LEAST_SIDE = 64
FULL_SIDE = 224
_SMALL = 95
_STEP = 32
# Training pictures up to, side that the network sees of small ones: the first row that holds counts.
_TABLE = ((2_000, 96), (10_000, 64))
_NEAR = 0.047
_FEW = 2_000


def is_near(distance: float | None, *, num_pictures: int) -> bool:
    """Tell whether pictures are so few, and so like those of the weights, that a head alone is trained.

    `distance`: `nearness.distance`, None where nothing was measured; `num_pictures`: those of the training part.

    >>> is_near(0.011, num_pictures=244), is_near(0.19, num_pictures=244), is_near(0.011, num_pictures=50_000)
    (True, False, False)
    """
    return distance is not None and distance < _NEAR and num_pictures <= _FEW


def side_for(*, median_side: int, num_pictures: int, near: bool = False) -> int | None:
    """Return the side in pixels at which the ImageNet trunk sees pictures, or None to do without it.

    `median_side`: median shorter side of the pictures, in pixels; `num_pictures`: those of the training part. Those
    between 96 and 224 pixels are not enlarged, unless they are `near` (`is_near`).

    >>> [side_for(median_side=side, num_pictures=900) for side in (40, 132, 285)]
    [96, 128, 224]
    >>> side_for(median_side=32, num_pictures=50_000), side_for(median_side=32, num_pictures=500, near=True)
    (None, 224)
    """
    if near:
        return FULL_SIDE
    if median_side > _SMALL:
        return min(FULL_SIDE, median_side // _STEP * _STEP)
    return next((side for most, side in _TABLE if num_pictures <= most), None)


def side_for_trunk(*, median_side: int) -> int:
    """Return that side where the trunk is wanted however many pictures there are, in pixels."""
    return side_for(median_side=median_side, num_pictures=_TABLE[-1][0]) or LEAST_SIDE
