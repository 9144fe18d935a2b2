"""What others have written is shown as it is: no links, pictures, icons, colours or formulas, on any page."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from spade_core.ui.common.text import JOINER, literal

ROOT = Path(__file__).resolve().parent.parent.parent.parent
HOSTILE = "[click](https://evil.example) ![x](https://evil.example/p.png) :red[x] `code` $x$ *b* www.evil.example"


def test_ordinary_sentences_stay_as_they_are():
    for text in (
        "efficientnet_lite0 has no layer named 'blocks.1'; ask for one of conv_head, blocks.6.0.conv_pwl.",
        "Give a number from 1 to 9, not -3 (50 %).",
        "The model timm:resnet18.a1_in1k: its weights are absent!",
    ):
        assert literal(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](b)", r"\[a\](b)"),
        ("![a](b)", r"!\[a\](b)"),
        (":material/key: :red-badge[x]", r"\:material/key: :red-badge\[x\]"),
        ("a\n\n# b", "a # b"),
        ("# b", r"\# b"),
        ("- b", r"\- b"),
        ("1. b", r"1\. b"),
        ("_a_ a_b", r"\_a\_ a_b"),
        ("<https://a.b>", rf"\<https:{JOINER}//a.b>"),
        ("WWW.a.b", f"WWW{JOINER}.a.b"),
        ("back\\slash $x$ `c` ~~d~~", r"back\\slash \$x\$ \`c\` \~\~d\~\~"),
    ],
)
def test_signs_of_markdown_are_shown(text, shown):
    assert literal(text) == shown


@pytest.mark.parametrize("page", ["saliency", "neurons", "trace", "survey", "study", "evidence"])
@pytest.mark.parametrize("name", ["model", "picture", "methods", "layer", "study", "solver"])
def test_a_link_puts_no_markdown_into_a_page(monkeypatch, page, name):
    monkeypatch.setenv("SPADE_JOBS", "inline")
    st.cache_resource.clear()
    app = AppTest.from_file(ROOT / "home.py", default_timeout=300).switch_page(f"pages/{page}.py")
    app.query_params[name] = HOSTILE
    app.run()
    assert not app.exception
    said = [item for kind in (app.error, app.warning, app.info, app.caption, app.markdown, app.title) for item in kind]
    for item in said:
        assert "[click](" not in item.value.replace(r"\[click\](", "")
        assert "https://evil" not in item.value
        assert "www.evil" not in item.value
    st.cache_resource.clear()
