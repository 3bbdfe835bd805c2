"""How fast weights decay, and how that follows what the likelihood betrays."""

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


def test_fewer_rows_and_more_codes_need_more() -> None:
    assert (
        first_strength(300, [10] * 30) > first_strength(3000, [10] * 30) >= first_strength(10**6, [10] * 30)
    )
    assert first_strength(1000, [50] * 30) > first_strength(1000, [10] * 30)
    assert first_strength(0, []) > 0


def test_a_target_of_more_codes_decays_faster_and_biases_not_at_all() -> None:
    network = _network(2, 4, 60)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    Decay(network, 1.0, ROWS).apply(0.01)
    kept = {name: weight.detach() / before[name] for name, weight in network.named_parameters()}
    shrunk = 1 - kept["middle"].flatten(1).mean(1)
    few, some, many = (float(shrunk[network.order.tolist().index(target)]) for target in range(3))
    assert many == pytest.approx(0.01 * 60 / 22, rel=1e-3)
    assert some / few == pytest.approx(2, rel=1e-3)
    assert many / some == pytest.approx(15, rel=1e-3)
    assert float(1 - kept["embeddings"].mean()) == pytest.approx(0.04, rel=1e-3)
    assert torch.equal(network.middle_bias, before["middle_bias"])


def test_the_strength_follows_the_gap_but_for_chance() -> None:
    decay = Decay(_network(10, 10), 1.0, ROWS)
    assert decay.adapted(1.0, *_rows(0.5), 0.1) > 1
    assert decay.adapted(1.0, *_rows(0), 0.1) < 1
    assert decay.adapted(1.0, *_rows(0.1, rows=100), 0.1) == pytest.approx(1.0)
    least = decay.adapted(0.34, *_rows(-1), 0.1)
    assert least == pytest.approx(1 / 3)  # of the first
    assert decay.adapted(14.0, *_rows(9), 0.1) == 14.0


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
    assert Decay(_network(10, 10), 1.0, ROWS).adapted(1.0, losses, surprisals, 0.1) < 1


def test_what_codes_explain_sharpens_the_comparison() -> None:
    decay = Decay(_network(10, 10), 1.0, ROWS)
    losses, surprisals = _explained((0.0, 0.0), (0.5, 0.5), 200)
    unlearnt = [losses[0], losses[1] + 0.08]
    assert decay.adapted(1.0, unlearnt, surprisals, 0.1) > 1
    nothing = [torch.zeros_like(known) for known in surprisals]
    blurred = [loss - known.sum(1) for loss, known in zip(unlearnt, surprisals, strict=True)]
    assert decay.adapted(1.0, blurred, nothing, 0.1) == pytest.approx(1.0)


def test_few_rows_of_many_codes_are_compared_by_their_sums() -> None:
    decay, rng = Decay(_network(10, 10), 1.0, ROWS), torch.Generator().manual_seed(2)
    others = [torch.rand(20, 60, generator=rng) for _ in range(2)]
    for gap, expected in ((0.0, 1.0), (3.0, 1.6)):
        losses, surprisals = _rows(gap, rows=20)
        wide = [torch.cat(both, 1) for both in zip(surprisals, others, strict=True)]
        more = [loss + other.sum(1) for loss, other in zip(losses, others, strict=True)]
        assert decay.adapted(1.0, more, wide, 0.1) == pytest.approx(expected)


def test_codes_that_tell_which_rows_validate_do_not_hide_the_gap() -> None:
    decay = Decay(_network(10, 10), 1.0, ROWS)
    losses, surprisals = _rows(0.5)
    told = [torch.cat([known, torch.full((4000, 1), 3.0 + part)], 1) for part, known in enumerate(surprisals)]
    more = [loss + 3.0 + part for part, loss in enumerate(losses)]
    assert decay.adapted(1.0, more, told, 0.1) > 1


def test_losses_that_are_no_numbers_leave_the_strength() -> None:
    losses, surprisals = _rows(0)
    for value in (torch.nan, torch.inf):
        odd = (losses[0], losses[1].clone())
        odd[1][7] = value
        assert Decay(_network(10, 10), 1.0, ROWS).adapted(2.0, odd, surprisals, 0.1) == 2.0


def test_no_weight_is_shrunk_beyond_zero() -> None:
    network = _network(2, 4, 60)
    before = network.embeddings.detach().clone()
    Decay(network, 1.0, ROWS).apply(70.0)
    assert torch.allclose(network.embeddings, torch.zeros_like(before), atol=1e-6)


def test_looking_twice_as_often_does_not_change_the_strength_faster() -> None:
    decay, rows = Decay(_network(10, 10), 1.0, ROWS), _rows(0.15)
    once = decay.adapted(1.0, *rows, 0.04)
    assert once > 1.01
    assert decay.adapted(decay.adapted(1.0, *rows, 0.02), *rows, 0.02) == pytest.approx(once)
