"""The kind of job of the page of studies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spade_core.progress import Progress
from spade_core.study.assumed import Assumptions
from spade_core.study.design import Design
from spade_core.study.power import power_report
from spade_core.tasks.common import Emit

__all__ = ["study_power"]


def study_power(payload: Mapping[str, Any], *, emit: Emit, progress: Progress, device: str) -> dict[str, bytes]:
    """Return ``power.json``: :func:`spade_core.study.power.power_report`.

    Payload: ``design`` and ``assumptions`` as dictionaries, ``class_neurons``, ``participants``, ``simulations``,
    ``seed``.
    """
    found = power_report(
        Design.model_validate(payload["design"]), payload["class_neurons"], payload["participants"],
        Assumptions.from_dict(payload["assumptions"]), simulations=payload["simulations"], seed=payload["seed"],
        progress=progress,
    )  # fmt: skip
    return {"power.json": json.dumps(found).encode()}
