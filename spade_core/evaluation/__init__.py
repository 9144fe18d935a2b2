"""How well maps do, over a folder of pictures: arms by methods by processing, on one machine or many.

>>> from spade_core.evaluation import Configuration, run
>>> config = Configuration("trojan", arms=("dense", "weighted"), processing=("raw", "blur2"))
>>> outcome = run(sc.load_model("efficientnet_lite0_trojan"), "pictures", "out", config)

What there is to choose from is declared in ``benchmarks``, ``arms`` and ``processing``, which are read without torch;
the names below are imported on first use.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spade_core.evaluation.configuration import Configuration as Configuration
    from spade_core.evaluation.engine import run as run

_HOMES = {"Configuration": "configuration", "run": "engine"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'spade_core.evaluation' has no attribute {name!r}")
    return resolve_name(f"{__name__}.{_HOMES[name]}:{name}")
