"""The table of architectures: a few rows made anew, and none of the page's wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.architectures import ARCHITECTURES, BEGIN, END, FAST, line_of, row_of, write_page
from spade_core.saliency import METHODS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "models.md"


def lines():
    table = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    return {line.split(" | ")[0].removeprefix("| "): line for line in table.strip().splitlines()[2:]}


@pytest.mark.parametrize("name", FAST)
def test_rows_made_anew_are_those_of_the_page(name):
    row = row_of(next(one for one in ARCHITECTURES if one.name == name))
    assert not [cell for cell in row.values() if cell.startswith("wrong")], row
    assert line_of(row) == lines()[name]


def test_nothing_on_the_page_is_wrong():
    assert set(lines()) <= {one.name for one in ARCHITECTURES}
    assert {line.split(" | ")[7] for line in lines().values()} == {"0"}


def test_a_row_says_what_is_refused_and_what_is_wrong(tmp_path):
    row = {"architecture": "timm:a", "layers": "2 of 2", "wrap": "+", "trace": "+", "drawing": "wrong: it is grey"}
    row |= {"file": "+", "saliency": "+", "lrp": "refused: LRP has nothing to hand back.", "lime": "wrong: nan"}
    row |= {"deeplift": "refused: DeepLift has nothing to hand back."}
    told = (
        f"| timm:a | 2 of 2 | + | + | wrong | + | 1 of {len(METHODS)} | 2 | DeepLift, LRP: has nothing to hand back |"
    )
    assert line_of(row) == told
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(page, [row])
    assert "old" not in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith(f"{told}\n\n{END}\nafter\n")
