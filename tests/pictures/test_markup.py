"""Results as HTML: what strangers wrote stays text."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np

from spade_core.pictures.markup import beside_html, card_html, facts_html, picture_html, rows_html

BAD = '"><script>alert(1)</script><img src=x onerror=alert(1)>&'


class Seen(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.alts = [], [], "", []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.alts += [value for name, value in attrs if name == "alt"]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_foreign_strings_are_text_wherever_they_stand():
    picture = picture_html(np.zeros((4, 4, 3), np.uint8), BAD, BAD)
    seen = Seen(
        card_html(BAD, beside_html(picture, facts_html({BAD: BAD})), rows_html(BAD, [BAD], [[BAD]]), notes=[BAD])
    )
    assert "script" not in seen.tags
    assert seen.tags.count("img") == 1
    assert seen.alts == [BAD]
    assert seen.text.count(BAD) == 8
