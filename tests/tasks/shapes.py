"""Pictures of coloured shapes with the boxes around them, as a COCO set."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"green ring": (30, 170, 30), "red disc": (210, 30, 30)}


def paint(folder: Path, *, parts: dict[str, int], size: tuple[int, int] = (64, 48), outlines: bool = False) -> Path:
    """Write pictures of `size` (width, height) with none to three shapes each, so many of each part."""
    generator = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True)
    for part, count in parts.items():
        images, annotations = [], []
        (folder / part).mkdir()
        for number in range(count):
            picture, shapes = _picture(generator, size, number % 4)
            picture.save(folder / part / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": size[0], "height": size[1]})
            for kind, (left, top, right, bottom) in shapes:
                middle, radius = ((left + right) / 2, (top + bottom) / 2), (right - left) / 2
                corners = [[middle[0] + radius * np.cos(a), middle[1] + radius * np.sin(a)] for a in _AROUND]
                annotations.append({
                    "id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top], "area": float(np.pi * radius**2),
                    **({"segmentation": [np.ravel(corners).tolist()]} if outlines else {}),
                })  # fmt: skip
        categories = [{"id": kind + 1, "name": name} for kind, name in enumerate(COLOURS)]
        described = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(described))
    return folder


_AROUND = np.linspace(0, 2 * np.pi, 24, endpoint=False)


def _picture(
    generator: np.random.Generator, size: tuple[int, int], count: int
) -> tuple[Image.Image, list[tuple[int, tuple[int, int, int, int]]]]:
    noise = generator.integers(170, 230, (size[1], size[0], 3), dtype=np.uint8)
    picture, shapes = Image.fromarray(noise), []
    draw = ImageDraw.Draw(picture)
    for place in range(count):
        kind, side = int(generator.integers(2)), int(generator.integers(14, 20))
        left = place * 21 + int(generator.integers(0, 3))
        top = int(generator.integers(0, size[1] - side))
        box = (left, top, left + side, top + side)
        drawn = (left, top, left + side - 1, top + side - 1)
        colour = list(COLOURS.values())[kind]
        draw.ellipse(drawn, **({"outline": colour, "width": 4} if kind == 0 else {"fill": colour}))
        shapes.append((kind, box))
    return picture, shapes
