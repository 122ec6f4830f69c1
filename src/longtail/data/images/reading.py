"""Reads one image safely: allowed formats, a limit by the header, upright, RGB, or one reason why not.

Pillow's `LOAD_TRUNCATED_IMAGES` stays off: half a picture is an error, never a sample.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from longtail.data.images.limits import limit_in_words, objection
from longtail.data.images.silence import quiet
from longtail.data.words import shown
from longtail.errors import LongtailError
from longtail.text import counted

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(LongtailError):  # noqa: N818  (a fact about a file)
    """One image cannot be read; `reason` says why in a few words ("image file is truncated")."""

    def __init__(self, reason: str, source: object = None) -> None:
        self.reason = reason
        super().__init__(reason if source is None else f"{shown(str(source))}: {reason}.")


class UnreadableImages(LongtailError):  # noqa: N818
    """Every image of a part that cannot be read: `reasons` maps its identity to the reason."""

    NAMED = 20  # more names than a screen holds help nobody; `reasons` has them all

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        lines = [f"  {shown(identity)}: {reason}" for identity, reason in list(self.reasons.items())[: self.NAMED]]
        if len(self.reasons) > self.NAMED:
            lines.append(f"  and {len(self.reasons) - self.NAMED} more")
        what = counted(len(self.reasons), "image")
        head = f"{what} cannot be read; mend or remove them, or leave them out with --bad-images drop:"
        super().__init__("\n".join([head, *lines]))


def open_image(source: Path | BinaryIO) -> Image.Image:
    """Opens an image and reads its header only; use the result as a context manager.

    Raises UnreadableImage for what is no image of `FORMATS`, or claims more pixels than `pixel_limit()`.
    """
    with _one_reason(source):
        if isinstance(source, Path):
            _check_file(source)
        image: Image.Image = Image.open(source, formats=FORMATS)
        try:
            if (reason := objection(image)) is not None:
                raise UnreadableImage(reason)
        except Exception:
            image.close()
            raise
        return image


def rgb(image: Image.Image) -> Image.Image:
    """Decodes an image to upright 8-bit RGB (EXIF orientation applied, first frame, transparency over white).

    16-bit grey is scaled from 0..65535; numbers without a known range (floating point, 32 bits) are refused.
    Raises UnreadableImage where decoding fails or the file ends too soon.
    """
    with _one_reason(getattr(image, "filename", None) or None):
        image.load()
        return _as_rgb(upright(image))


def read(path: Path) -> Image.Image:
    """The image at `path` as upright 8-bit RGB, without metadata. Raises UnreadableImage with path and reason."""
    with open_image(path) as image:
        seen = rgb(image)
        seen.info = {}
        return seen


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises UnreadableImage with the path and the reason."""
    with _one_reason(path):
        _check_file(path)
        return path.read_bytes()


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; damaged metadata count as upright: the pixels are whole."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFF by itself
    try:
        with quiet():
            return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  (a parser of foreign bytes may raise anything)
        return 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an opened image once it stands upright."""
    return (image.height, image.width) if orientation(image) >= 5 else image.size


def upright(image: Image.Image) -> Image.Image:
    """The image turned the way its EXIF orientation asks for, and then without metadata: nobody turns it again."""
    turn = _UPRIGHT.get(orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = {}
    return turned


def upright_by(image: Image.Image, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of `image` as they lie in the file, turned the way its EXIF orientation asks for."""
    turn = _UPRIGHT.get(orientation(image))
    return array if turn is None else np.asarray(Image.fromarray(array).transpose(turn))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    if image.mode == "F":
        raise UnreadableImage("floating-point pixels have no known range")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        over_white = Image.new("RGB", seen.size, "white")
        over_white.paste(seen, mask=seen.getchannel("A"))
        return over_white
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8; Pillow's own conversion clips everything above 255 to white."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImage("32-bit pixels have no known range")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


@contextmanager
def _one_reason(source: object) -> Iterator[None]:
    """Turns whatever Pillow raises into one reason; of its warnings only those of a file cut short count.

    Several threads may be inside at a time: the warning filters that they restore out of order are all the same, as
    long as the caller's are quiet too.
    """
    try:
        with quiet():
            yield
    except Exception as error:  # a decoder of foreign bytes may raise anything
        if isinstance(error, LongtailError) and not isinstance(error, UnreadableImage):
            raise
        raise UnreadableImage(_reason(error), source) from error


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage("not a file")
    if status.st_size == 0:
        raise UnreadableImage("empty file")


def _reason(error: Exception) -> str:
    if isinstance(error, UnreadableImage):
        return error.reason
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return f"too large ({limit_in_words()})"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "image file is truncated"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    first_line = str(error).partition("\n")[0] or type(error).__name__
    return f"damaged image ({first_line})"
