"""``pictures.html``: the pictures of a folder with their maps and numbers, one file that needs nothing else."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spade_core.citation import BIBTEX, PAPER
from spade_core.evaluation.folder.maps import small_pictures
from spade_core.evaluation.folder.rows import PICTURE, Row
from spade_core.evaluation.folder.summary import (
    FAITHFUL,
    HEAD,
    MOST,
    first_of,
    gains_of,
    outcomes_of,
    sections_of,
    title_of,
)
from spade_core.evaluation.statistics import DENSE, Statistics
from spade_core.files import written_beside
from spade_core.pictures.markup import facts_html
from spade_core.saliency import METHODS

PAGE = "pictures.html"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: light-dark(#566170, #a3b0bf); }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.quiet { color: var(--quiet); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .6rem; text-align: left; vertical-align: middle; }
body > table td { overflow-wrap: anywhere; } pre { overflow-x: auto; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th button { all: unset; cursor: pointer; font-weight: 600; } th button:focus-visible { outline: 2px solid; }
th button::after { content: " \\2195"; color: var(--quiet); }
img { display: block; width: 96px; height: auto; } .name { overflow-wrap: anywhere; min-width: 7rem; }
.lost { font-weight: 600; color: light-dark(#b91c1c, #f87171); }
"""
_SORT = """
document.querySelectorAll("#pictures th button").forEach((button) => button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0], at = head.cellIndex;
  const down = head.ariaSort === "ascending";
  head.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
  head.ariaSort = down ? "descending" : "ascending";
  const value = (row) => row.cells[at].dataset.v ?? row.cells[at].textContent;
  const order = (a, b) => value(a).localeCompare(value(b), undefined, {numeric: false}) || 0;
  const number = (a, b) => Number(value(a)) - Number(value(b));
  const sorted = [...body.rows].sort(head.classList.contains("n") ? number : order);
  body.append(...(down ? sorted.reverse() : sorted));
}));
"""


_CLASS = ' class="n"'


def write_page(rows: Sequence[Row], statistics: Statistics, header: Mapping[str, object], folder: Path) -> None:
    """Write the page picture by picture.

    Args:
        rows: of all pictures; the maps of those that count lie in ``folder``.
        statistics: of those that count; header: of ``Configuration.header``.
    """
    with written_beside(folder / PAGE) as file:
        for part in _page(rows, statistics, header, folder):
            file.write(part.encode(errors="replace"))


def _page(rows: Sequence[Row], statistics: Statistics, header: Mapping[str, object], folder: Path) -> Iterator[str]:
    chosen = statistics.configuration
    title = html.escape(title_of(statistics, header))
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
    yield '<p class="quiet">Maps of the dense model and of a SPADE trace of each picture.</p>'
    yield from _summary(statistics)
    counted, left_out = [row for row in rows if not row.left_out], [row for row in rows if row.left_out]
    yield "<h2>Pictures</h2>"
    if len(counted) > MOST:
        yield f"<p>{html.escape(first_of(counted))}</p>"
    yield f'<div class="scroll"><table id="pictures"><thead><tr>{_head(chosen.methods)}</tr></thead><tbody>'
    yield from (_picture(row, chosen.arms, folder) for row in counted[:MOST])
    yield "</tbody></table></div>"
    if left_out:
        yield "<h2>Left out</h2><ul>"
        yield from (f"<li>{html.escape(row.left_out)}</li>" for row in left_out)
        yield "</ul>"
    for name, facts in sections_of(header).items():
        yield f"<h2>{name}</h2>{facts_html(facts)}"
    yield f'<h2>Citation</h2><p class="quiet">{PAPER}</p><pre>{html.escape(BIBTEX)}</pre>'
    yield f"<script>{_SORT}</script></body></html>"


def _summary(statistics: Statistics) -> Iterator[str]:
    """Yield what holds of all pictures together."""
    yield facts_html(outcomes_of(statistics))
    heads = "".join(f"<th{_CLASS if at else ''}>{name}</th>" for at, name in enumerate(HEAD))
    yield f'<p>{FAITHFUL}</p><div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>'
    for cells in gains_of(statistics):
        yield f"<tr>{''.join(f'<td{_CLASS if at else str()}>{cell}</td>' for at, cell in enumerate(cells))}</tr>"
    yield "</tbody></table></div>"


def _head(methods: Sequence[str]) -> str:
    """Return the headings; those with a button sort."""
    numbers = ("Dense, %", "Trace, %", "KL, nats")
    cells = ["<th>Picture</th>", "<th><button>Name</button></th>", "<th><button>Class</button></th>"]
    cells += [f'<th class="n"><button>{name}</button></th>' for name in numbers]
    for title in (METHODS[slug].title for slug in methods):
        cells += [f"<th>{title}: dense</th><th>SPADE</th>", '<th class="n"><button>Gain, points</button></th>']
    return "".join(cells)


def _picture(row: Row, arms: Sequence[str], folder: Path) -> str:
    """Return the table's row of a picture."""
    shown = small_pictures(folder / row.maps, arms, list(row.scores))
    name, label = html.escape(row.picture), html.escape(row.label)
    lost = "" if row.kept == 1 else '<div class="lost">class lost</div>'
    cells = [f"<td>{_image(shown, PICTURE, name)}</td>", f'<td class="name">{name}</td>', f"<td>{label}{lost}</td>"]
    cells += [_number(100 * row.dense, ".1f"), _number(100 * row.trace, ".1f"), _number(row.kl, ".1e")]
    for slug in row.scores:
        for arm in arms:
            told = f"{METHODS[slug].title} of {name}, {'dense' if arm == DENSE else 'SPADE'}"
            cells.append(f"<td>{_image(shown, f'{arm}_{slug}', told)}</td>")
        cells.append(_number(row.gain(slug), "+.1f"))
    return f"<tr>{''.join(cells)}</tr>"


def _number(value: float, form: str) -> str:
    return f'<td class="n" data-v="{value:.6g}">{value:{form}}</td>'


def _image(shown: dict[str, bytes], key: str, told: str) -> str:
    if key not in shown:
        return ""
    return f'<img src="data:image/webp;base64,{base64.b64encode(shown[key]).decode()}" alt="{told}" loading="lazy">'
