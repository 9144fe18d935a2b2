"""Hostile and odd picture files, generated: no file of them is stored, and none is fetched.

``hostile_files(folder)`` gives what must be refused, ``odd_files()`` what must open. The pickles among the hostile
files create ``folder / MARKER`` when anything runs them; a test asserts that the marker is absent.
"""

from __future__ import annotations

import io
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

__all__ = ["MARKER", "encode", "hostile_files", "odd_files", "png", "scene"]

MARKER = "code-ran"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'

Hostile = tuple[str, bytes, str]
"""File name, its bytes, and a part of the sentence that must refuse it."""


def scene(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Return a smooth, asymmetric uint8 picture ``(height, width, 3)``."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 24, (height, width))
    return np.stack([x * 200 // width + noise, y * 200 // height + noise, 60 + noise * 2], axis=2).astype(np.uint8)


def encode(array: np.ndarray, kind: str, **options: Any) -> bytes:
    """Return the bytes of ``array`` as a file of Pillow's format ``kind``."""
    return _saved(Image.fromarray(array), kind, **options)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, scanlines: bytes, extra: bytes = b"") -> bytes:
    """Return a PNG from its parts, also parts that do not fit together.

    Args:
        width, height: what the header claims.
        depth, colour: bits per sample and PNG colour type (0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA).
        scanlines: filter byte and samples of each row, not yet compressed.
        extra: chunks before the pixels.
    """
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(scanlines)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


class _Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return open, (self.path, "w")


def hostile_files(folder: Path) -> list[Hostile]:
    """Return files that must be refused; see :data:`Hostile`. Nothing is written to ``folder``."""
    return [*_bombs(), *_impostors(folder), *_cut(), *_corrupt()]


def _bombs() -> Iterator[Hostile]:
    yield "claims-60000x60000.png", png(60_000, 60_000, 8, 2, b"\0"), "megapixels"
    yield "claims-4294967295.png", png(2**32 - 1, 2**32 - 1, 8, 0, b"\0"), ""
    yield "black-12000x12000.png", _black_png(12_000, 12_000), "megapixels"
    yield "black-7100x7100.png", _black_png(7_100, 7_100), "megapixels"
    yield "claims-65000x65000.gif", b"GIF89a" + struct.pack("<HH", 65_000, 65_000) + b"\0\0\0;", ""
    yield "claims-40000x40000.bmp", _bmp_header(40_000, 40_000), "megapixels"
    yield "claims-16383x16383.webp", _webp_header(16_383, 16_383), "megapixels"
    yield "text-bomb.png", png(1, 1, 8, 0, b"\0\0", _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))), "damaged"
    yield "over-20-MB.png", encode(scene(), "PNG") + bytes(20 * 2**20), "20 MB"
    yield "thread-60000x1.png", png(60_000, 1, 1, 0, bytes(1 + 60_000 // 8)), "narrow"
    yield "thread-1x60000.png", png(1, 60_000, 1, 0, bytes(2 * 60_000)), "narrow"
    yield "0x0.png", png(0, 0, 8, 2, b""), ""
    yield "0x9.png", png(0, 9, 8, 0, bytes(9)), ""
    yield "0x0.gif", b"GIF89a" + bytes(4) + b"\0\0\0;", ""


def _black_png(width: int, height: int) -> bytes:
    return png(width, height, 1, 0, bytes((1 + (width + 7) // 8) * height))


def _bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def _webp_header(width: int, height: int) -> bytes:
    bits = 0x2F | (width - 1) << 8 | (height - 1) << 22
    data = bits.to_bytes(5, "little") + bytes(11)
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


def _impostors(folder: Path) -> Iterator[Hostile]:
    touch = pickle.dumps(_Touch(folder / MARKER))
    yield "empty.jpg", b"", "is empty"
    yield "one-byte.png", b"\x89", "not a picture"
    yield "drawing.svg", SVG, "SVG"
    yield "drawing.png", b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<!DOCTYPE svg>\n' + SVG, "SVG"
    yield "entities.svg", b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + SVG, "SVG"
    yield "page.png", b"<!DOCTYPE html><html><body>" + SVG + b"</body></html>", "web page"
    yield "paper.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n%%EOF", "PDF"
    yield "note.png", b"This is not a picture, whatever its name says.\n", "not a picture"
    yield "BM-note.bmp", b"BMW and others make cars, and this is only a text.\n", "not a picture"
    yield "random.jpg", random.Random(0).randbytes(4096), "not a picture"
    yield "weights.pt", touch, "pickle"
    yield "checkpoint.jpg", _zip("archive/data.pkl", touch), "checkpoint"
    yield "pictures.zip", _zip("cat.png", encode(scene(), "PNG")), "zip"
    yield "figure.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "PostScript"
    yield "tool.ico", encode(scene(), "ICO"), "icon"
    yield "layers.psd", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 4, 4, 8, 3) + bytes(40), "Photoshop"
    told = "damaged" if find_spec("pillow_heif") else "HEIC"  # with the plugin it is opened
    yield "phone.heic", struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic", told
    yield "plain.ppm", encode(scene(), "PPM"), "not a picture"
    yield "array.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}" + touch, "not a picture"


def _zip(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def _cut() -> Iterator[Hostile]:
    for kind, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {})):
        data = encode(scene(), kind, **options)
        yield f"half.{kind.lower()}", data[: len(data) // 2], "damaged"
    yield "half-lzw.tiff", encode(scene(), "TIFF", compression="tiff_lzw")[:2000], "damaged"
    yield "header-only.jpg", encode(scene(), "JPEG")[:20], "damaged"
    yield "signature-only.png", b"\x89PNG\r\n\x1a\n", "damaged"
    yield "no-frames.gif", b"GIF89a" + struct.pack("<HH", 8, 8) + b"\0\0\0;", "damaged"


def _corrupt() -> Iterator[Hostile]:
    data = encode(scene(), "PNG")
    yield "header-crc.png", _flipped(data, data.index(b"IHDR") + 7), "damaged"
    yield "pixel-crc.png", _flipped(data, data.index(b"IEND") - 5), "damaged"
    yield "pixels.png", _flipped(data, data.index(b"IDAT") + 60), "damaged"
    yield "no-pixels.png", data[: data.index(b"IDAT") - 4] + _chunk(b"IEND", b""), "damaged"
    yield "ifd-offset.tif", b"II*\0" + struct.pack("<I", 10**6) + bytes(64), "damaged"
    yield "ifd-loop.tif", b"II*\0" + struct.pack("<I", 8) + struct.pack("<HI", 0, 8), "damaged"
    yield "strip-offset.tif", _tiff_with_lost_strip(), "damaged"
    yield "not-a-number.tif", encode(np.array([[np.nan, 1.0], [0.0, np.inf]], np.float32), "TIFF"), "not numbers"


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


def _tiff_with_lost_strip() -> bytes:
    data = encode(scene(), "TIFF")
    entry = data.index(struct.pack("<HH", 273, 4))  # StripOffsets, LONG
    return data[: entry + 8] + struct.pack("<I", 2**31 - 1) + data[entry + 12 :]


def odd_files() -> Iterator[tuple[str, bytes, np.ndarray, str]]:
    """Yield files that must open: name, bytes, the exact pixels expected, and a part of the note, or ""."""
    yield from _odd_files_about_metadata()
    yield from _odd_files_about_depth()
    yield from _odd_files_about_transparency()
    yield from _odd_files_about_frames()


def _decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _grey(values: Any) -> np.ndarray:
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def _odd_files_about_metadata() -> Iterator[tuple[str, bytes, np.ndarray, str]]:
    colours = scene()
    plain = encode(colours, "JPEG", quality=95)
    yield "jpeg.png", plain, _decoded(plain), "extension"
    yield "no-extension", encode(colours, "PNG"), colours, ""
    yield "UPPER.PNG", encode(colours, "PNG"), colours, ""
    for name, block in {
        "garbage": b"Exif\0\0" + random.Random(1).randbytes(60),
        "empty": b"Exif\0\0",
        "lost": b"Exif\0\0II*\0\xff\xff\xff\x7f",
        "cut": b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\x01",
    }.items():
        yield f"exif-{name}.jpg", encode(colours, "JPEG", quality=95, exif=block), _decoded(plain), "EXIF"
    turned = {  # EXIF orientation -> what has to be done to the stored pixels
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a),
    }
    for orientation, turn in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"turned-{orientation}.jpg", encode(colours, "JPEG", quality=95, exif=exif), turn(_decoded(plain)), ""
    for name, kind, options in (("png", "PNG", {}), ("webp", "WEBP", {"lossless": True}), ("tif", "TIFF", {})):
        exif = Image.Exif()
        exif[0x0112] = 6
        yield f"turned.{name}", encode(colours, kind, exif=exif, **options), np.rot90(colours, -1), ""
    exif = Image.Exif()
    exif[0x0112] = 99
    yield "turned-99.jpg", encode(colours, "JPEG", quality=95, exif=exif), _decoded(plain), "no meaning"
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Comment", "drawn with <svg> tools")
    yield "mentions-svg.png", encode(colours, "PNG", pnginfo=comment), colours, ""


def _odd_files_about_depth() -> Iterator[tuple[str, bytes, np.ndarray, str]]:
    deep = np.array([[0, 255, 256], [0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    high = deep >> 8
    yield "grey-16.png", encode(deep, "PNG"), _grey(high), ""
    yield "grey-16.tif", encode(deep, "TIFF"), _grey(high), ""
    rows = b"".join(b"\0" + row.astype(">u2").repeat(3).tobytes() for row in deep)
    yield "rgb-16.png", png(3, 2, 16, 2, rows), _grey(high), ""
    yield "grey-32.tif", encode(deep.astype(np.int32), "TIFF"), _grey(high), ""
    yield "bytes-32.tif", encode(np.array([[0, 7, 255]], np.int32), "TIFF"), _grey([[0, 7, 255]]), ""
    yield "wide-32.tif", encode(np.array([[-100, 0, 100]], np.int32), "TIFF"), _grey([[0, 128, 255]]), "stretched"
    yield "float.tif", encode(np.array([[0, 0.5, 1]], np.float32), "TIFF"), _grey([[0, 128, 255]]), ""
    yield "float-wide.tif", encode(np.array([[0, 3, 4]], np.float32), "TIFF"), _grey([[0, 191, 255]]), "stretched"
    yield "one-bit.tif", encode(np.eye(9, dtype=bool), "TIFF"), _grey(np.eye(9) * 255), ""
    yield "fax.tif", encode(np.eye(9, dtype=bool), "TIFF", compression="group4"), _grey(np.eye(9) * 255), ""
    yield "grey.bmp", encode(scene()[..., 0], "BMP"), _grey(scene()[..., 0]), ""
    yield "one-pixel.png", png(1, 1, 8, 2, b"\0\x01\x02\x03"), np.array([[[1, 2, 3]]], np.uint8), ""
    inks = Image.fromarray(np.full((8, 8, 4), (0, 128, 255, 0), np.uint8), "CMYK")
    yield "inks.tif", _saved(inks, "TIFF"), np.full((8, 8, 3), (255, 127, 0), np.uint8), ""
    flat = _saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    yield "inks.jpg", flat, np.full((8, 8, 3), (255, 0, 0), np.uint8), ""


def _odd_files_about_transparency() -> Iterator[tuple[str, bytes, np.ndarray, str]]:
    palette = _chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])) + _chunk(b"tRNS", bytes([0, 255, 51]))
    expected = np.array([[[255, 255, 255], [0, 255, 0], [204, 204, 255]]], np.uint8)
    yield "palette.png", png(3, 1, 8, 3, b"\0\0\1\2", palette), expected, "laid on white"
    yield (
        "rgba.png",
        png(2, 1, 8, 6, b"\0\x0a\x14\x1e\0\x0a\x14\x1e\xff"),
        np.array([[[255, 255, 255], [10, 20, 30]]], np.uint8),
        "laid on white",
    )
    yield "grey-alpha.png", png(3, 1, 8, 4, b"\0\x00\xff\x00\x00\x00\x33"), _grey([[0, 255, 204]]), "laid on white"
    yield "grey-alpha-16.png", png(2, 1, 16, 4, b"\0\x80\x12\xff\xff\0\0\0\0"), _grey([[128, 255]]), "laid on white"
    yield "grey-key.png", png(2, 1, 8, 0, b"\0\x07\x08", _chunk(b"tRNS", b"\0\x07")), _grey([[255, 8]]), "laid on white"


def _odd_files_about_frames() -> Iterator[tuple[str, bytes, np.ndarray, str]]:
    first, second = _grey(np.full((8, 8), 40)), _grey(np.full((8, 8), 200))
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        more = {"save_all": True, "append_images": [Image.fromarray(second)], **options}
        yield f"animated.{kind.lower()}", encode(first, kind, **more), first, "several"
    data = encode(first, "GIF", save_all=True, append_images=[Image.fromarray(second)])
    yield "cut-second-frame.gif", data[:-12], first, "several"
    phone = encode(first, "MPO", save_all=True, append_images=[Image.fromarray(second)])
    yield "phone.jpg", phone, _decoded(phone), "several"
