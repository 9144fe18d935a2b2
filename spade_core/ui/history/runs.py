"""The runs of a browser: each page notes its own, and a page of their own lists them.

The list lies in the browser's storage and in no other place: the server cannot tell who ran what. An entry is a link,
by which a kept result is found again as for any link (``subject.start_of``), and an uploaded picture by the token that
the link holds (``uploads.Kept``).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import PurePath
from typing import Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st
from PIL import Image, ImageOps

from spade_core.config import ASSETS
from spade_core.pictures.picture import Source, bundled
from spade_core.pictures.viewer import address
from spade_core.ui.common import frame
from spade_core.ui.common.pickers import model_title
from spade_core.ui.common.subject import Asked

FOLDER = ASSETS / "history"
NOTED = ("saliency", "neurons", "trace", "folder")
PAGES = {slug: title for file, title, *_ in frame.PAGES if (slug := PurePath(file).stem) in NOTED}
"""The pages whose runs are noted, as links and people call them."""
MOST = 50  # runs that a browser keeps
LONGEST = {"query": 4000, "title": 120, "detail": 240, "thumb": 24_000}  # letters of what an entry says
SIDE = 112  # px of a small picture: twice what is shown
KEPT = 64  # thumbnails for all users, about 5 kB each, and the pictures that they are of, twice 38 kB

Picture = bytes | np.ndarray
"""A file's bytes, or uint8 ``(height, width, 3)``."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run that is done.

    Attributes:
        page: of ``PAGES``; query: the link's parameters, which open it there.
        at: when it was asked for, seconds since 1970; it tells one run from another.
        title, detail: what people call it.
        pictures: what stands beside that, small: what was looked at, and what was found.
    """

    page: str
    query: Mapping[str, str]
    at: float
    title: str
    detail: str
    pictures: Sequence[Picture]

    def to_dict(self) -> dict[str, object]:
        """Return the entry as the browser keeps it; each text no longer than ``LONGEST``."""
        thumb = thumbnail(*(one if isinstance(one, bytes) else _raw(one) for one in self.pictures))
        said = {"title": self.title[: LONGEST["title"]], "detail": self.detail[: LONGEST["detail"]]}
        return {"page": self.page, "query": urlencode(self.query), "at": self.at, **said, "thumb": thumb}


def note(page: str, asked: Asked, title: str, *details: str, found: Picture | None = None) -> None:
    """Let the browser add what a click has asked for, and is done, to its list; nothing where no link can name it.

    Args:
        title: of what was explained; details: of how, beside picture and model.
        found: what the list shows beside what the model saw.
    """
    if not (asked.clicked and asked.subject.linkable):
        return
    query = asked.choice.to_query(methods=page == "saliency")
    told = (called(asked.subject.source), model_title(asked.choice.model), *details)
    pictures = [asked.subject.crop] if found is None else [asked.subject.crop, found]
    note_run(Run(page, query, asked.at, title, " · ".join(told), pictures))


def note_run(run: Run) -> None:
    """Let the browser add a run to its list, once; nothing where its link is too long."""
    if len(urlencode(run.query)) <= LONGEST["query"]:
        _component()(key="noted", data={"most": MOST, "run": run.to_dict()})


def show_runs() -> None:
    """Draw the list, the newest run first."""
    _component()(key="runs", data={"most": MOST, "longest": LONGEST, "pages": PAGES})


def called(source: Source) -> str:
    """Return what people call a picture."""
    bundle, _, name = source["path"].partition(":")
    return bundled()[name].title if bundle == "bundled" and name in bundled() else source.get("name", "picture")


@lru_cache(maxsize=KEPT)
def thumbnail(*pictures: bytes) -> str:
    """Return pictures, bytes of files, beside each other as the address of a small WebP."""
    sheet, out = Image.new("RGB", (SIDE * len(pictures), SIDE)), io.BytesIO()
    for at, data in enumerate(pictures):
        with Image.open(io.BytesIO(data)) as image:
            sheet.paste(ImageOps.fit(image.convert("RGB"), (SIDE, SIDE)), (at * SIDE, 0))
    sheet.save(out, "WEBP", quality=70)
    return address(out.getvalue())


def _raw(pixels: np.ndarray) -> bytes:
    """Return pixels, small, as a file that takes no time to write."""
    out = io.BytesIO()
    ImageOps.fit(Image.fromarray(pixels), (SIDE, SIDE)).save(out, "PPM")
    return out.getvalue()


@cache
def _component() -> Any:
    html, css, js = ((FOLDER / f"runs.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component("runs", html=html, css=css, js=js)
