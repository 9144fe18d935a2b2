"""Names in figures: by a font that has their letters, else by the index, never as boxes."""

from __future__ import annotations

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from spade_core.pictures import fonts
from spade_core.pictures.fonts import DEFAULT, advice_for, drawable, families_for, shown_name, spelled

RARE = "\U00012000"  # cuneiform: stands for a script that no font here has


@pytest.mark.parametrize("name", ["cat", "Katze für 5 $", "кот", "قطة", "חתול"])
def test_usual_scripts_are_drawn_by_the_font_that_comes_with_matplotlib(name):
    assert families_for(name) == (DEFAULT,)
    assert shown_name(name, 3) == (name, None)


def test_a_name_without_a_font_is_shown_by_its_index_and_told():
    shown, note = shown_name(RARE, 3)
    assert shown == "class 3"
    assert RARE in note
    assert "apt-get install fonts-noto-core" in note
    assert shown_name(f"{RARE} dog", 4)[0] == "class 4 (dog)"
    assert drawable(f"a{RARE}b") == "ab"
    assert spelled(f"a{RARE}b") == "aU+12000b"


@pytest.mark.parametrize("name", ["猫", "ネコ", "고양이"])
def test_the_package_with_east_asian_letters_is_named(name, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", tuple)  # a computer that has what comes with matplotlib
    shown, note = shown_name(f"{name} 1", 3)
    assert shown == "class 3 (1)"
    assert "apt-get install fonts-noto-cjk" in note
    assert advice_for(f"{RARE} dog").endswith("fonts-noto-core).")


def test_no_font_that_draws_boxes_is_taken():
    assert not [family for family, _ in fonts._installed() if "Resort" in family]


def test_an_installed_font_that_has_the_letters_is_found(tmp_path, monkeypatch):
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((500, 0)), pen.lineTo((0, 500)), pen.closePath()
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder([".notdef", "rare"])
    made.setupCharacterMap({ord(RARE): "rare"})
    made.setupGlyf(dict.fromkeys([".notdef", "rare"], pen.glyph()))
    made.setupHorizontalMetrics(dict.fromkeys([".notdef", "rare"], (500, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Rare Letters", "styleName": "Regular"})
    made.setupOS2(), made.setupPost()
    made.save(tmp_path / "rare.ttf")
    monkeypatch.setattr(
        font_manager, "findSystemFonts", lambda: [str(tmp_path / "rare.ttf"), str(tmp_path / "gone.ttf")]
    )
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    fonts._installed.cache_clear()
    try:
        assert families_for(f"{RARE} dog") == (DEFAULT, "Rare Letters")
        assert shown_name(RARE, 3) == (RARE, None)
    finally:
        fonts._installed.cache_clear()
