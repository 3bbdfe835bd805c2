"""The network's parts that no test of training or sampling sees by itself."""

from itertools import permutations

import pytest
import torch

from simulacra.engine.network import Network, NetworkConfig

CONFIG = NetworkConfig((2, 5, 30), (0, 1, 2), embedding=8, hidden=16, widths=(2, 4, 8))
WIDE = (
    NetworkConfig(  # reads some sub-columns itself, and all by the additive state, in fewer steps than parts
        (2, 5, 30, 4, 3),
        (0, 1, 1, 2, 3),
        embedding=8,
        hidden=16,
        sources=((1, 3), (0, 4), (1, 3), (4, 0), (3, 2)),
        shared=6,
        levels=3,
    )
)
NO_STATE = NetworkConfig(
    (2, 5, 30), (0, 1, 2), embedding=8, hidden=16, sources=((1, 2), (0, 2), (0, 1)), shared=0
)


def _network(config: NetworkConfig = CONFIG) -> Network:
    generator = torch.Generator().manual_seed(1)
    network = Network(config, generator)
    for head in (*network.heads, *network.head_biases):
        torch.nn.init.normal_(head, generator=generator)
    with torch.no_grad():  # codes that a head is padded with do not exist
        for group, bias in zip(network.groups, network.head_biases, strict=True):
            for place, target in enumerate(group):
                bias[place, :, config.cardinalities[target] :] = -1e4
    return network


def _codes(rows: int, config: NetworkConfig = CONFIG) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    drawn = [torch.randint(0, size, (rows,), generator=generator) for size in config.cardinalities]
    return torch.stack(drawn, 1)


@pytest.mark.parametrize("config", [CONFIG, WIDE, NO_STATE], ids=["narrow", "wide", "wide without state"])
def test_sampling_sees_what_training_sees(config: NetworkConfig) -> None:
    """One target at a time gives the probabilities of all targets at once, whatever the order."""
    network, codes = _network(config).requires_grad_(False), _codes(20, config)
    for bias in (network.input_bias, network.middle_bias, *([network.shared_bias] if config.shared else [])):
        torch.nn.init.normal_(bias, generator=torch.Generator().manual_seed(3))
    targets = len(config.cardinalities)
    seen = set()
    for order in permutations(range(config.columns[-1] + 1)):
        ranks = config.ranks(order)
        losses = network.nll(codes, torch.tensor(ranks).expand(len(codes), -1))
        conditional = network.conditional()
        known, level, product = conditional.empty(len(codes)), 0, torch.ones(len(codes), dtype=torch.float64)
        for target in sorted(range(targets), key=ranks.__getitem__):
            if ranks[target] * config.levels // targets > level:
                level = ranks[target] * config.levels // targets
                conditional.advance(known)
            chances = torch.log_softmax(conditional.logits(known, target), 1)
            single = -chances.gather(1, codes[:, target : target + 1])[:, 0]
            assert torch.allclose(losses[network.order.tolist().index(target)], single, atol=1e-4)
            product *= torch.exp(-single.double())
            conditional.learn(known, target, codes[:, target])
        assert torch.allclose(-product.log(), losses.sum(0).double(), atol=1e-3)
        seen.add(round(float(losses.sum()), 2))
    assert len(seen) > 1  # the order matters, or there was nothing to compare


def test_fitted_biases_expect_what_occurs() -> None:
    network, codes = _network(), _codes(3000)
    ranks = torch.tensor(CONFIG.ranks([0, 1, 2]))

    def distance() -> float:
        total = 0.0
        groups = network._logits(codes, ranks.expand(len(codes), -1))
        for group, logits in zip(network.groups, groups, strict=True):
            for place, target in enumerate(group):
                occurred = torch.bincount(codes[:, target], minlength=logits.shape[2]) / len(codes)
                total += float((torch.softmax(logits[place], 1).mean(0) - occurred).abs().sum())
        return total

    with torch.no_grad():
        before = distance()
        network.fit_biases(codes.int(), ranks)
        assert distance() < before / 4
