"""What every solver shares: the problem in one shape, dead inputs, damping, exact counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LADDER_START = 1e-8
LADDER_STEP = 10.0
LADDER_STOP = 100.0
STRIPE = 512  # columns at once where a symmetric matrix is multiplied by halves
IN_PLACE = 2048  # columns from which on a matrix is factorized where it stands
PANEL = 128  # columns at once there
INDEFINITE = "second_moment is not positive semidefinite"


@dataclass(frozen=True)
class Pruned:
    """A solved layer.

    Attributes:
        weight: in the shape and dtype of the weight that was given.
        damping: what was added to the diagonal, as a fraction of its mean nonzero entry; above the request if the
            second moment was singular.
        loss: ``||(w - w0) X||^2``, the mean over the positions, where the solver knows it; else None.
    """

    weight: Tensor
    damping: float
    loss: float | None = None


@dataclass(frozen=True)
class Problem:
    """One layer, checked and brought to ``(groups, rows, cols)`` in the solving dtype.

    Attributes:
        weight: ``(groups, rows, cols)``, a private copy in the second moment's dtype.
        second_moment: ``(groups, cols, cols)``.
        zeros: number of zeros that the solved layer must have.
        forced: bool ``(groups, rows, cols)``: weights that go first, being zero already or reading a dead input.
    """

    weight: Tensor
    second_moment: Tensor
    zeros: int
    forced: Tensor
    original: Tensor

    @classmethod
    def build(cls, weight: Tensor, second_moment: Tensor, sparsity: float) -> Problem:
        """Check the arguments of ``prune`` and build the problem.

        Raises:
            ValueError: shapes do not fit, ``sparsity`` is outside 0..1, or a value is not finite.
        """
        _check(weight, second_moment, sparsity)
        dtype = second_moment.dtype
        moment = second_moment if second_moment.dim() == 3 else second_moment.unsqueeze(0)
        work = weight.detach().to(dtype, copy=True)
        work = work if work.dim() == 3 else work.unsqueeze(0)
        dead = moment.diagonal(dim1=1, dim2=2) == 0
        forced = (work == 0) | dead.unsqueeze(1)
        return cls(work, moment, round(sparsity * weight.numel()), forced, weight)

    @property
    def existing(self) -> int:
        """Number of weights that are zero already."""
        return int((self.weight == 0).sum())

    def finish(self, weight: Tensor, damping: float, loss: float | None = None) -> Pruned:
        """Return the solved weight in the shape and dtype that was given."""
        return Pruned(weight.reshape(self.original.shape).to(self.original.dtype), damping, loss)

    def unchanged(self) -> Pruned:
        """Return the layer bit for bit as it was given."""
        return Pruned(self.original.detach().clone(), 0.0)

    def without_smallest(self, score: Tensor) -> Pruned:
        """Return the layer without the weights of the smallest score, the others as they are.

        Args:
            score: ``(groups, rows, cols)``, at least 0; the forced weights go first whatever theirs is.
        """
        if self.zeros <= self.existing:
            return self.unchanged()
        # Among the forced ones existing zeros come first, so that the count is exact.
        score = torch.where(self.weight == 0, -2, torch.where(self.forced, -1, score)).flatten()
        # The smallest go, the first ones among equals: the same as by a stable sort, but faster.
        limit = score.kthvalue(self.zeros).values
        gone = score < limit
        gone[(score == limit).nonzero().flatten()[: self.zeros - int(gone.sum())]] = True
        return self.finish(self.weight.flatten().masked_fill(gone, 0), 0.0)

    def settled(self) -> Pruned | None:
        """Return the layer where nothing has to be compensated, else None.

        It stays as it is where it has its zeros already; if the forced weights use up the request, the smallest of them
        go: removing a weight on a dead input changes nothing else.
        """
        if self.zeros <= self.existing:
            return self.unchanged()
        if self.zeros > int(self.forced.sum()):
            return None
        magnitude = torch.where(self.forced, self.weight.abs(), torch.inf).flatten()
        order = magnitude.argsort(stable=True)[: self.zeros]
        weight = self.weight.flatten().clone()
        weight[order] = 0
        return self.finish(weight, 0.0)


def _check(weight: Tensor, second_moment: Tensor, sparsity: float) -> None:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity must lie between 0 and 1, not {sparsity}")
    if weight.dim() not in (2, 3) or second_moment.dim() != weight.dim():
        raise ValueError("weight must be (rows, cols) or (groups, rows, cols), second_moment likewise with cols x cols")
    cols = weight.shape[-1]
    if tuple(second_moment.shape) != (*weight.shape[:-2], cols, cols):
        raise ValueError(f"second_moment {tuple(second_moment.shape)} does not fit weight {tuple(weight.shape)}")
    if second_moment.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"second_moment must be float32 or float64, not {second_moment.dtype}")
    # A finite sum is quickly found and has finite terms only; one that is not may have overflowed.
    if not all(bool(torch.isfinite(one.sum()) or torch.isfinite(one).all()) for one in (second_moment, weight)):
        raise ValueError("weight and second_moment must be finite")


@dataclass(frozen=True)
class Factor:
    """A damped, invertible second moment.

    Attributes:
        moment: ``(groups, cols, cols)``, dead inputs set to the identity, damped.
        cholesky: its lower Cholesky factor.
        damping: the fraction that was used.
    """

    moment: Tensor
    cholesky: Tensor
    damping: float


def factorize(second_moment: Tensor, damping: float) -> Factor:
    """Make ``second_moment`` invertible and factorize it, climbing a damping ladder where it is singular.

    It is damped first, see :func:`damped`; while any group is singular to working precision the damping is raised
    tenfold, for all groups alike.

    Args:
        second_moment: ``(groups, cols, cols)``, symmetric, positive semidefinite up to rounding.
        damping: fraction of the mean nonzero diagonal, at least 0.
    """
    for fraction in _ladder(damping):
        moment, _ = damped(second_moment, fraction)
        cholesky, info = torch.linalg.cholesky_ex(moment)
        if not bool(info.any()) and _well_conditioned(cholesky, moment.diagonal(dim1=1, dim2=2)):
            return Factor(moment, cholesky, fraction)
    raise ValueError(INDEFINITE)


def factorize_upper(second_moment: Tensor, damping: float) -> tuple[Tensor, float]:
    """Return the upper triangular ``V`` of ``V V^T = H``, damped as :func:`factorize` does, and the damping.

    Args:
        second_moment, damping: as for :func:`factorize`.

    Returns:
        ``V``, ``(groups, cols, cols)``; what lies below its diagonal has no meaning.
    """
    if second_moment.shape[-1] < IN_PLACE or second_moment.device.type != "cpu":
        factor = factorize(second_moment.flip(1, 2), damping)  # from the lower right corner
        return factor.cholesky.flip(1, 2).contiguous(), factor.damping
    for fraction in _ladder(damping):
        moment, _ = damped(second_moment, fraction)
        diagonal = moment.diagonal(dim1=1, dim2=2).clone()
        if upper_factor(moment) and _well_conditioned(moment, diagonal):
            return moment, fraction
    raise ValueError(INDEFINITE)


def _ladder(damping: float) -> Iterator[float]:
    yield damping
    while (damping := max(damping * LADDER_STEP, LADDER_START)) <= LADDER_STOP:
        yield damping


def upper_factor(moment: Tensor) -> bool:
    """Overwrite the upper half of ``moment`` by ``V``; return whether all groups are positive definite.

    It goes by blocks of columns from the right, each brought up to date by one product with all blocks right of it:
    as fast as LAPACK, which factorizes from the left, so that a copy would have to be reversed, and its factor again.

    Args:
        moment: ``(groups, cols, cols)``, symmetric; its lower half has no meaning afterwards.
    """
    for end in range(moment.shape[-1], 0, -PANEL):
        part = slice(max(0, end - PANEL), end)
        moment[:, :end, part].baddbmm_(moment[:, :end, end:], moment[:, part, end:].transpose(1, 2), alpha=-1)
        reverse, info = torch.linalg.cholesky_ex(moment[:, part, part].flip(1, 2))
        if bool(info.any()):
            return False
        moment[:, part, part] = corner = reverse.flip(1, 2)
        eye = torch.eye(corner.shape[1], dtype=moment.dtype, device=moment.device).expand_as(corner)
        inverse = torch.linalg.solve_triangular(corner, eye, upper=True)
        moment[:, : part.start, part] = moment[:, : part.start, part] @ inverse.transpose(1, 2)
    return True


def damped(second_moment: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Return a copy with ``damping`` times each group's mean nonzero diagonal on it, and what was added, ``(groups,)``.

    Dead inputs (zero diagonal) get a diagonal of that mean first: they stand alone, so this changes no other input.
    """
    if damping < 0:
        raise ValueError(f"damping must not be negative, but is {damping}")
    diagonal = second_moment.diagonal(dim1=1, dim2=2)
    mean, moment = mean_diagonal(diagonal), second_moment.clone()
    alive = diagonal.where(diagonal != 0, mean.unsqueeze(1))
    moment.diagonal(dim1=1, dim2=2).copy_(alive + damping * mean.unsqueeze(1))
    return moment, damping * mean


def mean_diagonal(diagonal: Tensor) -> Tensor:
    """Return the mean of each group's nonzero entries, ``(groups,)`` of ``(groups, cols)``; 1 where there are none."""
    alive = diagonal != 0
    return (diagonal.sum(1) / alive.sum(1).clamp(min=1)).where(alive.any(1), torch.ones_like(diagonal[:, 0]))


def _well_conditioned(factor: Tensor, diagonal: Tensor) -> bool:
    # A Cholesky factorization of a singular matrix often "succeeds" with pivots of pure rounding noise.
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    noise = 10 * torch.finfo(factor.dtype).eps
    return bool((pivots > noise * diagonal).all())


def relative_error(
    before: Tensor, after: Tensor, second_moment: Tensor, *, loss: float | None = None, energy: float | None = None
) -> float:
    """Return ``||(before - after) X||^2 / ||before X||^2`` from the second moment alone (0 where the output is 0).

    Args:
        before, after: ``(rows, cols)`` or ``(groups, rows, cols)``.
        second_moment: ``(cols, cols)`` or ``(groups, cols, cols)``.
        loss, energy: the two squared lengths, means over the positions, as far as they are known already.
    """
    dtype = second_moment.dtype
    energy = _energy(before.to(dtype), second_moment) if energy is None else energy
    loss = _energy((before - after).to(dtype), second_moment) if loss is None else loss
    return max(0.0, loss) / energy if energy > 0 else 0.0


def _energy(weight: Tensor, moment: Tensor) -> float:
    """Return ``trace(W H W^T)``, half of it multiplied out, as ``H`` is symmetric."""
    total = weight.new_zeros(())
    for start in range(0, weight.shape[-1], STRIPE):
        part = slice(start, start + STRIPE)
        left = 2 * (weight[..., :start] @ moment[..., :start, part]) if start else 0
        total += ((left + weight[..., part] @ moment[..., part, part]) * weight[..., part]).sum()
    return float(total)
