"""A report as one page: no script of others, no request, for screens light and dark and for paper."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from html import escape

from spade_core.citation import BIBTEX
from spade_core.pictures.figures import colorize, png_bytes
from spade_core.pictures.markup import facts_html, picture_html, rows_html
from spade_core.pictures.scales import DIFFERENCE, scale_of, top_of
from spade_core.pictures.viewer import BeforeAfter, address, script, style
from spade_core.reports.content import Content, Part
from spade_core.reports.paper import figure_svg

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
START = """for (const one of document.querySelectorAll('.before-after')) slider(one, JSON.parse(one.dataset.pair));
document.querySelector('a[download="figure.svg"]').href = document.querySelector("img.figure").src;
const folded = document.querySelectorAll("section > details:not(.whole)");
addEventListener("beforeprint", () => folded.forEach((one) => (one.open = true)));"""


def report_html(content: Content) -> bytes:
    """Return the report as an HTML file that needs no other."""
    title = escape(content.title)
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    head += f'<meta name="viewport" content="width=device-width"><title>{title} · SPADE Studio</title>'
    head += f"<style>{style('report')}</style>"
    body = "".join(
        [
            f"<h1>{title}</h1>",
            _section("What was found", _found(content)),
            *(_method(part, number) for number, part in enumerate(content.parts)),
            _section("Figure", _figure(content)),
            *(_section(name, facts_html(facts)) for name, facts in content.sections.items()),
            _section("Predictions", rows_html("The most probable classes", ("dense", "trace"), content.predictions)),
            _section("Layers", rows_html("Every layer", ("layer", "state", "zeros", "output error"), content.layers)),
            _section("The same once more", f"<pre>{escape(content.replay)}</pre>"),
            _section("Citation", f"<pre>{escape(BIBTEX)}</pre>"),
            _section("Manifest", _manifest(content)),
        ]
    )
    page = f'<!doctype html><html lang="en"><head>{head}</head><body><main>{body}</main>'
    return f'{page}<script type="module">{script()}\n{START}</script></body></html>'.encode()


def _section(name: str, inner: str) -> str:
    return f"<section><h2>{escape(name)}</h2>{inner}</section>"


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def _found(content: Content) -> str:
    seen = picture_html(content.crop, "What the model sees", f"The picture as the model sees it: {content.title}")
    return f'<div class="found">{seen}{facts_html(content.summary)}</div>{_paragraphs(content.notes)}'


def _method(part: Part, number: int) -> str:
    """Return a method's section; the pair lies under a divider on a screen and is in the figure on paper."""
    row = part.row
    dense, spade = (
        address(png_bytes(colorize(values, row.limits, scale_of(row.signed)))) for values in (row.dense, row.spade)
    )
    shown = BeforeAfter(dense, spade, ("Dense", "SPADE"), f"saliency map by {row.title}")
    pair = f'<div class="before-after" data-pair="{escape(json.dumps(shown.to_dict()))}"></div>'
    apart = row.spade - row.dense
    most = top_of(apart)
    ends = f"purple is {DIFFERENCE.low}, orange {DIFFERENCE.high}"
    told = f"SPADE minus dense: {ends}; the darkest colours are {most:.2f} of a map's top"
    coloured = colorize(apart, (-most, most), DIFFERENCE)
    difference = picture_html(coloured, told, f"Difference of the two maps by {row.title}", 480)
    inner = f'<div class="maps"><figure>{pair}</figure>{difference}</div>'
    return _section(f"{number + 1}. {row.title}", f"<p>{escape(part.help)}</p>{inner}{_paragraphs(part.lines)}")


def _figure(content: Content) -> str:
    data = base64.b64encode(figure_svg(content)).decode()
    source, alt = f"data:image/svg+xml;base64,{data}", f"All maps in one figure: {content.title}"
    image = f'<img class="figure" src="{source}" alt="{escape(alt)}">'
    return f'{image}<p class="screen"><a download="figure.svg">Save the figure as SVG</a></p>'


def _manifest(content: Content) -> str:
    text = json.dumps(content.manifest, indent=2, ensure_ascii=False)
    data = base64.b64encode(text.encode()).decode()
    link = f'<a download="manifest.json" href="data:application/json;base64,{data}">Save the manifest</a>'
    whole = f'<details class="whole"><summary>The manifest</summary><pre>{escape(text)}</pre></details>'
    return f'<p class="screen">{link}</p>{whole}'
