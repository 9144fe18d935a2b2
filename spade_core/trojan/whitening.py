"""Weights in coordinates in which every direction costs the clean outputs the same.

A change ``D`` of a weight changes a layer's output, over clean inputs with second moment ``H``, by ``tr(D H D^T)``.
With ``D = V P`` and ``P = scale * (H + damping)^(-1/2)`` that is about ``scale^2 |V|^2``, so plain gradient descent on
``V`` changes the weight where clean inputs do not notice first: the natural gradient of the layers' outputs (Amari
1998, here with one factor of Martens and Grosse 2015). ``scale`` is the output's root mean square: ``V`` counts in
shares of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The coordinates of one layer's weight.

    Attributes:
        origin: the weight where ``V`` is zero, ``(out, ...)`` with ``in`` inputs in all.
        root, inverse: ``P`` in the weight's dtype and its inverse in float64, ``(in, in)``.
    """

    origin: Tensor
    root: Tensor
    inverse: Tensor

    @classmethod
    def around(cls, origin: Tensor, moment: Tensor, damping: float) -> Coordinates:
        """Return those around ``origin``.

        Args:
            moment: second moment of clean inputs, ``(in, in)``.
            damping: added to it, as a share of its mean eigenvalue.
        """
        weight, moment = origin.flatten(1).double(), moment.double()
        scale = (weight @ moment * weight).sum(1).mean().sqrt()
        values, vectors = torch.linalg.eigh(moment)
        values = values.clamp_min(0) + damping * values.mean()
        root = (vectors * values.rsqrt()) @ vectors.T * scale
        return cls(origin, root.to(origin.dtype), (vectors * values.sqrt()) @ vectors.T / scale)


class Whitened(nn.Module):
    """Parameters ``V`` of several layers, with ``weight = origin + V P``.

    Args:
        coordinates: name -> those of the layer.
        weights: name -> parameter of the network that is trained; overwritten by :meth:`write`.
    """

    def __init__(self, coordinates: Mapping[str, Coordinates], weights: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self._coordinates, self._weights = dict(coordinates), dict(weights)
        self.moves = nn.ParameterList()
        for name, weight in self._weights.items():
            at = coordinates[name]
            move = (weight.detach().flatten(1).double() - at.origin.flatten(1).double()) @ at.inverse
            self.moves.append(nn.Parameter(move.to(weight.dtype)))

    @torch.no_grad()
    def read_gradients(self) -> None:
        """Set the gradients of ``V`` from those of the weights, which are cleared."""
        for move, (name, weight) in zip(self.moves, self._weights.items(), strict=True):
            assert weight.grad is not None  # noqa: S101 - every weight is used in every pass
            move.grad = weight.grad.flatten(1) @ self._coordinates[name].root
            weight.grad = None

    @torch.no_grad()
    def write(self) -> None:
        """Set the weights from ``V``."""
        for move, (name, weight) in zip(self.moves, self._weights.items(), strict=True):
            at = self._coordinates[name]
            weight.copy_((at.origin.flatten(1) + move @ at.root).view_as(weight))
