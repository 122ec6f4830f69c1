"""Image files that nobody should have to fear: damaged ones, and small ones that want to become large."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
SUFFIX = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp"}
SIDE = 8000  # pixels; its square is the limit

Bomb = tuple[str, bytes]
"""File name and content."""


def seeds(form: str) -> list[bytes]:
    """Whole files of one format in several modes and compressions."""
    coarse = np.random.default_rng(len(form)).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    colours = Image.fromarray(coarse).resize((45, 33), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    ways: dict[str, list[tuple[Image.Image, dict[str, object]]]] = {
        "JPEG": [(colours, {"exif": exif}), (colours, {"progressive": True}), (colours.convert("CMYK"), {})],
        "PNG": [(colours, {}), (colours.convert("P"), {"transparency": 3}), (colours.convert("RGBA"), {"exif": exif})],
        "GIF": [(colours, {}), (colours.convert("L"), {"save_all": True, "append_images": [colours.convert("L")]})],
        "WEBP": [(colours, {}), (colours.convert("RGBA"), {"lossless": True}), (colours, {"exif": exif})],
        "TIFF": [(colours, {"compression": way}) for way in (None, "tiff_lzw", "jpeg", "tiff_adobe_deflate")],
        "BMP": [(colours, {}), (colours.convert("P"), {}), (colours.convert("1"), {})],
    }
    return [_saved(image, form, **options) for image, options in ways[form]]


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """The file with one to four changes: bits, bytes, extreme numbers, pieces lost or doubled, noise, no end."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        if len(data) < 8:
            break
        _MUTATIONS[generator.integers(len(_MUTATIONS))](data, generator)
    return bytes(data)


def _flip(data: bytearray, generator: np.random.Generator) -> None:
    data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))


def _byte(data: bytearray, generator: np.random.Generator) -> None:
    data[generator.integers(len(data))] = int(generator.integers(256))


def _number(data: bytearray, generator: np.random.Generator) -> None:
    """An extreme number near the beginning, where sizes and counts stand."""
    place = int(generator.integers(min(len(data) - 4, 96)))
    value = int(generator.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
    form = "<>"[generator.integers(2)] + ("H" if value <= 0xFFFF else "I")
    data[place : place + struct.calcsize(form)] = struct.pack(form, value)


def _lose(data: bytearray, generator: np.random.Generator) -> None:
    start = int(generator.integers(len(data)))
    del data[start : start + int(generator.integers(1, 32))]


def _double(data: bytearray, generator: np.random.Generator) -> None:
    start = int(generator.integers(len(data)))
    piece = data[start : start + int(generator.integers(1, 64))]
    place = int(generator.integers(len(data)))
    data[place:place] = piece


def _noise(data: bytearray, generator: np.random.Generator) -> None:
    start = int(generator.integers(len(data)))
    length = min(len(data) - start, int(generator.integers(1, 24)))
    data[start : start + length] = generator.bytes(length)


def _end(data: bytearray, generator: np.random.Generator) -> None:
    del data[int(generator.integers(4, len(data))) :]


_MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _flip,
    _byte,
    _number,
    _lose,
    _double,
    _noise,
    _end,
)


def bombs() -> Iterator[Bomb]:
    """Thirty small files that claim, or unfold to, far more than they hold."""
    for width, height in ((SIDE + 1, SIDE + 1), (100_000, 100_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)):
        yield f"claims-{width}x{height}.png", png(width, height, b"\0" * 1000)
    yield "text.png", png(4, 4, b"\0" * 52, *(_text(b"zTXt", 400_000_000) for _ in range(2)))
    yield "texts.png", png(4, 4, b"\0" * 52, *(_text(b"zTXt", 1_000_000) for _ in range(100)))
    yield "international.png", png(4, 4, b"\0" * 52, _text(b"iTXt", 400_000_000))
    yield "profile.png", png(4, 4, b"\0" * 52, _chunk(b"iCCP", b"p\0\0" + _zeros(400_000_000)))
    yield "animated.png", png(60_000, 60_000, b"\0" * 52, _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))
    for width, height in ((SIDE + 1, SIDE + 1), (65_000, 65_000), (2**32 - 1, 1), (2**31, 2**31)):
        yield f"claims-{width}x{height}.tif", tiff({256: width, 257: height, 278: height})
    yield "deflate.tif", tiff({256: 60_000, 257: 60_000, 259: 8, 278: 60_000}, _zeros(400_000_000))
    yield "tile.tif", tiff({256: 16, 257: 16, 322: 32_000, 323: 32_000, 259: 8}, _zeros(400_000_000))
    yield "tiles.tif", tiff({256: 4000, 257: 4000, 322: 65_520, 323: 65_520, 259: 5})
    yield "samples.tif", tiff({256: 8000, 257: 8000, 277: 60_000, 278: 8000})
    for width, height in ((8001, 8001), (16_383, 16_383), (16_383, 8000)):
        yield f"lossless-{width}x{height}.webp", webp_lossless(width, height)
        yield f"lossy-{width}x{height}.webp", webp_lossy(width, height)
    yield "canvas.webp", webp_canvas(2**24, 2**24)
    yield "canvas-16k.webp", webp_canvas(16_384, 16_384)
    for width, height in ((65_535, 65_535), (8001, 8001)):
        yield f"screen-{width}x{height}.gif", gif((width, height), (1, 1))
        yield f"frame-{width}x{height}.gif", gif((1, 1), (width, height))
    yield "frames.gif", gif((8001, 8001), (8001, 8001), frames=5000)
    yield "claims.jpg", jpeg(65_500, 65_500)
    yield "scans.jpg", jpeg_scans(4000)
    yield (
        "claims.bmp",
        _saved(Image.new("RGB", (4, 4)), "BMP").replace(struct.pack("<ii", 4, 4), struct.pack("<ii", 40_000, 40_000)),
    )
    yield "claims.ppm", b"P6\n100000 100000\n255\n" + b"\0" * 1000


def png(width: int, height: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG of 8-bit RGB that claims a size, with further chunks before its pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels


def tiff(tags: dict[int, int], pixels: bytes = b"\0" * 1000) -> bytes:
    """A little-endian TIFF of one strip or tile, 8-bit RGB unless a tag says otherwise."""
    every = {258: 8, 259: 1, 262: 2, 277: 3, **tags}
    tiled = 322 in tags
    every |= {324: 0, 325: len(pixels)} if tiled else {273: 0, 279: len(pixels)}
    start = 8 + 2 + 12 * len(every) + 4
    every[324 if tiled else 273] = start
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(every.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(every)) + entries + b"\0\0\0\0" + pixels


def webp_lossless(width: int, height: int) -> bytes:
    """A WebP header of one lossless picture."""
    bits = (width - 1) | (height - 1) << 14
    return _riff(b"VP8L", b"\x2f" + struct.pack("<I", bits) + b"\0" * 64)


def webp_lossy(width: int, height: int) -> bytes:
    """A WebP header of one lossy picture."""
    frame = (1 << 4) | (64 << 5)  # shown key frame, first partition of 64 bytes
    return _riff(
        b"VP8 ", struct.pack("<I", frame)[:3] + b"\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"\0" * 80
    )


def webp_canvas(width: int, height: int) -> bytes:
    """An animated WebP whose canvas is large and whose only frame is not."""
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    small = _saved(Image.new("RGB", (8, 8), "red"), "WEBP")[12:]
    frame = b"\0" * 6 + struct.pack("<I", 7)[:3] * 2 + struct.pack("<I", 100)[:3] + b"\0" + small
    chunks = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size
    chunks += b"ANIM" + struct.pack("<I", 6) + b"\0" * 6
    chunks += b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def gif(screen: tuple[int, int], frame: tuple[int, int], frames: int = 1) -> bytes:
    """A GIF of frames that are larger than what they hold."""
    head = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    one = b"," + struct.pack("<HHHH", 0, 0, *frame) + b"\0\x02\x02\x4c\x01\0"
    return head + one * frames + b";"


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header claims a size."""
    whole = _saved(Image.new("RGB", (16, 16)), "JPEG")
    return whole.replace(struct.pack(">HH", 16, 16), struct.pack(">HH", height, width), 1)


def jpeg_scans(scans: int) -> bytes:
    """A progressive JPEG of 36 megapixels whose one empty scan is repeated."""
    whole = _saved(Image.new("L", (6000, 6000)), "JPEG", progressive=True)
    last = whole.rfind(b"\xff\xda")
    return whole[:last] + whole[last:-2] * scans + whole[-2:]


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _zeros(length: int) -> bytes:
    packer, block = zlib.compressobj(9), b"\0" * 1_000_000
    return b"".join(packer.compress(block) for _ in range(length // len(block))) + packer.flush()


def _text(kind: bytes, length: int) -> bytes:
    head = b"key\0\0" if kind == b"zTXt" else b"key\0\x01\0\0\0"
    return _chunk(kind, head + _zeros(length))


def _riff(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body
