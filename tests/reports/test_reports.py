"""Reports: whole, the same twice, safe with strangers' words, and needing nobody."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import spade_core as sc
from spade_core.citation import BIBTEX
from spade_core.evaluation.evidence import Claim
from spade_core.pictures import fonts
from spade_core.reports import FORMS, content, paper
from spade_core.reports.content import read_content
from spade_core.reports.page import POLICY
from spade_core.results.comparison import TriggerRecord, bundle
from spade_core.saliency import METHODS, top_of
from spade_core.saliency.metrics import Interval

BAD = "</script><script>alert('cat')</script>"
SLUGS = ("saliency", "input_x_gradient")


@pytest.fixture(scope="module")
def analysis(small, noise):
    hostile = replace(small, name=f"{BAD}$_", labels=tuple(f"{BAD}{index}" for index in range(len(small.labels))))
    return sc.analyse(hostile, replace(noise, name=BAD), sc.AnalysisConfig(SLUGS, trace={"views": 2}))


@pytest.fixture(scope="module")
def files(analysis):
    return bundle(analysis)


@pytest.fixture(scope="module")
def made(analysis, files):
    return {form.name: form.make(files, analysis.crop, "spade-studio explain --image 'a b'") for form in FORMS}


class Page(HTMLParser):
    """What a browser would make of a report."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts, self.pairs, self.attributes = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes.append((tag, given))
        if "data-pair" in given:
            self.pairs.append(json.loads(given["data-pair"]))

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_holds_everything_and_strangers_words_are_text(made, analysis, files):
    text = made["report.html"].decode()
    page = Page(text)
    assert page.tags.count("script") == 1
    assert [pair["alt"] for pair in page.pairs] == [f"saliency map by {METHODS[slug].title}" for slug in SLUGS]
    assert all(given.get("alt") for tag, given in page.attributes if tag == "img")
    said = "".join(page.texts)
    described = json.loads(files["manifest.json"])
    assert f"{described['target']['label']} in {BAD}" in said
    for needed in (BIBTEX, described["model"]["sha256"], described["environment"]["libraries"]["torch"]):
        assert needed in said
    assert "spade-studio explain --image 'a b'" in said
    assert json.loads(next(text for text in page.texts if text.startswith('{\n  "schema'))) == described


def test_the_page_asks_nobody(made):
    text = made["report.html"].decode()
    assert POLICY in text
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert "://" not in re.sub(r"base64,[\w+/=]+", "", text)


def test_each_form_is_the_same_twice_and_what_it_says_it_is(made, analysis, files):
    image = Image.open(io.BytesIO(made["figure_300dpi.png"]))
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert image.size == (int(300 * 2.75 * 4), int(300 * (2.9 * 2 + 0.5)))
    drawn = ElementTree.fromstring(made["figure.svg"])
    pictures = drawn.iter("{http://www.w3.org/2000/svg}image")
    sizes = [(float(one.get("width")), float(one.get("height"))) for one in pictures]
    # Pixel by pixel, whatever the size at which it is printed.
    assert sizes.count(analysis.pairs["saliency"].dense.map.shape[::-1]) >= 1 + 3 * len(SLUGS)
    assert made["report.pdf"].startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", made["report.pdf"])) >= 4
    for form in FORMS[1:3]:
        assert form.make(files, analysis.crop, "spade-studio explain --image 'a b'") == made[form.name]


def test_the_pdfs_manifest_can_be_read_back(analysis, files):
    read = read_content(files, analysis.crop)
    assert json.loads("\n".join(paper._compact(read.manifest))) == json.loads(files["manifest.json"])
    for line in paper._lines(read):
        assert "".join(paper._wrap(line)).replace(" ", "") == line.replace(" ", "")


def test_letters_without_a_font_are_numbers_in_the_pdf_and_told(analysis, files, monkeypatch):
    monkeypatch.setattr(fonts, "_installed", tuple)  # a computer that has what comes with matplotlib
    told = json.loads(files["manifest.json"])
    assert paper._note_on_letters(read_content(files, analysis.crop)) == ()
    told["prediction"][1]["label"] = "猫"
    read = read_content({**files, "manifest.json": json.dumps(told).encode()}, analysis.crop)
    (note,) = paper._note_on_letters(read)
    assert "fonts-noto-cjk" in note
    shown = [text.get_text() for page in paper.text_pages(paper._lines(read)) for text in page.texts]
    assert any(line.startswith("U+732B ") for line in shown)


def test_maps_are_in_their_own_units(analysis, files):
    for part, pair in zip(read_content(files, analysis.crop).parts, analysis.pairs.values(), strict=True):
        assert np.array_equal(part.row.dense, pair.dense.map / top_of(pair.dense.map))
        assert np.array_equal(part.row.spade, pair.spade.map / top_of(pair.spade.map))
        assert part.row.signed == pair.spade.signed


def test_what_was_measured_of_such_maps_and_the_scores_of_this_one_are_told(analysis, monkeypatch):
    claim = Claim("raw", Interval(68.2, 61.0, 72.4, 103))
    monkeypatch.setattr(content, "claims", lambda weights, trace, options: {"saliency": (claim,)})
    mask = np.zeros(analysis.pairs["saliency"].dense.map.shape, dtype=bool)
    mask[:4, :4] = True
    files = bundle(analysis, trigger=TriggerRecord({"trigger": "heart"}, mask))
    first, second = read_content(files, analysis.crop).parts
    assert re.match(r"Trojan AUC: dense \d+\.\d, SPADE \d+\.\d\.", first.lines[0])
    assert "103 triggered pictures" in first.lines[1]
    assert "as it is 68 % [61, 72]" in first.lines[1]
    assert not any("Measured" in line for line in second.lines)


def test_a_file_name_that_is_no_text_spoils_no_report(analysis, files):
    told = json.loads(files["manifest.json"])
    told["picture"]["name"] = "caf\udce9.png"
    odd = {**files, "manifest.json": json.dumps(told).encode()}
    assert read_content(odd, analysis.crop).title.endswith(" in caf?.png")
    assert b"caf?.png" in FORMS[0].make(odd, analysis.crop)
