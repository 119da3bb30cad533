"""Random changes of training pictures, on whole batches of uint8 tensors.

Every function takes and returns `[N, H, W, C]` uint8 on one device. What chance decides comes from `Chances`, so a
picture is changed alike in any batch and on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from resnetkit.data.chances import Chances
from resnetkit.data.preprocess import Crop, Preprocess

Pictures = torch.Tensor | Sequence[torch.Tensor]

_ROOM = 8 / 7  # of a frame to what evaluation shows of it: as much as the usual centre crop leaves (256 to 224)


def random_mirror(chances: Chances, *, axis: str = "flip") -> np.ndarray:
    """Return which pictures are to be mirrored, `[N]` bool: each with probability 1/2, for each `axis` another coin."""
    return chances.uniform(axis, 1)[0] < 0.5


def alternating_mirror(chances: Chances) -> np.ndarray:
    """Return `[N]` bool: each picture in every other epoch, from the first or the second on (Jordan 2024, airbench).

    A fair coin decides which. So each pair of epochs shows every picture both ways, where coins in each epoch show half
    of them one way twice.
    """
    return random_mirror(chances.in_epoch(0)) ^ bool(chances.epoch % 2)


def flip(pixels: torch.Tensor, mirrored: np.ndarray, *, upside_down: bool = False) -> torch.Tensor:
    """Mirror the pictures that `mirrored`, `[N]` bool, tells left to right, or top to bottom."""
    where = torch.from_numpy(np.flatnonzero(mirrored)).to(pixels.device, non_blocking=True)
    # A view in which torch sees channels last: it mirrors bytes fast there.
    planes = pixels.index_select(0, where).permute(0, 3, 1, 2)
    return pixels.index_copy(0, where, planes.flip(2 if upside_down else 3).permute(0, 2, 3, 1))


def turn(pixels: torch.Tensor, chances: Chances, *, degrees: float) -> torch.Tensor:
    """Turn each picture around its middle by up to `degrees` either way.

    What enters at the corners is the picture's own mirror image, so that no edge tells that it was turned.
    """
    angles = np.radians(turns(chances, degrees=degrees))
    cos, sin, none = np.cos(angles), np.sin(angles), np.zeros(len(angles))
    of = pixels.shape[2] / pixels.shape[1]  # the grid's sides are 2 long whatever those of the pictures are
    rows = np.array([[cos, sin / of, none], [-sin * of, cos, none]])
    back = torch.from_numpy(rows).permute(2, 0, 1).float().to(pixels.device)
    planes = pixels.permute(0, 3, 1, 2).float()
    where = functional.affine_grid(back, list(planes.shape), align_corners=False)
    turned = functional.grid_sample(planes, where, padding_mode="reflection", align_corners=False)
    return turned.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def turns(chances: Chances, *, degrees: float) -> np.ndarray:
    """Return by how many degrees `turn` turns each picture, clockwise, `[N]`."""
    return degrees * (2 * chances.uniform("turn", 1)[0] - 1)


def colour(pixels: torch.Tensor, chances: Chances, *, by: float) -> torch.Tensor:
    """Change brightness, then contrast, then saturation of each picture, each by a factor of 1 - `by` to 1 + `by`."""
    factors = torch.from_numpy(1 + by * (2 * chances.uniform("colour", 3) - 1)).float().to(pixels.device)
    brightness, contrast, saturation = factors[:, :, None, None, None]
    changed = (pixels.float() * brightness).clamp_(0, 255)
    grey = _grey(changed).mean(dim=(1, 2), keepdim=True)
    changed = torch.lerp(grey.expand_as(changed), changed, contrast).clamp_(0, 255)
    if pixels.shape[3] > 1:
        changed = torch.lerp(_grey(changed).expand_as(changed), changed, saturation).clamp_(0, 255)
    return changed.round_().to(torch.uint8)


def _grey(pixels: torch.Tensor) -> torch.Tensor:
    """Return the brightness of `[N, H, W, C]` floats, `[N, H, W, 1]` (ITU-R 601, as Pillow's mode L)."""
    if pixels.shape[3] != 3:
        return pixels.mean(dim=3, keepdim=True)
    return (pixels @ torch.tensor([0.299, 0.587, 0.114], device=pixels.device))[..., None]


def one_by_one(
    pixels: torch.Tensor, chances: Chances, *, change: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Change each picture, `[C, H, W]` uint8, by a function that draws from torch's global random numbers."""
    seeds = (2.0**53 * chances.uniform("policy", 1)[0]).astype(np.int64).tolist()
    made = []
    with torch.random.fork_rng(devices=[]):
        for seed, picture in zip(seeds, pixels.permute(0, 3, 1, 2), strict=True):
            torch.default_generator.manual_seed(seed)
            made.append(change(picture))
    return torch.stack(made).permute(0, 2, 3, 1).contiguous()


def shift(pixels: torch.Tensor, chances: Chances, *, by: int, fill: torch.Tensor | None) -> torch.Tensor:
    """Move each picture by up to `by` pixels each way (paper, section 4.2).

    What enters is `fill`, `[C]` uint8, or without it the picture's own mirror image at the border (reflection), for
    which `by` must be less than its sides.
    """
    num, height, width, channels = pixels.shape
    padded = _reflected(pixels, by) if fill is None else _framed(pixels, by, fill)
    top, left = torch.from_numpy(by - shifts(chances, by=by))
    rows = torch.arange(num)[:, None] * (height + 2 * by) + top[:, None] + torch.arange(height)
    first = (rows * (width + 2 * by) + left[:, None]) * channels
    # Each row that is wanted is one piece of the padded bytes; gathering by pixels takes three times as long (LOG.md).
    pieces = padded.view(-1).unfold(0, width * channels, 1)
    return pieces.index_select(0, first.view(-1).to(pixels.device, non_blocking=True)).view(pixels.shape)


def shifts(chances: Chances, *, by: int) -> np.ndarray:
    """Return by how many pixels `shift` moves each picture down and to the right, `[2, N]`."""
    return by - chances.integers("shift", 2 * by + 1, 2 * by + 1)


def _framed(pixels: torch.Tensor, by: int, fill: torch.Tensor) -> torch.Tensor:
    num, height, width, _ = pixels.shape
    padded = fill.to(pixels.device).expand(num, height + 2 * by, width + 2 * by, -1).contiguous()
    padded[:, by : by + height, by : by + width] = pixels
    return padded


def _reflected(pixels: torch.Tensor, by: int) -> torch.Tensor:
    for side in (1, 2):
        length = pixels.shape[side]
        before, after = pixels.narrow(side, 1, by), pixels.narrow(side, length - 1 - by, by)
        pixels = torch.cat([before.flip(side), pixels, after.flip(side)], side)
    return pixels


def cutout(pixels: torch.Tensor, chances: Chances, *, side: int, fill: torch.Tensor) -> torch.Tensor:
    """Blank a square of `side` pixels around a random centre of each picture (DeVries and Taylor 2017)."""
    num, height, width, channels = pixels.shape
    centres = torch.from_numpy(chances.integers("cutout", height, width))[..., None]
    rows = _within(torch.arange(height) - centres[0] + side // 2, side).to(pixels.device, non_blocking=True)
    columns = _within(torch.arange(width) - centres[1] + side // 2, side).to(pixels.device, non_blocking=True)
    hidden = rows[:, :, None] & columns.repeat_interleave(channels, 1, output_size=width * channels)[:, None]
    blank = fill.to(pixels.device).repeat(width)
    return torch.where(hidden, blank, pixels.reshape(num, height, -1)).view(pixels.shape)


def _within(offsets: torch.Tensor, side: int) -> torch.Tensor:
    return (offsets >= 0) & (offsets < side)


def random_resized_crop(
    pictures: Pictures, chances: Chances, *, frame: tuple[int, int], scale: float, crop: Crop = "center",
    mirrored: np.ndarray | None = None,
) -> torch.Tensor:  # fmt: skip
    """Cut a random part of each picture, of `scale` to 1 of its area, and resize it to a `frame` (height, width).

    Its aspect is 3/4 to 4/3 of the frame's. Returns `[N, height, width, C]`, on the CPU. The rule is torchvision's
    `RandomResizedCrop` (Szegedy et al. 2014). Where evaluation shows whole pictures (`crop`: `pad` or `squash`), parts
    come from a frame around that view, and what is whole, barred or squashed there is so here too. `mirrored`, `[N]`
    bool: those are mirrored too, which costs least while a picture lies in the core's cache.
    """
    shapes = np.array([picture.shape[:2] for picture in pictures])
    boxes = random_boxes(shapes, chances, frame=frame, scale=scale, crop=crop)
    turned = np.zeros(len(pictures), bool) if mirrored is None else mirrored
    crops = pictures[0].new_empty(len(pictures), *frame, pictures[0].shape[2])
    for into, picture, turn, box in zip(crops.permute(0, 3, 1, 2), pictures, turned, boxes.tolist(), strict=True):
        resized = _resize(_cut(picture, box), frame)
        into.copy_((resized.flip(3) if turn else resized)[0])
    return crops


def random_boxes(
    shapes: np.ndarray, chances: Chances, *, frame: tuple[int, int], scale: float, crop: Crop = "center"
) -> np.ndarray:
    """Return top, left, height, width of what `random_resized_crop` cuts of pictures of `[N, 2]` shapes, `[N, 4]`."""
    draws, of = chances.uniform("crop", 40).reshape(10, 4, -1), frame[1] / frame[0]
    if crop == "center":
        return _random_boxes(shapes, draws, scale, of)
    return _framed_boxes(shapes, draws, scale, of, crop)


def _random_boxes(shapes: np.ndarray, draws: np.ndarray, scale: float, of: float) -> np.ndarray:
    """Return top, left, height, width of each part, `[N, 4]`: of the first of ten draws that fits, else the centre.

    `shapes` is `[N, 2]`, `draws` `[10, 4, N]`, `of` the frame's width over its height.
    """
    height, width = shapes.T
    area_draw, aspect_draw, y_draw, x_draw = draws.transpose(1, 0, 2)
    area, aspect = height * width * (scale + (1 - scale) * area_draw), of * (3 / 4) * (16 / 9) ** aspect_draw
    w, h = np.rint((area * aspect) ** 0.5), np.rint((area / aspect) ** 0.5)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    drawn = np.stack([(y_draw * (height - h + 1)), (x_draw * (width - w + 1)), h, w], axis=-1).astype(np.int64)
    down, across = np.minimum(height, _whole(width / of)), np.minimum(width, _whole(height * of))
    centred = np.stack([(height - down) // 2, (width - across) // 2, down, across], axis=-1)
    return np.where(fits.any(0)[:, None], drawn[fits.argmax(0), np.arange(len(shapes))], centred)


def _whole(lengths: np.ndarray) -> np.ndarray:
    return np.rint(lengths).astype(np.int64).clip(1)


def _framed_boxes(shapes: np.ndarray, draws: np.ndarray, scale: float, of: float, crop: Crop) -> np.ndarray:
    """Return top, left, height, width of each part, `[N, 4]`, in pixels of pictures that evaluation shows whole.

    Sizes are those of parts of a frame that is `_ROOM` times the evaluation's view. A part that is longer than the
    picture holds all of it, at a random place (`pad`: the rest is bars; `squash`: there is no rest); else it lies
    within. So no part is bars alone, and the evaluation's own view is in the middle of what is drawn.
    """
    view = np.stack([_around(height, width, of) for height, width in shapes.tolist()])
    sizes = _random_boxes(np.rint(_ROOM * view).astype(np.int64), draws, scale, of)[:, 2:]
    if crop == "squash":
        sizes = np.rint(sizes * shapes / view).astype(np.int64).clip(1, shapes)
    room = shapes - sizes
    starts = np.sign(room) * (draws[0, 2:].T * (abs(room) + 1)).astype(np.int64)
    return np.concatenate([starts, sizes], axis=1)


def _cut(picture: torch.Tensor, box: Sequence[int]) -> torch.Tensor:
    """Return a part of `[h, w, C]`; where the box reaches beyond the picture there is black, as in `Preprocess`."""
    top, left, height, width = box
    inside = picture[max(0, top) : top + height, max(0, left) : left + width]
    if inside.shape[:2] == (height, width):
        return inside
    barred = picture.new_zeros(height, width, picture.shape[2])
    barred[max(0, -top) :, max(0, -left) :][: inside.shape[0], : inside.shape[1]] = inside
    return barred


def _around(height: int, width: int, of: float) -> tuple[int, int]:
    """Return the (height, width) of the smallest frame around a picture, of a width over height of `of`."""
    return max(height, round(width / of)), max(width, round(height * of))


def centre(pictures: Pictures, *, preprocess: Preprocess) -> torch.Tensor:
    """Return whole training pictures as evaluation would show them, nearly: `[N, height, width, C]` without chance.

    Pictures of the frame's size are those that evaluation shows already, and stay as they are.
    """
    made = [_resize(_cut(picture, _evaluated(picture, preprocess)), preprocess.frame) for picture in pictures]
    return torch.cat(made).permute(0, 2, 3, 1).contiguous()


def _evaluated(picture: torch.Tensor, preprocess: Preprocess) -> tuple[int, int, int, int]:
    """Return top, left, height, width of what evaluation shows of a whole picture."""
    height, width = picture.shape[:2]
    if preprocess.crop == "squash" or (height, width) == preprocess.frame:
        return 0, 0, height, width
    of = preprocess.frame[1] / preprocess.size
    down, across = _around(height, width, of)
    if preprocess.crop == "center":
        share = min(1.0, preprocess.size / preprocess.resize)
        down = max(1, round(min(height, width / of) * share))
        across = max(1, round(min(width, height * of) * share))
    return (height - down) // 2, (width - across) // 2, down, across


def _resize(picture: torch.Tensor, frame: tuple[int, int]) -> torch.Tensor:
    """Resize `[h, w, C]` uint8, bilinear with antialiasing, to `[1, C, *frame]` in channels last."""
    planes = picture[None].permute(0, 3, 1, 2)  # in this view torch sees channels last, its fastest way
    if picture.shape[:2] == frame:
        return planes
    return functional.interpolate(planes, frame, mode="bilinear", antialias=True)
