"""Keeps decoders from writing to the screen: what they object to becomes a reason, or nothing."""

from __future__ import annotations

import ctypes
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from PIL import _imaging


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Pillow's warnings about metadata and sizes, which are judged here; a file cut short stays an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="(?i).*truncated")
        yield


def _silence_decoders() -> None:
    """Has libtiff write nothing to standard error, and Python not print what Pillow logs of a TIFF.

    The switch of libtiff is found through Pillow's module, which is linked to it. Where that is done in another way,
    as on Windows, libtiff is left as it is.
    """
    logging.getLogger("PIL.TiffImagePlugin").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


_silence_decoders()
