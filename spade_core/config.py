"""Settings of one installation, from environment variables ``SPADE_*``.

A field's variable is ``SPADE_`` and the field's name in capitals, where it names no other; see its metadata.
``Settings.from_environment()`` reads them all and refuses unusable values with a sentence that names the variable.
pydantic-settings would need as many parsers, and read twenty times as slowly (1.0 ms against 0.05 ms, several times a
run of a page) after an import of 0.15 s more, which a list of the bundled pictures would wait for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, TypeVar, get_args

from spade_core.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent
INSTALLED = (_PACKAGE / "assets").is_dir()  # from a wheel, which holds inside the package what a checkout has beside it
ASSETS = _PACKAGE / "assets" if INSTALLED else _PACKAGE.parent / "assets"
APP = _PACKAGE / "ui" / "app" / "app.py" if INSTALLED else _PACKAGE.parent / "app.py"
"""The program's own files, and the script of the pages."""

Mode = Literal["local", "lab", "study", "demo"]
"""What a server is for; see ``roles``."""

T = TypeVar("T")
_SUFFIXES = {"K": 2**10, "M": 2**20, "G": 2**30}


def parse_bytes(text: str) -> int:
    """Return a number of bytes from ``"1000000"``, ``"512M"`` or ``"1.5G"`` (powers of 1024)."""
    text = text.strip().upper().removesuffix("B")
    factor = _SUFFIXES.get(text[-1:], 1)
    value = float(text[:-1] if factor > 1 else text)
    if not 0 <= value < 2**60:
        raise ValueError(text)
    return int(value * factor)


def parse_flag(text: str) -> bool:
    """Return a truth value from ``1/0``, ``true/false``, ``yes/no`` or ``on/off``."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return known[text.strip().lower()]


def parse_count(text: str) -> int:
    """Return a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def parse_path(text: str) -> Path:
    """Return a path with ``~`` expanded."""
    return Path(text).expanduser()


def parse_paths(text: str) -> tuple[Path, ...]:
    """Return the paths of a list separated as in ``PATH``, each once, with ``~`` expanded."""
    return tuple(dict.fromkeys(parse_path(part.strip()) for part in text.split(os.pathsep) if part.strip()))


def parse_emails(text: str) -> tuple[str, ...]:
    """Return the addresses of a list separated by commas, as they are written."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not all(part.count("@") == 1 and " " not in part for part in found):
        raise ValueError(text)
    return found


def parse_origins(text: str) -> tuple[str, ...]:
    """Return the origins, such as ``https://lab.example.org``, of a list separated by commas or spaces."""
    found = tuple(text.replace(",", " ").split())
    if not all(re.fullmatch(r"https?://[A-Za-z0-9.\-]+(:\d{1,5})?", origin) for origin in found):
        raise ValueError(text)
    return found


def parse_mode(text: str) -> Mode:
    """Return a mode of the server."""
    return {str(mode): mode for mode in _MODES}[text]


_MODES: tuple[Mode, ...] = get_args(Mode)


def _memory() -> int:
    """Return three quarters of this computer's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 * 3


def _setting(default: T, parse: Callable[[str], T], doc: str, *, variable: str = "", secret: bool = False) -> T:
    return field(default=default, repr=not secret, metadata={"variable": variable, "parse": parse, "doc": doc})


@dataclass(frozen=True)
class Settings:
    """Typed settings; see each field's metadata for its meaning."""

    # Ruff knows no field in a function that returns one, where the type is none of its own.
    mode: Mode = _setting("local", parse_mode, f"what the server is for: {', '.join(_MODES)}")  # noqa: RUF009
    data_dir: Path = _setting(Path.home() / ".spade", parse_path, "folder of results and caches")  # noqa: RUF009
    device: str = _setting("auto", str, "auto, cpu, cuda or cuda:N")
    max_h_bytes: int = _setting(2**30, parse_bytes, "a layer whose second moment would be larger stays dense")
    max_calibration_bytes: int = _setting(
        8 * 2**30, parse_bytes, "sequential calibration is refused when its activations would need more memory"
    )
    allow_weights_upload: bool = _setting(False, parse_flag, "let users upload own weights in the page")
    max_weights_bytes: int = _setting(2**30, parse_bytes, "size limit of an own weights file in the page")
    upload_bytes: int = _setting(2 * 2**30, parse_bytes, "memory that uploaded files of all open tabs may take")
    references: tuple[Path, ...] = _setting(
        (), parse_paths, "folders of reference pictures, separated as in PATH; the bundled ones can always be chosen"
    )
    results_bytes: int = _setting(2 * 2**30, parse_bytes, "kept results are deleted, oldest use first, above this size")
    queue_length: int = _setting(32, parse_count, "jobs that may wait for one device")
    session_jobs: int = _setting(4, parse_count, "jobs that one session may have waiting")
    job_seconds: int = _setting(3600, parse_count, "seconds after which a job is stopped")
    job_bytes: int = _setting(_memory(), parse_bytes, "a job whose process holds more memory is stopped")
    kept_bytes: int = _setting(
        2 * 2**30, parse_bytes, "a worker that holds more memory after a job gives back what that has freed"
    )
    idle_seconds: int = _setting(
        60, parse_count, "seconds without a job after which the worker gives back freed memory and the reserve ends"
    )
    database_url: str = _setting(
        "", str, "SQLAlchemy address of the study database; default: a SQLite file in the data folder"
    )
    admin_password_hash: str = _setting(
        "",
        str,  # judged where it is used: a message about it must not repeat what may be the password itself
        "argon2 hash of the study page's password; without it the page opens on the server's own machine only",
        secret=True,
    )
    admin_emails: tuple[str, ...] = _setting(
        (), parse_emails, "addresses, separated by commas, that an OIDC login opens the study page to"
    )
    open_pages: int = _setting(
        0, parse_count, "pages that may be open at once; default: 1000, where the descriptors allow it"
    )
    frame_ancestors: tuple[str, ...] = _setting(
        (), parse_origins, "origins, separated by commas, whose pages may show this server's in a frame"
    )
    jobs_mode: str = _setting(
        "worker", str, "worker (a process per device) or inline (for tests)", variable="SPADE_JOBS"
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read ``SPADE_*``.

        Raises:
            ConfigError: a variable cannot be parsed.
        """
        environment = os.environ if environment is None else environment
        values = {}
        for item in fields(cls):
            variable = item.metadata["variable"] or f"SPADE_{item.name.upper()}"
            text = environment.get(variable, "").strip()
            try:
                if text:
                    values[item.name] = item.metadata["parse"](text)
            except (ValueError, KeyError):
                sentence = f"cannot be used: it sets “{item.metadata['doc']}”; correct or unset it."
                raise ConfigError(f"{variable}={text!r} {sentence}") from None
        return cls(**values)
