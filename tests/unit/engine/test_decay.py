"""How fast weights decay, and how that follows what the likelihood betrays."""

import pytest
import torch

from simulacra.engine.decay import Decay, first_strength
from simulacra.engine.network import Network, NetworkConfig

ROWS = 20_000


def _network(*cardinalities: int) -> Network:
    config = NetworkConfig(cardinalities, tuple(range(len(cardinalities))), embedding=4, hidden=8)
    network = Network(config, torch.Generator().manual_seed(0))
    for head in network.heads:
        torch.nn.init.ones_(head)
    return network


def _losses(mean: float, rows: int = 4000) -> torch.Tensor:
    drawn = torch.randn(rows, generator=torch.Generator().manual_seed(rows))
    return (drawn - drawn.mean()) / drawn.std() + mean


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
    assert float(1 - kept["embeddings"].mean()) == pytest.approx(0.01, rel=1e-3)
    assert torch.equal(network.middle_bias, before["middle_bias"])


def test_the_strength_follows_the_gap_but_for_chance() -> None:
    decay = Decay(_network(10, 10), 1.0, ROWS)
    assert decay.adapted(1.0, _losses(-0.5), _losses(0), 0.1) > 1
    assert decay.adapted(1.0, _losses(0), _losses(0), 0.1) < 1
    few = _losses(-0.1, rows=100), _losses(0.0, rows=100)
    assert decay.adapted(1.0, *few, 0.1) == pytest.approx(1.0)
    least = decay.adapted(0.34, _losses(1), _losses(0), 0.1)
    assert least == pytest.approx(1 / 3)  # of the first
    assert decay.adapted(14.0, _losses(-9), _losses(0), 0.1) == 14.0


def test_looking_twice_as_often_does_not_change_the_strength_faster() -> None:
    decay, gap = Decay(_network(10, 10), 1.0, ROWS), (_losses(-0.15), _losses(0))
    once = decay.adapted(1.0, *gap, 0.04)
    assert once > 1.01
    assert decay.adapted(decay.adapted(1.0, *gap, 0.02), *gap, 0.02) == pytest.approx(once)
