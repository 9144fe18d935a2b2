"""Files of a result, read and offered for download."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st


def read_array(data: bytes) -> np.ndarray:
    """Return the array of an NPY file of a result."""
    return np.load(io.BytesIO(data), allow_pickle=False)


def show_downloads(files: Mapping[str, bytes], command: str) -> None:
    """Offer figure, arrays and manifest, and the command that makes the same result."""
    st.subheader("Take it with you")
    columns = st.columns(3)
    arrays = {name: data for name, data in files.items() if name.endswith(".npy") and name != "crop.npy"}
    for column, label, name, data, kind in (
        (columns[0], "Figure (PNG)", "spade_figure.png", files["figure.png"], "image/png"),
        (columns[1], "Arrays (NPY, zipped)", "spade_arrays.zip", zip_files(arrays), "application/zip"),
        (columns[2], "Manifest (JSON)", "manifest.json", files["manifest.json"], "application/json"),
    ):
        column.download_button(label, data, name, kind, key=f"download_{name}", on_click="ignore", width="stretch")
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
