"""Files of a result, read and offered for download."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st


def read_array(data: bytes) -> np.ndarray:
    """Return the array of an NPY file of a result."""
    return np.load(io.BytesIO(data), allow_pickle=False)


def show_downloads(offers: Sequence[tuple[str, bytes, str, str]], command: str, *, key: str) -> None:
    """Offer files and the command that makes the same result.

    Args:
        offers: label, data, file name and media type of each file; what is empty was not kept, and is not offered.
        key: what the buttons' keys begin with.
    """
    offers = [offer for offer in offers if offer[1]]
    st.subheader("Take it with you")
    for column, (label, data, name, kind) in zip(st.columns(len(offers)), offers, strict=True):
        column.download_button(label, data, name, kind, key=f"{key}_{name}", on_click="ignore", width="stretch")
    st.caption("The same from the command line:")
    st.code(command, language="bash", wrap_lines=True)


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
