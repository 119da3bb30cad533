"""How large a picture a file may claim to hold, before anything is allocated for it."""

from resnetkit.errors import DataError

# Pillow's own refusal begins at twice its MAX_IMAGE_PIXELS; the same number here holds when a program changed that.
MAX_PIXELS = 178_956_970
# A file that claims more than this many pixels must have a byte for every _MAX_PACKING decoded ones. Deflate reaches
# 1032 and JPEG 1536 at most, so only flat pictures in other formats are refused by mistake.
_SMALL_PIXELS = 16_000_000
_MAX_PACKING = 2_000


def check(width: int, height: int, *, samples: float, num_bytes: int) -> None:
    """Raise `DataError` where a file of so many bytes claims too many pixels of so many bytes each."""
    pixels = width * height
    claim = f"{width} x {height} pixels"
    if pixels > MAX_PIXELS:
        raise DataError(f"claims {claim}, more than {MAX_PIXELS:,} are not opened; make it smaller")
    if pixels > _SMALL_PIXELS and pixels * samples > _MAX_PACKING * num_bytes:
        raise DataError(f"claims {claim} in {num_bytes:,} bytes, which no photo does; leave it out")
