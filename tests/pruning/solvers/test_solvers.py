"""The solvers against their definitions, in float64."""

from __future__ import annotations

import itertools

import pytest
import torch

from spade_core.pruning.solvers import SOLVERS, admm, magnitude, obs, random, sparsegpt
from spade_core.pruning.solvers.common import factorize_upper, relative_error, upper_factor
from tests.reference.solvers import brute_force_obs, damped, naive_sparsegpt

SHAPES = [(1, 4, 8), (3, 2, 6), (1, 1, 7), (1, 6, 1), (5, 1, 9)]
INPUTS = ["full", "correlated", "deficient", "dead", "zeros"]
SPARSITIES = [0, 0.1, 0.3, 0.5, 0.77, 0.95, 1]


def problem(shape, inputs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    groups, rows, cols = shape

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    x = normal(groups, cols, 3 if inputs == "deficient" else 40)
    if inputs == "correlated":
        x = x + 3 * normal(groups, 1, x.shape[-1])
    if inputs == "dead":
        x[:, ::3] = 0
        x[0] = 0 if groups > 1 else x[0]
    weight = normal(groups, rows, cols)
    if inputs == "zeros":
        weight[torch.rand(weight.shape, generator=generator) < 0.2] = 0
    return weight, x @ x.mT / x.shape[-1]


def zeros(weight):
    return int((weight == 0).sum())


CASES = list(itertools.product(SHAPES, INPUTS, SPARSITIES))


@pytest.mark.parametrize(("shape", "inputs", "sparsity"), CASES)
def test_obs_equals_brute_force_elimination(shape, inputs, sparsity):
    weight, moment = problem(shape, inputs)
    wanted = round(sparsity * weight.numel())
    found = obs.prune(weight, moment, sparsity)
    assert zeros(found.weight) == max(wanted, zeros(weight))
    if wanted <= zeros(weight):
        assert torch.equal(found.weight, weight)
        return
    expected = brute_force_obs(weight, moment, wanted, found.damping)
    if inputs == "dead":  # which of the free weights go first is a tie: compare the error
        assert relative_error(weight, found.weight, moment) == pytest.approx(
            relative_error(weight, expected, moment), abs=1e-12
        )
    else:
        torch.testing.assert_close(found.weight, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("block_size", [1, 3, 4])
@pytest.mark.parametrize(("shape", "inputs", "sparsity"), CASES)
def test_sparsegpt_equals_the_naive_version(shape, inputs, sparsity, block_size):
    weight, moment = problem(shape, inputs)
    wanted = round(sparsity * weight.numel())
    found = sparsegpt.prune(weight, moment, sparsity, block_size=block_size)
    assert zeros(found.weight) == max(wanted, zeros(weight))
    forced = (weight == 0) | (moment.diagonal(dim1=1, dim2=2) == 0).unsqueeze(1)
    if wanted <= zeros(weight):
        assert torch.equal(found.weight, weight)
    elif wanted > int(forced.sum()):
        expected = naive_sparsegpt(weight, moment, wanted, found.damping, block_size)
        torch.testing.assert_close(found.weight, expected, rtol=1e-8, atol=1e-9)
    else:
        assert relative_error(weight, found.weight, moment) == 0


def test_sparsegpt_crosses_its_lazy_blocks():
    weight, moment = problem((1, 3, 300), "correlated")
    moment = moment + 0.1 * torch.eye(300, dtype=torch.float64)
    for block_size in (1, 7, 200):
        found = sparsegpt.prune(weight, moment, 0.5, block_size=block_size)
        expected = naive_sparsegpt(weight, moment, 450, found.damping, block_size)
        torch.testing.assert_close(found.weight, expected, rtol=1e-7, atol=1e-8)


@pytest.fixture
def in_place(monkeypatch):
    """Factorize small matrices as large ones are."""
    monkeypatch.setattr("spade_core.pruning.solvers.common.IN_PLACE", 1)
    monkeypatch.setattr("spade_core.pruning.solvers.common.PANEL", 3)


@pytest.mark.parametrize("block_size", [1, 4])
@pytest.mark.parametrize(("shape", "inputs"), list(itertools.product(SHAPES, INPUTS)))
def test_sparsegpt_is_the_same_with_a_factor_made_in_place(shape, inputs, block_size, in_place):
    weight, moment = problem(shape, inputs)
    before = moment.clone()
    wanted = round(0.5 * weight.numel())
    found = sparsegpt.prune(weight, moment, 0.5, block_size=block_size)
    assert torch.equal(moment, before)
    forced = (weight == 0) | (moment.diagonal(dim1=1, dim2=2) == 0).unsqueeze(1)
    if int(forced.sum()) < wanted:
        expected = naive_sparsegpt(weight, moment, wanted, found.damping, block_size)
        torch.testing.assert_close(found.weight, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("cols", [1, 2, 3, 4, 9, 11])
def test_the_factor_in_place_is_upper_triangular_and_gives_the_matrix(cols, in_place):
    _, moment = problem((3, 1, cols), "full")
    expected = torch.linalg.cholesky(moment.flip(1, 2)).flip(1, 2)
    factor = moment.clone()
    assert upper_factor(factor)
    torch.testing.assert_close(factor.triu(), expected, rtol=1e-12, atol=1e-12)
    moment[1, cols // 2, cols // 2] -= 100
    assert not upper_factor(moment)


def test_a_singular_matrix_is_damped_until_its_factor_in_place_is_none_of_rounding(in_place):
    _, moment = problem((2, 1, 8), "deficient")
    upper, damping = factorize_upper(moment, 0.0)
    assert damping > 0
    made = upper.triu() @ upper.triu().mT
    expected = torch.stack([damped(one, damping) for one in moment])
    torch.testing.assert_close(made, expected, rtol=1e-10, atol=1e-10)
    with pytest.raises(ValueError, match="not positive semidefinite"):
        factorize_upper(-moment, 0.01)


@pytest.mark.parametrize("block_size", [1, 4])
@pytest.mark.parametrize("inputs", INPUTS)
def test_the_loss_is_what_the_outputs_lose(inputs, block_size):
    for shape, sparsity in itertools.product(SHAPES, (0.3, 0.8)):
        weight, moment = problem(shape, inputs)
        found = sparsegpt.prune(weight, moment, sparsity, block_size=block_size)
        change = found.weight - weight
        lost = float(torch.einsum("grc,gcd,grd->", change, moment, change))
        if found.loss is not None:  # else its zeros were there, or lie on dead inputs
            assert found.loss == pytest.approx(lost, rel=1e-8, abs=1e-10)
        else:
            assert inputs in ("dead", "zeros")
        told = relative_error(weight, found.weight, moment, loss=found.loss)
        assert told == pytest.approx(relative_error(weight, found.weight, moment), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("solver", [sparsegpt, obs, admm, magnitude, random])
@pytest.mark.parametrize("inputs", INPUTS)
def test_common_contract(solver, inputs):
    weight, moment = problem((2, 3, 8), inputs)
    before = weight.clone(), moment.clone()
    for sparsity in SPARSITIES:
        found = solver.prune(weight, moment, sparsity)
        assert zeros(found.weight) == max(round(sparsity * weight.numel()), zeros(weight))
        assert not ((weight == 0) & (found.weight != 0)).any(), "an existing zero came back"
        single = solver.prune(weight.float(), moment.float(), sparsity)
        assert single.weight.dtype == torch.float32
        mixed = solver.prune(weight.float(), moment, sparsity)
        assert mixed.weight.dtype == torch.float32
        assert zeros(mixed.weight) == zeros(found.weight)
    assert torch.equal(weight, before[0])
    assert torch.equal(moment, before[1])
    flat = solver.prune(weight[0], moment[0], 0.4)
    assert flat.weight.shape == weight[0].shape


@pytest.mark.parametrize("solver", [sparsegpt, obs, admm, magnitude, random])
def test_weights_on_dead_inputs_go_first_but_only_up_to_the_request(solver):
    weight, moment = problem((1, 4, 9), "dead")
    dead = (moment[0].diagonal() == 0).expand(4, 9)
    few = solver.prune(weight[0], moment[0], 3 / 36).weight
    assert zeros(few) == 3
    assert ((few == 0) <= dead).all()
    many = solver.prune(weight[0], moment[0], 0.5).weight
    assert (many[dead] == 0).all()
    assert zeros(many) == 18


def test_obs_selects_across_rows_or_row_by_row():
    weight, moment = problem((2, 5, 8), "correlated", seed=3)
    weight[:, 0] *= 0.01
    everywhere = obs.prune(weight, moment, 0.6).weight
    by_row = obs.prune_rows(weight, moment, 0.6).weight
    assert zeros(everywhere) == zeros(by_row) == 48
    assert set((by_row == 0).sum(2).flatten().tolist()) == {4, 5}
    assert (everywhere[:, 0] == 0).sum() > 12
    for row in range(5):  # a row alone is eliminated the same way
        count = zeros(by_row[0, row])
        alone = brute_force_obs(weight[:1, row : row + 1], moment[:1], count, 0.0)
        torch.testing.assert_close(by_row[:1, row : row + 1], alone, rtol=1e-7, atol=1e-8)
    with pytest.raises(ValueError, match="selection"):
        obs.prune(weight, moment, 0.5, selection="best")


@pytest.mark.parametrize("rank", [1, 2, 3, 7])
@pytest.mark.parametrize("inputs", ["full", "correlated", "zeros"])
def test_obs_is_the_same_however_often_the_inverse_shrinks(rank, inputs, monkeypatch):
    weight, moment = problem((2, 4, 11), inputs)
    monkeypatch.setattr(obs, "RANK", rank)
    for sparsity in (0.3, 0.8):
        found = obs.prune(weight, moment, sparsity)
        expected = brute_force_obs(weight, moment, round(sparsity * weight.numel()), found.damping)
        torch.testing.assert_close(found.weight, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("inputs", ["full", "correlated"])
def test_obs_is_never_worse_than_sparsegpt(inputs):
    for seed in range(5):
        weight, moment = problem((1, 6, 20), inputs, seed)
        for sparsity in (0.3, 0.6, 0.9):
            exact = obs.prune(weight, moment, sparsity).weight
            fast = sparsegpt.prune(weight, moment, sparsity, damping=0).weight
            assert relative_error(weight, exact, moment) <= relative_error(weight, fast, moment) * (1 + 1e-9)


@pytest.mark.parametrize("sparsity", [0.8, 0.95])
def test_admm_fits_strongly_correlated_inputs_better_than_sparsegpt(sparsity):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(400, 12, generator=generator, dtype=torch.float64)
    x = hidden @ torch.randn(12, 96, generator=generator, dtype=torch.float64)
    x = x + 0.5 * torch.randn(400, 96, generator=generator, dtype=torch.float64)
    moment, weight = x.T @ x / 400, torch.randn(24, 96, generator=generator, dtype=torch.float64)
    made = {solver: solver.prune(weight, moment, sparsity, damping=0.01).weight for solver in (admm, sparsegpt)}
    errors = {solver: float((((weight - found) @ x.T) ** 2).sum()) for solver, found in made.items()}
    assert errors[admm] < 0.8 * errors[sparsegpt]
    explicit = damped(moment, 0.01)
    for row, found in zip(weight, made[admm], strict=True):  # the least squares on the support, written out
        kept = found.nonzero().flatten()
        solved = torch.linalg.solve(explicit[kept][:, kept], (explicit @ row)[kept])
        torch.testing.assert_close(found[kept], solved, rtol=1e-8, atol=1e-10)


def test_random_masks_are_the_same_every_time_and_keep_the_weights():
    weight, moment = problem((1, 20, 30), "full")
    one, other = (random.prune(weight, moment * factor, 0.7).weight for factor in (1, 2))
    assert torch.equal(one, other)
    assert torch.equal(one[one != 0], weight[one != 0])
    assert 0.6 < float((one[:, :10] == 0).double().mean()) < 0.8


def test_obs_chunks_do_not_change_the_result(monkeypatch):
    weight, moment = problem((2, 7, 10), "correlated")
    whole = obs.prune(weight, moment, 0.6).weight
    monkeypatch.setattr(obs, "CHUNK_BYTES", 10 * 10 * 8 * 3)
    torch.testing.assert_close(obs.prune(weight, moment, 0.6).weight, whole, rtol=1e-10, atol=1e-12)


def test_a_singular_second_moment_climbs_the_ladder_and_says_so():
    weight, moment = problem((1, 4, 8), "deficient")
    assert obs.prune(weight, moment, 0.5).damping > 0
    assert sparsegpt.prune(weight, moment, 0.5, damping=0).damping > 0
    weight, moment = problem((1, 4, 8), "full")
    assert obs.prune(weight, moment, 0.5).damping == 0
    assert sparsegpt.prune(weight, moment, 0.5).damping == 0.01


def test_an_indefinite_matrix_and_bad_arguments_are_refused():
    weight, moment = problem((1, 2, 4), "full")
    with pytest.raises(ValueError, match="positive semidefinite"):
        obs.prune(weight, -1000 * moment + 1e-3 * torch.eye(4, dtype=torch.float64), 0.5)
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="sparsity"):
            sparsegpt.prune(weight, moment, bad)
    with pytest.raises(ValueError, match="does not fit"):
        sparsegpt.prune(weight, moment[:, :3, :3], 0.5)
    with pytest.raises(ValueError, match="finite"):
        sparsegpt.prune(weight * float("inf"), moment, 0.5)
    with pytest.raises(ValueError, match="float32 or float64"):
        sparsegpt.prune(weight, moment.half(), 0.5)


def test_a_wholly_dead_layer_is_pruned_without_error():
    weight = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    moment = torch.zeros(2, 4, 4)
    for solver in (sparsegpt, obs, admm, magnitude, random):
        for sparsity in (0.0, 0.5, 1.0):
            assert zeros(solver.prune(weight, moment, sparsity).weight) == round(24 * sparsity)


@pytest.mark.parametrize("count", [1, 7, 20, 30])
def test_among_equal_magnitudes_the_first_go(count):
    values = torch.randint(-2, 3, (1, 5, 8), generator=torch.Generator().manual_seed(0)).float()
    moment = torch.eye(8)[None]
    found = magnitude.prune(values, moment, count / 40).weight.flatten()
    expected = values.flatten().clone()
    expected[values.flatten().abs().argsort(stable=True)[:count]] = 0
    assert torch.equal(found, expected)


def test_damping_is_a_fraction_of_the_mean_nonzero_diagonal():
    weight, moment = problem((1, 3, 6), "dead")
    explicit = damped(moment[0], 0.1).unsqueeze(0)
    found = sparsegpt.prune(weight, moment, 1.0, damping=0.1)
    assert found.damping == 0.1
    alive = moment[0].diagonal() != 0
    assert torch.allclose(
        explicit[0].diagonal()[alive], moment[0].diagonal()[alive] + 0.1 * moment[0].diagonal()[alive].mean()
    )


def test_registry_names_every_solver():
    assert set(SOLVERS) == {"fastspade", "spade", "spade-rows", "admm", "magnitude", "random"}
    assert SOLVERS["fastspade"].damping == 0.01
    assert SOLVERS["spade"].damping == 0


@pytest.mark.parametrize("shape", [(1, 6, 9), (3, 4, 6)])
@pytest.mark.parametrize("block_size", [1, 3])
@pytest.mark.parametrize("sparsity", [0, 0.3, 0.77, 1])
def test_problems_side_by_side_are_solved_as_each_alone(shape, block_size, sparsity):
    """Singular ones and ones with dead inputs or zeros, which give up other weights in a block, stand beside others."""
    given = [problem(shape, inputs, seed) for seed, inputs in enumerate([*INPUTS, "full"])]
    options = {"block_size": block_size, "damping": 0.0}
    found = SOLVERS["fastspade"].prune_many(*zip(*given, strict=True), sparsity, **options)
    for together, one in zip(found, given, strict=True):
        alone = sparsegpt.prune(*one, sparsity, **options)
        assert together.damping == alone.damping
        torch.testing.assert_close(together.weight, alone.weight, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("sparsity", [0.21, 0.5])
def test_a_dead_input_in_another_stretch_changes_how_many_weights_go_in_this_one(monkeypatch, first, sparsity):
    """Each problem has its zeros, and the weights that it has alone, whichever stands first."""
    monkeypatch.setattr(sparsegpt, "LAZY", 4)
    weight, moment = problem((1, 6, 12), "full", 0)
    dead = moment.clone()
    dead[:, 8:], dead[:, :, 8:] = 0, 0
    given = [(weight, moment), (weight, dead)]
    given = given[first:] + given[:first]
    found = SOLVERS["fastspade"].prune_many(*zip(*given, strict=True), sparsity, block_size=1, damping=0.01)
    for together, one in zip(found, given, strict=True):
        assert int((together.weight == 0).sum()) == round(sparsity * weight.numel())
        alone = sparsegpt.prune(*one, sparsity, block_size=1, damping=0.01)
        torch.testing.assert_close(together.weight, alone.weight, rtol=1e-9, atol=1e-11)
