"""The slider's pictures travel as addresses that hold them, and nothing is fetched."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from spade_core.errors import ConfigError
from spade_core.pictures.viewer import address, script, style


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_files_bytes_are_its_address(kind):
    out = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(out, kind)
    head, data = address(out.getvalue()).split(",")
    assert head == f"data:image/{kind};base64"
    assert base64.b64decode(data) == out.getvalue()
    assert address(f"{head},{data}") == f"{head},{data}"


@pytest.mark.parametrize("picture", [b"GIF89a", b"", "https://example.org/a.png", "data:text/html,<b>", "/etc/hosts"])
def test_what_is_no_picture_or_lies_elsewhere_is_refused(picture):
    with pytest.raises(ConfigError, match="picture of the slider"):
        address(picture)


@pytest.mark.parametrize("text", [script("page"), style()], ids=["script", "style"])
def test_script_and_style_ask_nobody_for_anything(text):
    assert not re.search(r"https?:|import|fetch\(|url\(|XMLHttp|WebSocket|eval\(", text)
