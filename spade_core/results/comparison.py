"""One analysis: a picture, its trace, and the maps of several methods on the dense model and on the trace.

The command line, the worker and the library all come through :func:`analyse`, so that the same configuration gives the
same bits wherever it runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from spade_core.errors import ConfigError
from spade_core.models.labels import resolve_target
from spade_core.models.loading import LoadedModel
from spade_core.pictures.picture import Picture
from spade_core.progress import Progress, silent, span
from spade_core.pruning.spade import trace
from spade_core.pruning.trace import Trace
from spade_core.saliency import METHODS, Explanation, explain

TRACE_SHARE = 0.6  # of the progress bar; the methods share the rest


@dataclass(frozen=True)
class AnalysisConfig:
    """Everything but model and picture, JSON-able.

    Attributes:
        methods: slugs of ``METHODS``, in the order of computation.
        target: class index, label, or None for the dense model's top-1.
        trace: keyword arguments of ``spade_core.trace``.
        options: method slug -> keyword arguments of ``explain``.
        seed: of the views and of every method that draws.
    """

    methods: tuple[str, ...]
    target: int | str | None = None
    trace: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.methods:
            raise ConfigError("Choose at least one saliency method.")
        for slug in self.methods:
            if slug not in METHODS:
                raise ConfigError(f"There is no method {slug!r}: take one of {', '.join(METHODS)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {**asdict(self), "methods": list(self.methods)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AnalysisConfig:
        """Rebuild what :meth:`to_dict` gave."""
        return cls(**{**values, "methods": tuple(values["methods"])})


@dataclass(frozen=True)
class Pair:
    """The maps of one method: of the dense model and of its trace."""

    dense: Explanation
    spade: Explanation


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result of :func:`analyse`.

    Attributes:
        trace: with its report and fidelity.
        pairs: method slug -> maps; a method that this model does not support is in ``refused`` with the reason.
        seconds: of the whole analysis, without loading the model.
    """

    picture: Picture
    config: AnalysisConfig
    trace: Trace
    pairs: Mapping[str, Pair]
    refused: Mapping[str, str]
    seconds: float


def analyse(
    model: LoadedModel,
    picture: Picture,
    config: AnalysisConfig,
    *,
    make_trace: Callable[..., Trace] = trace,
    progress: Progress = silent,
    on_trace: Callable[[Trace], None] = lambda _: None,
    on_pair: Callable[[str, Pair], None] = lambda *_: None,
) -> Analysis:
    """Make the trace of ``picture`` and explain dense model and trace with every method.

    Args:
        model, picture, config: what to do.
        make_trace: called like ``spade_core.trace``; another one may keep traces.
        progress: called with (done, 1, note); may raise ``Cancelled``.
        on_trace, on_pair: called as soon as the trace and each method's two maps are there.

    Raises:
        LayerError: no chosen method supports this model.
        SpadeError: an option cannot be used.
    """
    start = time.perf_counter()
    refused = {slug: reason for slug in config.methods if (reason := METHODS[slug].unsupported(model))}
    methods = [slug for slug in config.methods if slug not in refused]
    if not methods:
        raise ConfigError(next(iter(refused.values())))
    target = None if config.target is None else resolve_target(model, config.target)
    pruned = make_trace(
        model, picture, **config.trace, target=target, seed=config.seed, progress=span(progress, 0, TRACE_SHARE)
    )
    on_trace(pruned)
    pairs = {}
    for index, slug in enumerate(methods):
        edges = [TRACE_SHARE + (1 - TRACE_SHARE) * (index + part) / len(methods) for part in (0, 0.5, 1)]
        options = {
            "method": slug,
            "target": pruned.fidelity.target,
            "seed": config.seed,
            **config.options.get(slug, {}),
        }
        dense = explain(model, picture, progress=span(progress, *edges[:2]), **options)
        spade = explain(pruned, picture, progress=span(progress, *edges[1:]), **options)
        pairs[slug] = Pair(dense, spade)
        on_pair(slug, pairs[slug])
    progress(1.0, 1.0, "done")
    return Analysis(picture, config, pruned, pairs, refused, time.perf_counter() - start)
