"""Pictures of masks: values that are objects, and masks that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetkit.data.sources import open_data
from resnetkit.errors import DataError

from .annotated_sets import (
    SHOTS,
    Shot,
    found,
    picture,
    put,
    said,
)

FILLED = tuple(shot for shot in SHOTS if shot.objects)


def test_pedestrians_of_penn_and_fudan_are_objects(tmp_path):
    shot = SHOTS[0]
    values = np.zeros((30, 40), np.uint8)
    values[3:9, 2:12], values[10:30, 20:40] = 1, 2
    put(tmp_path / "PNGImages/Fudan1.png", picture(Shot("Fudan1.png", "train")))
    put(tmp_path / "PNGImages/Fudan2.png", picture(shot))
    (tmp_path / "PedMasks").mkdir()
    Image.fromarray(values).save(tmp_path / "PedMasks/Fudan1_mask.png")
    data = open_data(tmp_path)
    assert found(data) == {"Fudan1.png": (None, ("object",), {("object", (2, 3, 12, 9)), ("object", (20, 10, 40, 30))})}
    assert said(data, "every value of a mask is one 'object'")
    assert said(data, "nobody annotated them: 1 picture without a mask")


def test_masks_of_16_bits_and_of_one_bit_and_greys_kept_in_colours_are_read(tmp_path):
    values = np.zeros((30, 40), np.uint16)
    values[3:9, 2:12], values[10:30, 20:40] = 300, 40_000
    for number in range(3):
        put(tmp_path / f"images/{number}.jpg", picture(SHOTS[0]))
    (tmp_path / "masks").mkdir()
    Image.fromarray(values).save(tmp_path / "masks/0.png")
    Image.fromarray(values > 0).save(tmp_path / "masks/1.png")
    Image.fromarray(np.repeat((values // 300).astype(np.uint8)[..., None], 3, 2)).save(tmp_path / "masks/2.png")
    boxes = {Path(item.source).name: sorted(one.box for one in item.marks) for item in open_data(tmp_path).items}
    assert boxes == {
        "0.jpg": [(2, 3, 12, 9), (20, 10, 40, 30)], "1.jpg": [(2, 3, 40, 30)],
        "2.jpg": [(2, 3, 12, 9), (20, 10, 40, 30)],
    }  # fmt: skip


def test_the_border_of_a_palette_is_no_object(tmp_path):
    values = np.zeros((30, 40), np.uint8)
    values[2:10, 1:13], values[3:9, 2:12] = 255, 1
    put(tmp_path / "images/1.jpg", picture(SHOTS[0]))
    (tmp_path / "masks").mkdir()
    mask = Image.fromarray(values).convert("P")
    mask.putpalette(list(range(256)) * 3)
    mask.save(tmp_path / "masks/1.png")
    data = open_data(tmp_path)
    assert [one.box for one in data.items[0].marks] == [(2, 3, 12, 9)]
    assert said(data, "1 mask with 255 in a palette: taken as the border")


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("masks/1.jpg", picture(SHOTS[0]), "1.jpg: is a JPEG, whose values are not exact; save it as PNG, palette"),
        ("masks/1.png", b"", "1.png: is empty"),
        ("masks/1.png", b"nothing", "1.png: seems to be"),
        ("masks/9.png", "other", "9.png: there is no picture of that name; copy it there, or delete this mask"),
        ("masks/1.png", "colours", "1.png: is in colours, which are no numbers of objects; save it as PNG"),
        ("masks/1.png", "small", "1.png: it is said to be 20 x 30, but .*/images/1.jpg is 40 x 30"),
        ("masks/1_mask.png", "other", "1_mask.png: .*/masks/1.png is of the same picture and class; delete one of"),
    ],
)  # fmt: skip
def test_masks_that_cannot_be_used_are_faults(tmp_path, name, data, why):
    values = np.zeros((30, 40), np.uint8)
    values[3:9, 2:12] = 1
    pictures = {
        "other": Image.fromarray(values), "small": Image.fromarray(values[:, :20]),
        "colours": Image.fromarray(np.stack([values, values * 2, values], 2)),
    }  # fmt: skip
    (tmp_path / "masks").mkdir()
    for number in range(3):
        put(tmp_path / f"images/{number}.jpg", picture(SHOTS[0]))
        if f"masks/{number}.jpg" != name:
            Image.fromarray(values).save(tmp_path / f"masks/{number}.png")
    if isinstance(data, str):
        pictures[data].save(tmp_path / name)
    else:
        put(tmp_path / name, data)
    with pytest.raises(DataError, match=why) as raised:
        open_data(tmp_path)
    assert "\n" not in str(raised.value)
    assert len(open_data(tmp_path, faulty="skip")) in (2, 3)
