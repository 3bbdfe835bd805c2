"""How fast weights decay, and how that follows what the likelihood betrays."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from simulacra.engine.decay import Decay, first_strength
from simulacra.engine.network import Network, NetworkConfig

ROWS = 20_000

Pair = tuple[torch.Tensor, torch.Tensor]


def _network(*cardinalities: int) -> Network:
    config = NetworkConfig(cardinalities, tuple(range(len(cardinalities))), embedding=4, hidden=8)
    network = Network(config, torch.Generator().manual_seed(0))
    for head in network.heads:
        torch.nn.init.ones_(head)
    return network


def _decay(network: Network, noise: np.ndarray | None = None) -> Decay:
    """A first strength of 1; where nothing is said, all pairs of targets have as much in common."""
    targets = len(network.config.cardinalities)
    return Decay(network, 1.0, ROWS, np.ones((targets, targets)) if noise is None else noise)


def _rows(gap: float, rows: int = 4000, noise: float = 1.0) -> tuple[Pair, Pair]:
    """Losses and surprisals of training and validation rows: what codes cost anyway, less what was learnt."""
    losses, surprisals = [], []
    for part, more in enumerate((0.0, gap)):
        drawn = torch.randn(rows, 3, generator=torch.Generator().manual_seed(part))
        drawn = (drawn - drawn.mean(0)) / drawn.std(0)
        learnt = 2 + noise * drawn[:, 2] - more
        surprisals.append(3 + drawn[:, :2])
        losses.append(surprisals[-1].sum(1) - learnt)
    return (losses[0], losses[1]), (surprisals[0], surprisals[1])


def _first(rows: int, cardinalities: list[int], noise: float = 1.0) -> float:
    targets = len(cardinalities)
    return first_strength(rows, cardinalities, np.full((targets, targets), noise))


def test_fewer_rows_and_more_codes_need_more() -> None:
    assert _first(300, [10] * 30) > _first(3000, [10] * 30) >= _first(10**6, [10] * 30)
    assert _first(1000, [50] * 30) > _first(1000, [10] * 30)
    assert _first(0, []) > 0


def test_where_rows_validate_sure_dependences_need_less() -> None:
    unsure, sure, surest = (_first(3000, [20] * 10, noise) for noise in (0.5, 0.1, 0.02))
    assert unsure == _first(3000, [20] * 10)
    assert unsure > sure > surest > 0.3
    assert _first(1000, [20] * 10, 0.02) == _first(1000, [20] * 10)


def test_a_target_of_more_codes_decays_faster_and_biases_not_at_all() -> None:
    network = _network(2, 4, 60)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    _decay(network).apply(0.01)
    kept = {name: weight.detach() / before[name] for name, weight in network.named_parameters()}
    shrunk = 1 - kept["middle"].flatten(1).mean(1)
    few, some, many = (float(shrunk[network.order.tolist().index(target)]) for target in range(3))
    assert many == pytest.approx(0.01 * 60 / 22, rel=1e-3)
    assert some / few == pytest.approx(2, rel=1e-3)
    assert many / some == pytest.approx(15, rel=1e-3)
    assert float(1 - kept["embeddings"].mean()) == pytest.approx(0.04, rel=1e-3)
    assert torch.equal(network.middle_bias, before["middle_bias"])


NOISE = np.array([[1, 0.01, 4], [0.4, 1, 0.2], [2.5, 0.05, 1]])  # of each target and source; .27 in the mean
# The surest is held to a twentieth. A doubtful one, at 1.5 times the mean, is no worse than the rest; where
# there is more chance than dependence, that decides.
EXPECTED = np.array([[0, 0.05, 4], [1, 0, 0.2 / 0.2714], [2.5, 0.05 / 0.2714, 0]])


@pytest.mark.parametrize("sources", [(), ((1, 2), (0, 2), (0, 1))])
@pytest.mark.parametrize(("target", "source"), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)])
def test_what_says_nothing_decays_faster_and_what_is_sure_slower(
    target: int, source: int, sources: tuple[tuple[int, ...], ...]
) -> None:
    config = NetworkConfig((60, 3, 9), (0, 1, 2), embedding=6, hidden=8, sources=sources)
    if sources:
        start = config.sources[target].index(source) * config.embedding
        span = slice(start, start + config.embedding)
    else:
        config = replace(config, widths=(6, 3, 5))
        span = slice(*config.spans()[source])
    network = Network(config, torch.Generator().manual_seed(0))
    row = network.order.tolist().index(target)
    before = [weight.detach()[row].clone() for weight in _read(network)]
    _decay(network, NOISE).apply(0.01)
    read, rest = (1 - weight.detach()[row] / old for weight, old in zip(_read(network), before, strict=True))
    assert torch.allclose(read[span] / rest.mean(), torch.tensor(float(EXPECTED[target, source])), rtol=1e-2)


def _read(network: Network) -> Pair:
    return network.input, network.middle


def test_the_strength_follows_the_gap_but_for_chance() -> None:
    decay = _decay(_network(10, 10))
    assert decay.adapted(1.0, *_rows(0.5), 0.1) > 1
    assert decay.adapted(1.0, *_rows(0), 0.1) < 1
    assert decay.adapted(1.0, *_rows(0.1, rows=100), 0.1) == pytest.approx(1.0)
    least = decay.adapted(0.34, *_rows(-1), 0.1)
    assert least == pytest.approx(1 / 3)  # of the first
    assert decay.adapted(18.0, *_rows(9), 0.1) == 18.0


def _explained(shifts: tuple[float, float], learnt: tuple[float, float], rows: int) -> tuple[Pair, Pair]:
    """No gap: of each code a share of its surprisal was learnt; those of validation rows are shifted."""
    rng = torch.Generator().manual_seed(1)
    surprisals = [3 + torch.randn(rows, 2, generator=rng) for _ in range(2)]
    surprisals[1] = surprisals[1] + torch.tensor(shifts)
    shares, noise = torch.tensor(learnt), [0.05 * torch.randn(rows, generator=rng) for _ in range(2)]
    losses = [known @ (1 - shares) + more for known, more in zip(surprisals, noise, strict=True)]
    return (losses[0], losses[1]), (surprisals[0], surprisals[1])


@pytest.mark.parametrize(("shifts", "learnt"), [((-0.4, 0.0), (0.5, 0.5)), ((0.4, -0.4), (0.1, 0.9))])
def test_rows_of_commoner_codes_are_not_taken_for_rows_unlearnt(
    shifts: tuple[float, float], learnt: tuple[float, float]
) -> None:
    losses, surprisals = _explained(shifts, learnt, 2000)
    plain = [(loss - known.sum(1)).mean() for loss, known in zip(losses, surprisals, strict=True)]
    assert plain[1] - plain[0] > 0.15
    assert _decay(_network(10, 10)).adapted(1.0, losses, surprisals, 0.1) < 1


def test_what_codes_explain_sharpens_the_comparison() -> None:
    decay = _decay(_network(10, 10))
    losses, surprisals = _explained((0.0, 0.0), (0.5, 0.5), 200)
    unlearnt = [losses[0], losses[1] + 0.08]
    assert decay.adapted(1.0, unlearnt, surprisals, 0.1) > 1
    nothing = [torch.zeros_like(known) for known in surprisals]
    blurred = [loss - known.sum(1) for loss, known in zip(unlearnt, surprisals, strict=True)]
    assert decay.adapted(1.0, blurred, nothing, 0.1) == pytest.approx(1.0)


def test_few_rows_of_many_codes_are_compared_by_their_sums() -> None:
    decay, rng = _decay(_network(10, 10)), torch.Generator().manual_seed(2)
    others = [torch.rand(20, 60, generator=rng) for _ in range(2)]
    for gap, expected in ((0.0, 1.0), (3.0, 1.6)):
        losses, surprisals = _rows(gap, rows=20)
        wide = [torch.cat(both, 1) for both in zip(surprisals, others, strict=True)]
        more = [loss + other.sum(1) for loss, other in zip(losses, others, strict=True)]
        assert decay.adapted(1.0, more, wide, 0.1) == pytest.approx(expected)


def test_codes_that_tell_which_rows_validate_do_not_hide_the_gap() -> None:
    decay = _decay(_network(10, 10))
    losses, surprisals = _rows(0.5)
    told = [torch.cat([known, torch.full((4000, 1), 3.0 + part)], 1) for part, known in enumerate(surprisals)]
    more = [loss + 3.0 + part for part, loss in enumerate(losses)]
    assert decay.adapted(1.0, more, told, 0.1) > 1


def test_losses_that_are_no_numbers_leave_the_strength() -> None:
    losses, surprisals = _rows(0)
    for value in (torch.nan, torch.inf):
        odd = (losses[0], losses[1].clone())
        odd[1][7] = value
        assert _decay(_network(10, 10)).adapted(2.0, odd, surprisals, 0.1) == 2.0


def test_no_weight_is_shrunk_beyond_zero() -> None:
    network = _network(2, 4, 60)
    before, middle = network.embeddings.detach().clone(), network.middle.detach().clone()
    _decay(network).apply(0.3)
    assert torch.allclose(network.embeddings, torch.zeros_like(before), atol=1e-6)
    for row, target in enumerate(network.order.tolist()):  # others are shrunk by no less than they are to be
        factor = min(3.0, (2, 4, 60)[target] / 22)
        assert torch.allclose(network.middle.detach()[row], (1 - 0.3 * factor) * middle[row], rtol=1e-4)


@pytest.mark.parametrize("amount", [70.0, 3e38, 1e42, math.inf])
def test_no_amount_is_too_much(amount: float) -> None:
    network = _network(2, 4, 60)
    _decay(network).apply(amount)
    assert all(bool(weight.detach().isfinite().all()) for weight in network.parameters())
    assert float(network.middle.detach().abs().max()) < 1e-5


def test_a_single_column_has_no_pairs() -> None:
    network = _network(7)
    _decay(network, np.array([[0.05]])).apply(0.01)
    assert all(bool(weight.detach().isfinite().all()) for weight in network.parameters())
    assert first_strength(3000, [7], np.array([[0.05]])) == _first(3000, [7])


def test_looking_twice_as_often_does_not_change_the_strength_faster() -> None:
    decay, rows = _decay(_network(10, 10)), _rows(0.15)
    once = decay.adapted(1.0, *rows, 0.04)
    assert once > 1.01
    assert decay.adapted(decay.adapted(1.0, *rows, 0.02), *rows, 0.02) == pytest.approx(once)
