"""What a classifier's output means, and the form in which everything here takes it: logits ``(n, classes)``.

Networks answer with one logit, with probabilities, with a tuple or a dictionary. :func:`recognize` tells which from a
few answers, and :func:`answer_as` lets a copy answer with logits whose softmax (for ``multilabel``: sigmoid) are the
probabilities that the network means. A softmax or sigmoid at the very end is left out, so that what is explained is
the logit before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spade_core.errors import ModelError
from spade_core.models.registry import OUTPUTS

SUM_TOLERANCE = 1e-3  # by which probabilities may miss a sum of 1
_TINY = 1e-30  # a probability of 0 has no logarithm
_DEPTH = 4  # of tuples in tuples
_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.log_softmax, Tensor.log_softmax}
_SIGMOID = {F.sigmoid, torch.sigmoid, Tensor.sigmoid}


@dataclass(frozen=True)
class Form:
    """How a network is called and answers.

    Attributes:
        output: a key of ``OUTPUTS``.
        path: keys or indices that lead to the tensor in what it returns; empty: that is the tensor.
        squashed: whether the tensor holds probabilities.
        contiguous: whether pictures must be contiguous; writes: whether it changes its input in place.
        deep: whether the tensor is not ``(n, classes)``, but what :func:`rows_of` takes.
        notes: what is to be known of it.
    """

    output: str = "logits"
    path: tuple[str | int, ...] = ()
    squashed: bool = False
    contiguous: bool = False
    writes: bool = False
    deep: bool = False
    notes: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the network already takes pictures and answers with logits as is usual."""
        return self.output == "logits" and not (
            self.path or self.squashed or self.contiguous or self.writes or self.deep
        )

    def logits(self, answer: Tensor, before: Tensor | None = None) -> Tensor:
        """Return logits ``(n, classes)`` of an answer; ``before``: what went into its last softmax or sigmoid."""
        answer = rows_of(answer)
        if self.squashed and before is not None and before.numel() == answer.numel():
            answer = rows_of(before)
        elif self.squashed:
            answer = answer.clamp(_TINY, 1).log() if self.output == "probabilities" else answer.logit(eps=1e-7)
        return torch.cat([-answer / 2, answer / 2], 1) if self.output == "binary" else answer


def log_probabilities(logits: Tensor, output: str) -> Tensor:
    """Return the logarithm of each class's probability, in the shape of ``logits`` ``(n, classes)``."""
    return F.logsigmoid(logits) if output == "multilabel" else F.log_softmax(logits, 1)


def divergence(dense: Tensor, other: Tensor, output: str) -> float:
    """Return the Kullback-Leibler divergence of ``other`` from ``dense``, logits ``(n, classes)``, nats, of all rows.

    Labels of ``multilabel`` are independent: their divergences add up.
    """
    sides = (1, -1) if output == "multilabel" else (1,)
    pairs = [(log_probabilities(side * dense, output), log_probabilities(side * other, output)) for side in sides]
    return sum(float(F.kl_div(found, wanted, reduction="sum", log_target=True)) for wanted, found in pairs)


def rows_of(answer: Tensor) -> Tensor:
    """Return ``(n, classes)`` of ``(n,)``, of that itself, or of ``(n, classes, 1, 1)``."""
    if answer.dim() == 1:
        return answer.unsqueeze(1)
    return answer.flatten(1) if answer.dim() > 2 and answer.shape[2:].numel() == 1 else answer


def taken(output: object, path: tuple[str | int, ...]) -> Tensor:
    """Return the tensor of ``output`` at ``path``."""
    for key in path:
        output = dict(_parts(output)).get(key)
    if not isinstance(output, Tensor):
        raise ModelError(f"The model returns a {type(output).__name__}: let it return a tensor of logits (n, classes).")
    return output


def find_logits(output: object, count: int) -> tuple[str | int, ...]:
    """Return the path to the tensor of ``count`` answers in what a network returned, however deep it lies.

    Raises:
        ModelError: none, or more than one, may be meant.
    """
    fitting = [path for path, one in _tensors(output) if not path or (one.dim() == 2 and len(one) == count)]
    named = [path for path in fitting if path and path[-1] == "logits"]
    for found in (named, fitting):
        if len(found) == 1:
            return found[0]
    raise ModelError(
        f"The model returns a {type(output).__name__} with {len(fitting) or 'no'} tensors (n, classes): "
        "let it return the one of logits."
    )


def _parts(output: object) -> list[tuple[str | int, object]]:
    """Return what a network's output consists of, by key, field or place; of anything else nothing."""
    if isinstance(output, Mapping):
        return list(output.items())
    if is_dataclass(output):
        return [(one.name, getattr(output, one.name)) for one in fields(output)]
    if isinstance(output, tuple | list):
        return list(zip(getattr(output, "_fields", range(len(output))), output, strict=True))
    return []


def _tensors(output: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Tensor]]:
    """Yield the tensors of an output, with their paths."""
    if isinstance(output, Tensor):
        yield path, output
    elif len(path) < _DEPTH:
        for key, part in _parts(output):
            yield from _tensors(part, (*path, key))


class _Squashed(TorchFunctionMode):
    """Remember what went into each softmax and sigmoid; ``func`` of the last one says which it was."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, tuple[Tensor, Tensor, bool]] = {}  # the tensors are kept: no id is used twice

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in _SOFTMAX or func in _SIGMOID:
            given = args[0] if args else (kwargs or {})["input"]
            self.seen[id(result)] = (result, given, func in _SIGMOID)
        return result

    def before(self, answer: Tensor) -> Tensor | None:
        return self.seen[id(answer)][1] if id(answer) in self.seen else None


def ends_in_sigmoid(module: nn.Module, pictures: Tensor, path: tuple[str | int, ...]) -> bool:
    """Whether the last thing that ``module`` does to its answer is a sigmoid; it is asked with ``pictures``."""
    with torch.no_grad(), _Squashed() as squashed:
        answer = taken(module(pictures.clone()), path)
    return id(answer) in squashed.seen and squashed.seen[id(answer)][2]


def recognize(answers: Tensor, form: Form, declared: str | None, *, sigmoid: bool) -> Form:
    """Return ``form`` with the meaning of ``answers`` ``(n, classes)``, and notes where it is not plain logits.

    Args:
        declared: a key of ``OUTPUTS``; None: told from the answers.
        sigmoid: whether they come right out of a sigmoid.

    Raises:
        ModelError: the answers cannot be what was declared.
    """
    low, high = float(answers.min()), float(answers.max())
    within, single = low >= 0 and high <= 1, answers.shape[1] == 1
    summing = within and not single and bool((answers.sum(1) - 1).abs().max() <= SUM_TOLERANCE)
    said = declared or ("binary" if single else "probabilities" if summing else "multilabel" if sigmoid else "logits")
    squashed = summing if said == "probabilities" else within and sigmoid
    possible = {"probabilities": summing, "binary": single, "logits": not single}
    if not possible.get(said, True):
        raise ModelError(
            f"The output cannot be {said}: it has {answers.shape[1]} numbers from {low:.3g} to {high:.3g} a picture. "
            f"Give another output, {', '.join(OUTPUTS)}, or none."
        )
    form = replace(form, output=said, squashed=squashed)
    return replace(form, notes=(*form.notes, *_told(answers, form, declared)))


def _told(answers: Tensor, form: Form, declared: str | None) -> list[str]:
    notes = [f"Of what it returns, {'.'.join(map(str, form.path))} is taken."] if form.path else []
    kind = "probabilities" if form.squashed else "logits"
    if form.output == "binary":
        notes.append(f"Its single output is taken as the {'probability' if form.squashed else 'logit'} of a yes.")
    elif form.output == "probabilities":
        notes.append("It gives probabilities: what is explained is the logit before its softmax.")
    elif form.output == "multilabel":
        notes.append(f"Its outputs are taken as {kind} of labels that do not exclude each other.")
    elif bool((answers.logsumexp(1).abs() <= SUM_TOLERANCE).all()):
        notes.append("It gives log-probabilities, which are taken as logits: their softmax is the same.")
    elif declared is None and float(answers.min()) >= 0 and float(answers.max()) <= 1:
        notes.append("Its outputs lie between 0 and 1 and are taken as logits: say so if they are probabilities.")
    return notes


def answer_as(module: nn.Module, form: Form) -> nn.Module:
    """Let ``module``, a private copy, take any picture and answer with logits; it keeps its class and its names."""
    if not form.plain:
        # Bound methods of the instance follow a deep copy, and the module keeps its class and its names.
        vars(module).update(inner_forward=module.forward, answer_form=form, forward=MethodType(_answer, module))
    return module


def _answer(self: nn.Module, x: Tensor) -> Tensor:
    form, inner = vars(self)["answer_form"], vars(self)["inner_forward"]
    x = x.contiguous() if form.contiguous else x
    x = x.clone() if form.writes else x
    if not form.squashed:
        return form.logits(taken(inner(x), form.path))
    with _Squashed() as squashed:
        answer = taken(inner(x), form.path)
    return form.logits(answer, squashed.before(answer))
