"""The network's parts that no test of training or sampling sees by itself."""

import torch

from simulacra.engine.network import Network, NetworkConfig

CONFIG = NetworkConfig((2, 5, 30), (0, 1, 2), embedding=8, hidden=16, widths=(2, 4, 8))


def _network() -> Network:
    generator = torch.Generator().manual_seed(1)
    network = Network(CONFIG, generator)
    for head in (*network.heads, *network.head_biases):
        torch.nn.init.normal_(head, generator=generator)
    with torch.no_grad():  # codes that a head is padded with do not exist
        for group, bias in zip(network.groups, network.head_biases, strict=True):
            for place, target in enumerate(group):
                bias[place, :, CONFIG.cardinalities[target] :] = -1e4
    return network


def _codes(rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    drawn = [torch.randint(0, size, (rows,), generator=generator) for size in CONFIG.cardinalities]
    return torch.stack(drawn, 1)


def test_sampling_sees_what_training_sees() -> None:
    """One target at a time gives the probabilities of all targets at once, whatever the order."""
    network, codes = _network().requires_grad_(False), _codes(40)
    for order in ([0, 1, 2], [2, 0, 1]):
        ranks = CONFIG.ranks(order)
        losses = network.nll(codes, torch.tensor(ranks).expand(40, -1))
        conditional = network.conditional()
        known = conditional.empty(40)
        for target in sorted(range(3), key=ranks.__getitem__):
            chances = torch.log_softmax(conditional.logits(known, target), 1)
            single = -chances.gather(1, codes[:, target : target + 1])[:, 0]
            assert torch.allclose(losses[network.order.tolist().index(target)], single, atol=1e-4)
            conditional.learn(known, target, codes[:, target])


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
