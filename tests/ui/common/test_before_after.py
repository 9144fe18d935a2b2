"""The slider as an element of a page."""

from __future__ import annotations

import json

from streamlit.testing.v1 import AppTest


def page(before):
    from spade_core.ui.common.before_after import before_after
    from spade_core.ui.common.frame import errors_as_sentences

    with errors_as_sentences():
        before_after(before, b"\x89PNG", labels=("plain", "new"), alt="A map <b>of</b> a cat", key="pair", opacity=0.5)


def run(before):
    return AppTest.from_function(page, args=(before,)).run()


def test_a_pair_goes_to_the_browser_with_its_words():
    app = run(b"\x89PNG")
    assert not app.exception
    (mounted,) = app.main.children.values()
    told = json.loads(mounted.proto.json)
    assert told["before"] == told["after"] == "data:image/png;base64,iVBORw=="
    assert (told["labels"], told["alt"]) == (["plain", "new"], "A map <b>of</b> a cat")
    assert (told["under"], told["opacity"], told["start"]) == ("", 0.5, 50.0)


def test_a_picture_of_another_origin_is_one_sentence():
    app = run("https://example.org/a.png")
    assert "nothing is fetched" in app.error[0].value
