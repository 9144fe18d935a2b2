from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tracemalloc
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from spade_core.errors import PictureError
from spade_core.pictures.picture import FORMATS, MAX_ASPECT, MAX_BYTES, MAX_PIXELS, bundled, load_picture
from tests.hostile import MARKER, encode, hostile_files, odd_files, png, scene

HOSTILE = hostile_files(Path("/nonexistent"))
ODD = list(odd_files())

pytestmark = [
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
]


def assert_one_sentence(error: PictureError) -> None:
    text = str(error)
    assert text.endswith(".")
    assert text.isprintable()
    assert 20 < len(text) < 250
    assert ". " not in text


@pytest.mark.parametrize(("name", "data", "part"), HOSTILE, ids=[name for name, *_ in HOSTILE])
def test_hostile_bytes_are_refused_with_one_sentence(name: str, data: bytes, part: str) -> None:
    with pytest.raises(PictureError) as caught:
        load_picture(data, name=name)
    assert_one_sentence(caught.value)
    assert name in str(caught.value)
    assert part in str(caught.value)


def test_hostile_files_run_no_code(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    for name, data, _ in hostile_files(tmp_path):
        (inside / name).write_bytes(data)
        with pytest.raises(PictureError) as caught:
            load_picture(inside / name)
        assert_one_sentence(caught.value)
    assert not (tmp_path / MARKER).exists()


def test_the_pickles_among_the_hostile_files_are_live(tmp_path: Path) -> None:
    import pickle

    data = next(data for name, data, _ in hostile_files(tmp_path) if name == "weights.pt")
    pickle.loads(data).close()
    assert (tmp_path / MARKER).exists()


def test_at_least_thirty_hostile_files() -> None:
    assert len({name for name, *_ in HOSTILE}) >= 30


@pytest.mark.parametrize(("name", "data", "pixels", "note"), ODD, ids=[name for name, *_ in ODD])
def test_odd_files_open_exactly(name: str, data: bytes, pixels: np.ndarray, note: str) -> None:
    picture = load_picture(data, name=name)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.pixels.dtype == np.uint8
    assert len(picture.notes) == bool(note)
    assert all(note in text and text.endswith(".") for text in picture.notes)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_opens_without_a_note(kind: str) -> None:
    for suffix in FORMATS[kind]:
        picture = load_picture(encode(scene(), kind), name="picture" + suffix)
        assert picture.pixels.shape == (48, 64, 3)
        assert picture.notes == ()
        assert np.abs(picture.pixels.astype(int) - scene()).mean() < 12  # JPEG, WebP and GIF lose something


def test_limits_are_inclusive() -> None:
    side = int(MAX_PIXELS**0.5)
    row = bytes(1 + (side + 7) // 8)
    assert load_picture(png(side, side, 1, 0, row * side)).pixels.shape == (side, side, 3)
    assert load_picture(encode(scene(1, MAX_ASPECT), "PNG")).pixels.shape == (1, MAX_ASPECT, 3)
    with pytest.raises(PictureError, match="narrow"):
        load_picture(encode(scene(1, MAX_ASPECT + 1), "PNG"))
    data = encode(scene(), "JPEG")
    padding = MAX_BYTES - len(data)
    assert load_picture(data + bytes(padding)).pixels.shape == (48, 64, 3)
    with pytest.raises(PictureError, match="20 MB"):
        load_picture(data + bytes(padding + 1))


def test_premultiplied_grey_is_laid_on_white(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only newer versions of Pillow read such files (TIFF), so the mode is tested without one."""
    image = Image.fromarray(np.array([[[255, 51], [0, 51], [9, 0]]], np.uint8), "LA").convert("La")
    monkeypatch.setattr(Image, "open", lambda *args, **options: image)
    monkeypatch.setattr(image, "format", "TIFF", raising=False)
    assert load_picture(b"II*\0", name="alpha.tif").pixels[0, :, 0].tolist() == [255, 204, 255]


def test_colours_without_conversion_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(self: Image.Image, mode: str) -> Image.Image:
        raise ValueError(f"conversion from {self.mode} to {mode} not supported")

    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(PictureError, match="RGBA colours") as caught:
        load_picture(encode(np.zeros((4, 4, 4), np.uint8), "TIFF"))
    assert_one_sentence(caught.value)


def test_megapixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(self: Image.Image) -> None:
        raise AssertionError("a refused picture was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    bombs = [(name, data) for name, data, part in HOSTILE if part == "megapixels"]
    assert len(bombs) >= 4
    tracemalloc.start()
    for name, data in bombs:
        with pytest.raises(PictureError, match="megapixels"):
            load_picture(data, name=name)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_bombs_are_refused_in_the_same_words_where_warnings_are_errors() -> None:
    data = png(10_000, 10_000, 8, 2, b"\0")  # between one and two times Pillow's own limit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PictureError, match="has more than 50 megapixels"):
            load_picture(data)


def test_global_settings_of_pillow_stay() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    for name, data, _ in HOSTILE:
        with pytest.raises(PictureError):
            load_picture(data, name=name)
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


@pytest.mark.parametrize("kind", FORMATS)
def test_no_damage_escapes_as_another_error(kind: str) -> None:
    """Whatever bytes are hit, a picture opens or a PictureError explains."""
    rng = random.Random(kind)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(scene(24, 32), kind, **({} if kind in ("BMP", "GIF") else {"exif": exif}))
    refused = 0
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 4, 16))):
            broken[int(rng.random() ** 2 * len(broken))] = rng.randrange(256)
        try:
            picture = load_picture(bytes(broken[: rng.randint(len(broken) // 2, len(broken))]))
        except PictureError as error:
            assert_one_sentence(error)
            refused += 1
        else:
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.ndim == 3
    assert refused > 20


def test_identity_is_the_digest_of_the_bytes(tmp_path: Path) -> None:
    data = encode(scene(), "PNG")
    path = tmp_path / "scene.png"
    path.write_bytes(data)
    by_path, by_text, by_bytes = load_picture(path), load_picture(str(path)), load_picture(data, name="other.png")
    assert {by_path.sha256, by_text.sha256, by_bytes.sha256} == {hashlib.sha256(data).hexdigest()}
    assert (by_path.name, by_bytes.name, load_picture(data).name) == ("scene.png", "other.png", "picture")
    again = load_picture(encode(scene(), "PNG", compress_level=0))
    np.testing.assert_array_equal(again.pixels, by_path.pixels)
    assert again.sha256 != by_path.sha256


def test_pixels_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_picture("bundled:cat").pixels[0, 0] = 0


def test_names_are_fit_to_show() -> None:
    data = encode(scene(), "PNG")
    assert load_picture(data, name="C:\\pictures\\..\\cat.png").name == "cat.png"
    assert load_picture(data, name="../../etc/a\nb.png").name == "a?b.png"
    long = load_picture(data, name="x" * 5000 + ".png").name
    assert len(long) <= 60
    assert long.endswith("x.png")
    for name in ("y" * 5000, "a\r\nb\x1b[31m.png", "/"):
        with pytest.raises(PictureError) as caught:
            load_picture(b"nothing", name=name)
        assert_one_sentence(caught.value)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    paths: list[str | Path] = [
        tmp_path / "absent.png",
        tmp_path,
        tmp_path / "pipe.png",
        tmp_path / ("n" * 300 + ".png"),
        "bad\0name.png",
        "/dev/zero",
        "https://example.org/cat.png",
        "",
    ]
    for path in paths:
        with pytest.raises(PictureError) as caught:
            load_picture(path)
        assert_one_sentence(caught.value)
    with pytest.raises(PictureError, match=r"There is no file .*absent.png"):
        load_picture(paths[0])
    with pytest.raises(PictureError, match="folder"):
        load_picture(tmp_path)


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    path.write_bytes(encode(scene(), "PNG"))
    os.truncate(path, 2**36)
    with pytest.raises(PictureError, match="more than 20 MB"):
        load_picture(path)


def test_unknown_bundled_name_lists_the_known() -> None:
    with pytest.raises(PictureError) as caught:
        load_picture("bundled:unicorn")
    assert_one_sentence(caught.value)
    assert all(name in str(caught.value) for name in bundled())


def test_bundled_pictures_are_complete() -> None:
    items = bundled()
    assert len(items) >= 6
    folder = next(iter(items.values())).path.parent
    licences = (folder / "LICENCES.md").read_text(encoding="utf-8")
    assert {path.name for path in folder.glob("*.jpg")} == {item.file for item in items.values()}
    assert len(json.loads((folder / "pictures.json").read_text(encoding="utf-8"))) == len(items)
    for name, item in items.items():
        assert name == item.name
        assert all((item.title, item.author, item.source, item.licence))
        assert 0 <= item.class_index < 1000
        assert item.path.stat().st_size < 120_000
        assert f"| {item.file} | {item.title} | {item.author} | {item.source} | {item.licence} |" in licences


@pytest.mark.parametrize("name", bundled())
def test_bundled_pictures_open(name: str) -> None:
    picture = load_picture(f"bundled:{name}")
    assert picture.name == f"bundled:{name}"
    assert picture.notes == ()
    assert 300 <= min(picture.pixels.shape[:2]) <= 500
    with Image.open(bundled()[name].path) as image:
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_bundled_returns_a_fresh_dictionary() -> None:
    bundled().clear()
    assert "cat" in bundled()


@pytest.mark.skipif("AVIF" not in FORMATS, reason="Pillow was built without AVIF")
def test_avif_is_read_where_pillow_can_and_damage_is_told() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(scene(), "AVIF", quality=100, exif=exif)
    found = load_picture(data, name="phone.avif")
    assert found.notes == ()
    assert found.pixels.shape == (64, 48, 3)
    assert np.abs(found.pixels.astype(int) - np.rot90(scene(), -1)).mean() < 4
    for cut in (40, len(data) // 2):
        with pytest.raises(PictureError, match="damaged"):
            load_picture(data[:cut], name="phone.avif")


@pytest.mark.skipif("HEIF" not in FORMATS, reason="not installed: pip install pillow-heif")
def test_heic_is_read_where_its_plugin_is_and_damage_is_told() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(scene(), "HEIF", quality=100, exif=exif.tobytes())
    found = load_picture(data, name="phone.heic")
    assert found.notes == ()
    assert found.pixels.shape in ((64, 48, 3), (48, 64, 3))
    for cut in (40, len(data) // 2):
        with pytest.raises(PictureError, match="damaged"):
            load_picture(data[:cut], name="phone.heic")


PLUGIN = """
from PIL import Image, ImageFile

class Heif(ImageFile.ImageFile):
    format = "HEIF"

    def _open(self):
        self.fp.seek(24)
        self._mode, self._size = "RGB", (2, 1)
        self.tile = [ImageFile._Tile("raw", (0, 0, 2, 1), 24, ("RGB", 0, 1))]

def register_heif_opener():
    Image.register_open("HEIF", Heif, lambda start: start[4:12] == b"ftypheic")
"""


def test_a_plugin_that_is_installed_is_used_and_one_that_is_not_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the module is loaded, since it looks for the plugin once."""
    (tmp_path / "pillow_heif.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pillow_heif", raising=False)
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    data = (24).to_bytes(4, "big") + b"ftypheic\0\0\0\0mif1heic" + bytes([1, 2, 3, 4, 5, 6])
    found = _copy(monkeypatch).load_picture(data, name="phone.HEIC")
    assert found.pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert found.notes == ()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    without = _copy(monkeypatch)
    assert "HEIF" not in without.READABLE
    with pytest.raises(PictureError, match=r"phone\.HEIC is a HEIC picture, .* pillow-heif .*: choose a JPEG"):
        without.load_picture(data, name="phone.HEIC")


def _copy(monkeypatch: pytest.MonkeyPatch) -> Any:
    import spade_core.pictures.picture as own

    spec = spec_from_file_location("picture_copy", own.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "picture_copy", module)
    spec.loader.exec_module(module)
    return module
