"""Images whose encoded bytes lie in something else than a file of their own: a table, a shard, another machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image

from longtail.data.images.reading import UnreadableImage, open_image
from longtail.data.pixels import Pixels, short_hash


class Encoded(Pixels):
    """Opens images from their bytes. Subclasses say where these are: see `Pixels.content`."""

    common_size: tuple[int, int] | None
    is_far: bool = False
    """Whether every image costs a request to another machine."""

    @property
    def size(self) -> tuple[int, int] | None:
        return self.common_size

    def open(self, index: int) -> Image.Image:
        return open_image(BytesIO(self.content(index)))

    def mark(self, index: int) -> str:
        return f"{len(self.content(index))} bytes"

    def digest(self, index: int) -> bytes:
        return short_hash(self.content(index))


@contextmanager
def reason_of_system() -> Iterator[None]:
    """Turns an error of the system or the network into the reason why an image cannot be read."""
    try:
        yield
    except OSError as error:
        raise UnreadableImage(
            (error.strerror or str(error).partition("\n")[0] or type(error).__name__).lower()
        ) from error
