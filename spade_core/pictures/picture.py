"""Pictures from untrusted bytes: validated, decoded to 8-bit RGB, and known by their content.

A path, uploaded bytes or the name of a bundled picture becomes a :class:`Picture`, or is refused with one sentence.
Everything that can be refused cheaply (size, type, dimensions) is refused before a pixel is decoded, and Pillow is
only ever allowed the formats of :data:`FORMATS`, so that no interpreter (PostScript, say) runs on a stranger's file.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zlib
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import NotRequired, TypedDict

import numpy as np
from PIL import ExifTags, Image, ImageOps, features

from spade_core.config import ASSETS
from spade_core.errors import PictureError, expect
from spade_core.pictures.frame import CENTRE, Frame, parse_frame

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
MAX_ASPECT = 50
"""Longest side over shortest: models scale the *short* side up, so a thread of pixels would grow without bound."""

FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
"""Pillow's name of each accepted format, and the file extensions that announce it."""
if "avif" in features.modules and features.check("avif"):
    FORMATS["AVIF"] = (".avif", ".avifs")
if find_spec("pillow_heif"):  # Pillow's plugin; its licence keeps it out of the requirements
    resolve_name("pillow_heif:register_heif_opener")()
    FORMATS["HEIF"] = (".heic", ".heif", ".heics", ".hif")
READABLE = "{} or {}".format(", ".join(list(FORMATS)[:-1]), list(FORMATS)[-1]).replace("WEBP", "WebP")
"""The accepted formats, as people call them."""
SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}

OPAQUE = 255
_PREFIX = "bundled:"
PICTURES = ASSETS / "pictures"
_ADVICE = f"choose a {READABLE} file"

# Of the accepted formats: tells a damaged picture from something else.
_SIGNATURES = re.compile(
    rb"(?s)\xff\xd8|\x89PNG|RIFF.{4}WEBP|BM.{4}\0{4}|GIF8[79]a|II[*+]\0|MM\0[*+]|.{4}ftyp(avi|hei|hev|mif|msf)"
)

_HEIC = "a HEIC picture, which this program reads once the package pillow-heif is installed"
_FOREIGN: dict[str, re.Pattern[bytes]] = {
    "a web page": re.compile(rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype\s+html|html)"),
    "an SVG drawing": re.compile(rb"(?is)(\xef\xbb\xbf)?\s*<(.{0,4000}<)?svg[\s>]"),
    "a PDF document": re.compile(rb"%PDF-"),
    "a PostScript file": re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"),
    "a zip archive or a model checkpoint": re.compile(rb"PK[\x03\x05\x07]"),
    "a Python pickle": re.compile(rb"\x80[\x02-\x05]"),
    "a compressed archive": re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!"),
    "a Photoshop file": re.compile(rb"8BPS"),
    "an icon file": re.compile(rb"\x00\x00\x01\x00"),
    **({} if "AVIF" in FORMATS else {"an AVIF picture": re.compile(rb"(?s).{4}ftypavi")}),
    **({} if "HEIF" in FORMATS else {_HEIC: re.compile(rb"(?s).{4}ftyp(?!.{0,60}avif)(hei|hev|mif|msf)")}),
    "a JPEG 2000 or JPEG XL picture": re.compile(rb"\x00\x00\x00\x0c(jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a"),
}
"""What people try instead of a picture, by the beginning of the file."""

_GIVEN = "A picture is a file's path, its bytes, or an image of Pillow's"
_WRITTEN = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that a PNG file holds as they are

# Pillow's decoders meet broken files with almost any of these, and the list differs from format to format.
_BROKEN: tuple[type[Exception], ...] = (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError)
_BROKEN += (MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError, Warning, struct.error, zlib.error)


class Source(TypedDict):
    """How a job's payload names a picture.

    ``sha256``: for the job's key; ``frame``: the text of a ``Frame``; ``trigger``: a ``Paste`` to put into it.
    """

    path: str
    name: NotRequired[str]
    sha256: NotRequired[str]
    frame: NotRequired[str]
    trigger: NotRequired[dict[str, object] | None]


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: uint8 ``(height, width, 3)``, RGB, upright, write-protected.
        sha256: hex digest of the file's bytes, the picture's identity.
        name: file name, or ``bundled:NAME``.
        notes: sentences about oddities of the file.
        frame: which part of it a model sees.
    """

    pixels: np.ndarray
    sha256: str
    name: str
    notes: tuple[str, ...] = ()
    frame: Frame = CENTRE

    @property
    def key(self) -> str:
        """What tells it from others, as a model sees it."""
        return self.sha256 if self.frame == CENTRE else f"{self.sha256} {self.frame}"


@dataclass(frozen=True)
class Bundled:
    """A picture that comes with the program: its origin, its licence, and the ImageNet class that it shows."""

    name: str
    title: str
    file: str
    author: str
    source: str
    licence: str
    class_index: int

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return PICTURES / self.file


def bundled() -> dict[str, Bundled]:
    """Return the bundled pictures by name, in the order in which they are shown."""
    rows = json.loads((PICTURES / "pictures.json").read_text(encoding="utf-8"))
    return {row["name"]: Bundled(**row) for row in rows}


def load_picture(
    source: str | Path | bytes | Image.Image, *, name: str | None = None, frame: str | None = None
) -> Picture:
    """Load a picture from a path, a file's bytes, an image of Pillow's, or by its bundled name (``"bundled:cat"``).

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB; transparent ones are laid on white; EXIF rotation is
    applied; of several frames the first is taken. Colour profiles are ignored, as in the pipelines that models are
    trained with.

    Args:
        name: what to call it, by default the file's name; only its extension matters, for a note.
        frame: what a model sees of it: ``centre`` (the default), ``letterbox``, or ``Y,X``, see ``parse_frame``.

    Raises:
        PictureError: the file is absent, not a picture, damaged or too large; one sentence says which.
    """
    found = _loaded(source, name)
    return found if frame is None else replace(found, frame=parse_frame(frame))


def _encoded(image: Image.Image) -> bytes:
    """Return an image as the bytes of a PNG file, which give it an identity."""
    out, written = io.BytesIO(), image if image.mode in _WRITTEN else image.convert("RGB")
    written.save(out, "PNG", exif=image.getexif())
    return out.getvalue()


def _loaded(source: str | Path | bytes | Image.Image, name: str | None) -> Picture:
    if isinstance(source, Image.Image):
        source = _encoded(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _picture(bytes(source), _shown(name or "picture"))
    if str(source).startswith(_PREFIX):
        known, wanted = bundled(), str(source).removeprefix(_PREFIX)
        if wanted not in known:
            raise PictureError(f"There is no bundled picture {_shown(wanted)!r}: choose one of {', '.join(known)}.")
        return _picture(known[wanted].path.read_bytes(), _shown(name or str(source)))
    path = Path(source) if isinstance(source, str) else expect(source, Path, _GIVEN, PictureError)
    return _picture(read_file(path), _shown(name or path.name))


def read_file(path: Path, called: str | None = None) -> bytes:
    """Return the bytes of a picture's file, or one more than may be had; whether it is a picture is not looked at.

    Args:
        called: the file's name in a sentence, by default its path.

    Raises:
        PictureError: it is absent, cannot be read, or is no regular file.
    """
    shown = _printable(called or str(path), 120)
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder, so name a file in it")
        if path.exists() and not path.is_file():  # a pipe or a device might never end
            raise OSError(None, "it is not a regular file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PictureError(f"There is no file {shown!r}: check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(f"The file {shown!r} cannot be read ({reason}): choose another, or copy it again.") from None


def _printable(text: str, length: int) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= length else f"{text[: length - 20]}…{text[-19:]}"


def _shown(name: str) -> str:
    """Return a file name that fits into a sentence: no folders, no line breaks, at most 60 letters."""
    return _printable(re.split(r"[\\/]", name)[-1], 60) or "picture"


def _picture(data: bytes, name: str) -> Picture:
    _check_bytes(data, name)
    damaged = f"{name} is damaged or cut off: save or copy it again."
    with _open(data, name, damaged) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise PictureError(f"{name} has no pixels: {_ADVICE}.")
        if width * height > MAX_PIXELS:
            raise PictureError(_too_large(name))
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise PictureError(
                f"{name} is {width} x {height} pixels, too narrow to be shown to a model: crop it first."
            )
        try:  # and first the checksums of formats that have them (PNG), which decoding skips
            Image.open(io.BytesIO(data), formats=list(FORMATS)).verify()
            image.load()
        except _BROKEN:
            raise PictureError(damaged) from None
        notes = _extension_notes(image, name)
        rgb = _to_rgb(image, name, notes)
        pixels = np.array(_turn(rgb, _orientation(image, notes)))
        try:
            several = getattr(image, "is_animated", False)
        except _BROKEN:  # GIF looks for a second frame only now; the first one is safe
            several = True
    if several:
        notes.append("The file holds several pictures; the first one is used.")
    pixels.setflags(write=False)
    return Picture(pixels, hashlib.sha256(data).hexdigest(), name, tuple(notes))


def _check_bytes(data: bytes, name: str) -> None:
    if not data:
        raise PictureError(f"{name} is empty: {_ADVICE}.")
    if len(data) > MAX_BYTES:
        raise PictureError(f"{name} has more than {MAX_BYTES // 2**20} MB: save it smaller.")
    for kind, pattern in _FOREIGN.items():
        if pattern.match(data):
            raise PictureError(f"{name} is {kind}: {_ADVICE}.")


def _open(data: bytes, name: str, damaged: str) -> Image.Image:
    """Read the header; nothing is decoded yet."""
    try:
        return Image.open(io.BytesIO(data), formats=list(FORMATS))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(_too_large(name)) from None
    except _BROKEN:
        raise PictureError(damaged if _SIGNATURES.match(data) else f"{name} is not a picture: {_ADVICE}.") from None


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS // 10**6} megapixels: scale it down first."


def _extension_notes(image: Image.Image, name: str) -> list[str]:
    kind = "JPEG" if image.format == "MPO" else image.format or ""  # several JPEGs in one file, as phones write them
    suffix = Path(name).suffix.lower()
    right = not suffix or name.startswith(_PREFIX) or suffix in FORMATS[kind]
    return [] if right else [f"The extension of the file is {suffix}, but its content is {kind}."]


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """Return the EXIF orientation, 1 (upright) to 8; call after loading, since TIFF is turned by the decoder."""
    try:
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    except _BROKEN:
        exif, orientation = Image.Exif(), 1
    if image.info.get("exif") and not exif:  # Pillow often gives up without an error
        notes.append("The EXIF block of the file is broken and was ignored.")
    if orientation not in range(1, 9):
        notes.append("The EXIF orientation of the file has no meaning and was ignored.")
        return 1
    return orientation


def _turn(rgb: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return rgb
    # A bare copy: where the file's own EXIF block is present, the same call rewrites it and trips over odd tags.
    bare = Image.fromarray(np.asarray(rgb))
    bare.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(bare)


def _to_rgb(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """Return the picture as 8-bit RGB, transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_bytes(np.asarray(image), name, notes))
    try:
        if image.has_transparency_data:
            image = image.convert("LA" if image.mode == "La" else "RGBA").convert("RGBA")  # La has one way out only
            if np.asarray(image.getchannel("A")).min() < OPAQUE:
                notes.append("Transparent parts of the picture were laid on white.")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except ValueError:
        raise PictureError(f"{name} has {image.mode} colours, which cannot be converted: save it as RGB.") from None


def _to_bytes(values: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Return grey values of more than 8 bits as uint8.

    16-bit values keep their upper byte, exactly as Pillow reads 16-bit colour. Floating-point values are taken from
    0 to 1. Values of 32 bits or floats outside these ranges have no agreed white and are stretched, with a note.
    """
    if not np.isfinite(values).all():
        raise PictureError(f"{name} has pixels that are not numbers: save it as an 8-bit or 16-bit picture.")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.round(values * 255).astype(np.uint8)
    if values.dtype.kind != "f" and low >= 0 and high <= 0xFFFF:
        deep = values.dtype.itemsize == 2 or high > 0xFF
        return (values >> 8 if deep else values).astype(np.uint8)
    notes.append(f"The grey values from {low:g} to {high:g} were stretched from black to white.")
    return np.round((values - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
