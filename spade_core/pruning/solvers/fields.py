"""Least squares of a layer that reads fewer receptive fields than it has columns.

Late layers have many columns and small maps: the classifier of a network reads one field a view. Their second moment
``H = F^T F`` is then known by the few fields ``F`` that it is made of, and whatever is multiplied or divided by it
costs products with the fields alone: ``(H + c I)^-1 F^T = F^T (F F^T + c I)^-1``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spade_core.models.weight_calls import Call
from spade_core.pruning.moments import input_columns, is_pointwise
from spade_core.pruning.solvers.common import INDEFINITE, mean_diagonal

FEWER = 2  # times as many columns as fields there must be: a product with the fields is two


@dataclass(frozen=True)
class Fields:
    """What a layer of one group reads, scaled so that products of the fields are means over them.

    Attributes:
        own: ``(1, fields, cols)``; ``own^T own`` is the second moment.
        dense: what the dense model reads at the same places, the same shape; None: nothing else.
    """

    own: Tensor
    dense: Tensor | None

    @classmethod
    def of(
        cls, x: Tensor, dense: Tensor | None, call: Call, positions: int | None, weights: Tensor | None
    ) -> Fields | None:
        """Return the fields of a call, or None where products with its second moment cost no more.

        Args:
            x: input of the call, see ``input_columns``; dense: the dense model's, the same shape.
            positions: at most how many positions the second moment is taken over; None: all.
            weights: ``(positions,)``, positive: what each counts in the means; None: all alike.
        """
        if call.kind != "linear" and not is_pointwise(call):
            return None
        own = input_columns(x, call)
        if FEWER * own.shape[1] > own.shape[2] or (positions is not None and positions < own.shape[1]):
            return None
        share = own.new_ones(own.shape[1]) if weights is None else weights
        scale = (share / share.sum()).sqrt().unsqueeze(1)
        return cls(own * scale, None if dense is None else input_columns(dense, call) * scale)

    def moved(self, rows: Tensor) -> Tensor:
        """Return ``rows H`` of ``(1, n, cols)``."""
        return rows @ self.own.transpose(1, 2) @ self.own

    def fit(self, weight: Tensor, damping: float) -> Tensor:
        """Return the damped least squares fit to the dense output, ``W + W (X - X') X'^T (H + c I)^-1``.

        Args:
            weight: dense, ``(1, rows, cols)``; damping: above 0, fraction of the mean nonzero diagonal of ``H``.

        Raises:
            ValueError: the fields are not finite, or the damping is too small to tell equal ones apart.
        """
        if self.dense is None:
            return weight
        kernel = self.own @ self.own.transpose(1, 2)
        kernel.diagonal(dim1=1, dim2=2).add_(self.pull(damping).unsqueeze(1))
        gap = weight @ (self.dense - self.own).transpose(1, 2)
        factor, info = torch.linalg.cholesky_ex(kernel)
        if bool(info.any()):
            raise ValueError(INDEFINITE)
        return weight + torch.cholesky_solve(gap.transpose(1, 2), factor).transpose(1, 2) @ self.own

    def pull(self, damping: float) -> Tensor:
        """Return ``damping`` times the mean nonzero diagonal of ``H``, ``(1,)``."""
        return damping * mean_diagonal(self.own.square().sum(1))
