"""Who unpacks the pixels of DICOM files: for each way to pack them readers that are safe with damaged files.

pydicom itself takes whatever is installed. Of that GDCM ends the process for some damaged JPEGs, and the fast reader of
RLE for some damaged runs. 12-bit and lossless JPEG, which its other plug-ins do not read, libjpeg-turbo reads here.
"""

from __future__ import annotations

import importlib.util
from typing import Any

VERSION = 1  # of the pixels that come out: raised with them, so that no older ones are taken from a cache

_OURS = ("libjpeg-turbo", (__name__, "decode_frame"))
_PILLOW, _OPENJPEG, _CHARLS, _RLE = (
    (name, (f"pydicom.pixels.decoders.{name}", "_decode_frame")) for name in ("pillow", "pylibjpeg", "pyjpegls", "rle")
)
_READERS = {  # the last digits of a transfer syntax -> who reads it, the first that can
    "4.50": (_PILLOW,), "4.51": (_PILLOW, _OURS), "4.57": (_OURS,), "4.70": (_OURS,), "4.80": (_CHARLS,),
    "4.81": (_CHARLS,), "4.90": (_OPENJPEG, _PILLOW), "4.91": (_OPENJPEG, _PILLOW), "4.201": (_OPENJPEG,),
    "4.202": (_OPENJPEG,), "4.203": (_OPENJPEG,), "5": (_RLE,),
}  # fmt: skip
_SYNTAXES = "1.2.840.10008.1.2."
DECODER_DEPENDENCIES = {_SYNTAXES + end: ("imagecodecs",) for end, readers in _READERS.items() if _OURS in readers}


def decoder(packing: Any) -> Any:
    """Return what unpacks pixels of a transfer syntax, a `pydicom.pixels.Decoder`, None where nothing does."""
    from pydicom.pixels.decoders.base import Decoder

    made = Decoder(packing)  # one of our own: pydicom's belong to the whole process
    made.add_plugins(list(_READERS.get(packing.removeprefix(_SYNTAXES), ())))
    return made if made.is_available else None


def is_available(packing: str) -> bool:
    """Tell pydicom whether JPEGs packed so can be read by `decode_frame`."""
    return packing in DECODER_DEPENDENCIES and importlib.util.find_spec("imagecodecs") is not None


def decode_frame(data: bytes, runner: Any) -> bytes:
    """Return the values of one JPEG, and tell pydicom's `runner` how they lie."""
    from imagecodecs import jpeg8_decode

    values = jpeg8_decode(data)
    runner.set_option("bits_allocated", 8 * values.dtype.itemsize)
    if values.ndim == 3:
        runner.set_option("planar_configuration", 0)
    return bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())
