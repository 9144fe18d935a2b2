"""Files of a result, read and offered for download."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import streamlit as st

from spade_core.reports import FORMS
from spade_core.ui.common.frame import show_folded


def read_array(data: bytes) -> np.ndarray:
    """Return the array of an NPY file of a result."""
    return np.load(io.BytesIO(data), allow_pickle=False)


Offer: TypeAlias = tuple[str, bytes | Callable[[], bytes], str, str]
"""A file to download: its label, its bytes or what makes them once they are asked for, its name, its media type."""
IN_A_ROW = 3


def show_downloads(offers: Sequence[Offer], command: str, *, key: str) -> None:
    """Offer files and the command that makes the same result.

    Args:
        offers: what is empty was not kept, and is not offered.
        key: what the keys begin with.
    """
    offers = [offer for offer in offers if offer[1]]
    st.subheader("Take it with you")
    for begin in range(0, len(offers), IN_A_ROW):
        for column, offer in zip(st.columns(IN_A_ROW), offers[begin : begin + IN_A_ROW], strict=False):
            label, data, name, kind = offer
            column.download_button(label, data, name, kind, key=f"{key}_{name}", on_click="ignore", width="stretch")
    shown = partial(st.code, command, language="bash", wrap_lines=True)
    show_folded("The same from the command line", shown, key=f"{key}_command", icon=":material/terminal:")


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """Return ``files`` as one archive; the same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def read_json(data: bytes) -> Any:
    """Return the value of a JSON file of a result."""
    return json.loads(data)


def report_offers(files: Mapping[str, bytes], command: str) -> list[Offer]:
    """Return a report of an analysis in all its forms, each made when it is asked for; ``command`` makes the same."""
    crop = read_array(files["crop.npy"])
    return [(form.label, partial(form.make, files, crop, command), form.name, form.media_type) for form in FORMS]
