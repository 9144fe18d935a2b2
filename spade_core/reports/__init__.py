"""One analysis, or a folder, as a report for readers and papers: a page that opens offline, a PDF, the figure alone.

Made from the files of an analysis, without torch, so that a page can offer it for a result of any age.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from threading import Lock

import numpy as np

_ONE = Lock()  # a page makes reports in threads, and matplotlib's settings are the whole process's


@dataclass(frozen=True)
class Form:
    """One form of a report; ``maker``: module and function of this package, imported when it is asked for."""

    label: str
    name: str
    media_type: str
    maker: str

    def make(self, files: Mapping[str, bytes], crop: np.ndarray, command: str = "") -> bytes:
        """Return the file, of the arguments of ``content.read_content``; one at a time."""
        with _ONE:
            content = resolve_name("spade_core.reports.content:read_content")(files, crop, command)
            made: bytes = resolve_name(f"spade_core.reports.{self.maker}")(content)
        return made


FOLDER_PDF = "pictures.pdf"


def folder_report(files: Mapping[str, bytes], command: str = "") -> bytes:
    """Return the PDF of a job ``folder``, of the arguments of ``folder.read_content``; one at a time."""
    with _ONE:
        content = resolve_name("spade_core.reports.folder:read_content")(files, command)
        made: bytes = resolve_name("spade_core.reports.folder:folder_pdf")(content)
    return made


FORMS = (
    Form("Report (HTML)", "report.html", "text/html", "page:report_html"),
    Form("Report (PDF)", "report.pdf", "application/pdf", "paper:report_pdf"),
    Form("Figure (SVG)", "figure.svg", "image/svg+xml", "paper:figure_svg"),
    Form("Figure (PNG, 300 dpi)", "figure_300dpi.png", "image/png", "paper:figure_png"),
)
