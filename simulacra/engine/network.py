"""The network: any-order autoregression, one small regressor per sub-column on the embeddings it may see.

For each row every sub-column (*target*) is predicted from those that come before it in an order of the row's
own (NADE over random orders: Uria et al., 2014, arXiv 1310.1757). All targets go through batched products.
In a narrow table each target reads all embeddings. In a wide one, so that the cost stays linear, it reads
those of its most associated *sources*, and one additive state of all that is known, moved on in a few levels.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.engine.smooth import Smooth

__all__ = ["Beginnings", "Conditional", "Network", "NetworkConfig"]

_MASKED = -1e4
# So that products have few shapes, embeddings are read in steps, and small heads are filled up.
_READ, _WRITTEN = 64, 32


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """All that decides the network's shape; saved beside its weights.

    Attributes:
        cardinalities: Codes of each sub-column.
        columns: Which column each sub-column belongs to, ascending.
        embedding: Width of each sub-column's embedding, at most.
        hidden: Width of each target's layers.
        dropout: Share of hidden units that are dropped in training, at first.
        sources: The sub-columns that each target reads directly, as many for each; empty: each reads all.
        shared: Width of the additive state; 0: there is none.
        levels: Steps in which the additive state advances along an order.
        widths: How much of each sub-column's embedding is read where each target reads all; empty: the whole.
    """

    cardinalities: tuple[int, ...]
    columns: tuple[int, ...]
    embedding: int = 16
    hidden: int = 64
    dropout: float = 0.0
    sources: tuple[tuple[int, ...], ...] = ()
    shared: int = 0
    levels: int = 16
    widths: tuple[int, ...] = ()

    def spans(self) -> list[tuple[int, int]]:
        """Returns where each sub-column's embedding stands in the row of all of them, from and to.

        They stand in the canonical order: when it is sampled in, what is known comes first.
        """
        widths = self.widths or (self.embedding,) * len(self.cardinalities)
        ranks = self.ranks(self.canonical_order())
        ordered = sorted(range(len(ranks)), key=ranks.__getitem__)
        ends = accumulate((widths[target] for target in ordered), initial=0)
        found = dict(zip(ordered, pairwise(ends), strict=True))
        return [found[target] for target in range(len(ranks))]

    def groups(self) -> list[list[int]]:
        """Returns the targets of similar cardinality, whose heads are computed together."""
        buckets: dict[int, list[int]] = {}
        for target, size in enumerate(self.cardinalities):
            buckets.setdefault(math.ceil(2 * math.log2(max(size, 2))), []).append(target)
        return [buckets[key] for key in sorted(buckets)]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each parameter of the network."""
        targets, width = len(self.cardinalities), self.hidden
        read = len(self.sources[0]) * self.embedding if self.sources else max(end for _, end in self.spans())
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings": (sum(self.cardinalities), self.embedding),
            "input": (targets, read, width),
            "input_bias": (targets, 1, width),
            "middle": (targets, width, width),
            "middle_bias": (targets, 1, width),
        }
        if self.shared:
            shapes["shared_in"] = (targets, self.embedding, self.shared)
            shapes["shared_bias"] = (targets, 1, self.shared)
            shapes["shared_out"] = (targets, self.shared, width)
        for number, group in enumerate(self.groups()):
            widest = max(self.cardinalities[target] for target in group)
            shapes[f"heads.{number}"] = (len(group), width, widest)
            shapes[f"head_biases.{number}"] = (len(group), 1, widest)
        return shapes

    def canonical_order(self) -> list[int]:
        """Returns the columns by ascending number of codes: the order of unconditional sampling."""
        sizes: dict[int, float] = {}
        for column, size in zip(self.columns, self.cardinalities, strict=True):
            sizes[column] = sizes.get(column, 0.0) + math.log(max(size, 1))
        return sorted(sizes, key=lambda column: (sizes[column], column))

    def ranks(self, order: Sequence[int]) -> list[int]:
        """Returns each sub-column's place when columns come in an order, their parts in sequence."""
        place = {column: position for position, column in enumerate(order)}
        keys = [(place[column], target) for target, column in enumerate(self.columns)]
        position = {key: rank for rank, key in enumerate(sorted(keys))}
        return [position[key] for key in keys]


class Network(nn.Module):
    """Predicts every sub-column's distribution from the sub-columns known so far."""

    offsets: Tensor
    order: Tensor  # which target each row of the parameters, and of `nll`, is about
    sources: Tensor
    read: Tensor  # the places, in the row of all embeddings, that are read
    spread: Tensor  # (targets, read): 1 where a place belongs to a target

    def __init__(
        self,
        config: NetworkConfig,
        generator: torch.Generator | None = None,
        places: Sequence[np.ndarray | None] | None = None,
    ) -> None:
        """Makes a network.

        Args:
            config: Its shape.
            generator: Draws the weights; without it they are 0, to be loaded.
            places: For training: the order of each target's codes, see `smooth`.
        """
        super().__init__()
        self.config = config
        self.groups = config.groups()
        shapes = config.shapes()
        sizes = torch.tensor(config.cardinalities, dtype=torch.int64)
        order = torch.tensor([target for group in self.groups for target in group], dtype=torch.int64)
        self.register_buffer("offsets", torch.cumsum(sizes, 0) - sizes, persistent=False)
        self.register_buffer("order", order, persistent=False)
        sources = torch.tensor(config.sources, dtype=torch.int64)[order] if config.sources else order[:0]
        self.register_buffer("sources", sources, persistent=False)
        spans = [] if config.sources else config.spans()
        spread = torch.zeros(len(spans), max((end for _, end in spans), default=0))
        read = torch.zeros(spread.shape[1], dtype=torch.int64)
        for target, (start, end) in enumerate(spans):
            spread[target, start:end] = 1
            read[start:end] = target * config.embedding + torch.arange(end - start)
        self.register_buffer("read", read, persistent=False)
        self.register_buffer("spread", spread, persistent=False)

        def normal(name: str, scale: float) -> nn.Parameter:
            if generator is None:
                return zeros(name)
            return nn.Parameter(torch.randn(shapes[name], generator=generator) * scale)

        def zeros(name: str) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shapes[name]))

        self.embeddings = normal("embeddings", 0.5)
        self.input = normal("input", math.sqrt(2 / max(shapes["input"][1], 1)))
        self.input_bias = zeros("input_bias")
        self.middle = normal("middle", math.sqrt(1 / config.hidden))
        self.middle_bias = zeros("middle_bias")
        if config.shared:
            self.shared_in = normal("shared_in", math.sqrt(1 / (len(sizes) * config.embedding)))
            self.shared_bias = zeros("shared_bias")
            self.shared_out = normal("shared_out", math.sqrt(1 / config.shared))
        numbers = range(len(self.groups))
        self.heads = nn.ParameterList(zeros(f"heads.{number}") for number in numbers)
        self.head_biases = nn.ParameterList(zeros(f"head_biases.{number}") for number in numbers)
        self.smooth: Smooth | None = None
        if places is not None:
            offsets = self.offsets.tolist()
            self.smooth = Smooth(places, offsets, self.groups, config.embedding, config.hidden)

    def folded(self) -> dict[str, Tensor]:
        """Returns copies of the weights in the form that bundles have, without smooth parts of their own."""
        weights = {
            k: v.detach().cpu().clone() for k, v in self.state_dict().items() if k in self.config.shapes()
        }
        if self.smooth is not None:
            weights["embeddings"] = self.smooth.embeddings(self.embeddings).detach().cpu()
            for number, head in enumerate(self.heads):
                weights[f"heads.{number}"] = self.smooth.head(number, head).detach().cpu()
        return weights

    @torch.no_grad()
    def set_marginals(self, counts: Sequence[Tensor]) -> None:
        """Sets the heads' biases to the log of the marginal distributions, smoothed by half a row per code.

        Args:
            counts: Rows per code for each target.
        """
        for group, bias in zip(self.groups, self.head_biases, strict=True):
            bias.fill_(_MASKED)
            for place, target in enumerate(group):
                smoothed = counts[target].double() + 0.5
                bias[place, 0, : len(smoothed)] = (smoothed / smoothed.sum()).log().float()

    def nll(self, codes: Tensor, ranks: Tensor, kept: Tensor | None = None) -> Tensor:
        """Returns the negative log-likelihood of each target in nats, `(targets, batch)`.

        The rows of the result follow `order`.

        Args:
            codes: `(batch, targets)` int64.
            ranks: Place of each target in its row's order, `(batch, targets)`; a target sees those before it.
            kept: What hidden units are multiplied by, `(batch, hidden)`; see `kept_units`.
        """
        losses = []
        for logits, group in zip(self._logits(codes, ranks, kept), self.groups, strict=True):
            wanted = codes.t()[group]
            flat = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
            losses.append(flat.view(wanted.shape))
        return torch.cat(losses)

    def kept_units(self, rows: int, dropout: float, generator: torch.Generator) -> Tensor | None:
        """Draws which units of each row to drop, the same of all targets: 0, the others 1 / (1 - dropout)."""
        if dropout <= 0:
            return None
        drawn = torch.empty(rows, self.config.hidden).bernoulli_(1 - dropout, generator=generator)
        return drawn.div_(1 - dropout).to(self.offsets.device)

    def _logits(self, codes: Tensor, ranks: Tensor, kept: Tensor | None = None) -> Iterator[Tensor]:
        """Yields the unnormalised log-probabilities of each group of targets, `(group, batch, codes)`."""
        smooth = self.smooth
        table = self.embeddings if smooth is None else smooth.embeddings(self.embeddings)
        embedded = functional.embedding(codes + self.offsets, table)  # (batch, targets, embedding)
        hidden = torch.baddbmm(self.input_bias, self._seen(embedded, ranks), self.input)
        if self.config.shared:
            hidden = torch.baddbmm(hidden, self._shared(embedded, ranks), self.shared_out)
        hidden = hidden.relu_()
        if kept is not None:
            hidden = hidden * kept
        hidden = hidden + torch.baddbmm(self.middle_bias, hidden, self.middle).relu_()
        parts = torch.split(hidden, [len(group) for group in self.groups])
        for number, (part, free, bias) in enumerate(zip(parts, self.heads, self.head_biases, strict=True)):
            head = free if smooth is None else smooth.head(number, free)
            yield torch.baddbmm(bias, part, head)

    @torch.no_grad()
    def fit_biases(self, rows: Tensor, ranks: Tensor) -> None:
        """Moves the heads' biases towards their maximum likelihood, the other weights staying as they are.

        One step of iterative scaling (Darroch & Ratcliff, 1972): each bias moves by the log of how often its
        code occurs over how often the network, given the true codes before it, expects it. Both are smoothed
        by five rows. It takes the noise of the last batches out of the marginals of that order; other orders
        pay a hundredth of a nat.

        Args:
            rows: `(rows, targets)` codes, those that the network was trained on.
            ranks: Place of each target in the order, `(targets,)`.
        """
        expected = [torch.zeros_like(bias[:, 0], dtype=torch.float64) for bias in self.head_biases]
        for part in torch.split(rows, 256):
            groups = self._logits(part.long(), ranks.expand(len(part), -1))
            for total, logits in zip(expected, groups, strict=True):
                total += torch.softmax(logits, 2).sum(1).double()
        for group, total, bias in zip(self.groups, expected, self.head_biases, strict=True):
            for place, target in enumerate(group):
                size = self.config.cardinalities[target]
                occurred = torch.bincount(rows[:, target], minlength=size).double()
                bias[place, 0, :size] += ((occurred + 5) / (total[place, :size] + 5)).log().float()

    def _seen(self, embedded: Tensor, ranks: Tensor) -> Tensor:
        """Returns the embeddings that each target reads, 0 where not yet known, `(targets, batch, read)`."""
        batch, targets, width = embedded.shape
        if not self.config.sources:
            known = (ranks[None] < ranks.t()[self.order, :, None]).to(
                embedded.dtype
            )  # (targets, batch, targets)
            mask = (known.view(-1, targets) @ self.spread).view(targets, batch, -1)
            return embedded.flatten(1).index_select(1, self.read) * mask
        sources = self.sources.flatten()
        read = self.sources.shape[1]
        known = ranks[:, sources] < ranks[:, self.order].repeat_interleave(read, 1)  # (batch, targets * read)
        seen = embedded.index_select(1, sources).mul_(known.to(embedded.dtype)[..., None])
        return seen.view(batch, targets, read * width).transpose(0, 1)

    def _shared(self, embedded: Tensor, ranks: Tensor) -> Tensor:
        """Returns the additive state at each target's level, `(targets, batch, shared)`."""
        batch, targets, _ = embedded.shape
        levels = self.config.levels
        level = ranks * levels // targets  # (batch, targets)
        added = torch.bmm(embedded.transpose(0, 1), self.shared_in).transpose(
            0, 1
        )  # (batch, targets, shared)
        before = (
            level[:, None] < torch.arange(levels, device=level.device)[:, None]
        )  # (batch, levels, targets)
        state = torch.bmm(before.to(added.dtype), added)  # (batch, levels, shared)
        place = (
            level[:, self.order].t() + torch.arange(batch, device=level.device) * levels
        )  # (targets, batch)
        return (functional.embedding(place, state.flatten(0, 1)) + self.shared_bias).relu_()

    def conditional(self) -> "Conditional":
        """Returns the form of the network that sampling uses."""
        return Conditional(self)


class Known:
    """What is known of some rows that are sampled: embeddings, and the additive state.

    Embeddings are `(rows, read)` where targets read all of them, else `(targets, rows, width)`, of which few
    are read at a time.
    """

    def __init__(self, embedded: Tensor, shared: Tensor) -> None:
        self.embedded = embedded
        self.end = 0  # sub-columns at this place of the canonical order and beyond are still unknown
        self.shared = shared
        self.pending = torch.zeros_like(shared)

    def repeated(self, times: int) -> "Known":
        """Returns the state of as many copies of each row, one after the other."""
        known = Known(self.embedded.repeat_interleave(times, -2), self.shared.repeat_interleave(times, 0))
        known.end, known.pending = self.end, self.pending.repeat_interleave(times, 0)
        return known


@dataclass(frozen=True, slots=True)
class Beginnings:
    """How rows begin: all combinations of the first targets' codes, as long as they are few.

    What follows depends on nothing else, so it is computed for each of them instead of each row.

    Attributes:
        known: What is known of each beginning.
        of: Which beginning each row has; None: each its own.
    """

    known: Known
    of: Tensor | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.known.shared)

    def longer(self, conditional: "Conditional", target: int, size: int, codes: Tensor) -> "Beginnings":
        """Returns those that are one target longer.

        Args:
            conditional: The network.
            target: What comes next.
            size: Its codes.
            codes: The code of each row.
        """
        assert self.of is not None
        known = self.known.repeated(size)
        conditional.learn(known, target, torch.arange(size).repeat(self.count))
        return Beginnings(known, self.of * size + codes)


class Conditional:
    """The network, one target at a time: the distribution of a target given what is known so far."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._places = {
            target: (number, place)
            for number, group in enumerate(network.groups)
            for place, target in enumerate(group)
        }
        self._rows = {target: row for row, target in enumerate(network.order.tolist())}
        config = network.config
        self._ranks = config.ranks(config.canonical_order())
        self._spans = config.spans()
        self._ends = [0, *sorted(end for _, end in self._spans)]
        # What comes first in the canonical order is read first, so that what is unknown need not be read.
        self._sources = [sorted(found, key=self._ranks.__getitem__) for found in network.sources.tolist()]
        self._input: Tensor = network.input
        if self._sources:
            places = zip(network.sources.tolist(), self._sources, strict=True)
            moved = torch.tensor([[old.index(source) for source in new] for old, new in places])
            parts = network.input.view(len(moved), -1, config.embedding, config.hidden)
            self._input = parts[torch.arange(len(moved))[:, None], moved].flatten(1, 2)
        self._heads = [_filled(head) for head in network.heads]
        self._biases = [_filled(bias) for bias in network.head_biases]

    def empty(self, rows: int) -> Known:
        """Returns the state of rows of which nothing is known."""
        config = self._network.config
        shape: tuple[int, ...] = (rows, max(end for _, end in self._spans))
        if self._sources:
            shape = (len(config.cardinalities), rows, config.embedding)
        return Known(torch.zeros(shape), torch.zeros(rows, config.shared))

    def learn(self, known: Known, target: int, codes: Tensor, rows: Tensor | None = None) -> None:
        """Adds the codes of a target, of all rows or of some."""
        network = self._network
        embedded = functional.embedding(codes + network.offsets[target], network.embeddings)
        if self._sources:
            of_target = known.embedded[target]
        else:
            of_target = known.embedded[:, slice(*self._spans[target])]
        known.end = max(known.end, self._ranks[target] + 1)
        if rows is None:
            of_target.copy_(embedded[:, : of_target.shape[1]])
        else:
            of_target[rows] = embedded[:, : of_target.shape[1]]
        if network.config.shared:
            if rows is None:
                known.pending.addmm_(embedded, network.shared_in[target])
            else:
                known.pending[rows] += embedded @ network.shared_in[target]

    def advance(self, known: Known) -> None:
        """Moves the additive state to a new level: it now has all that is known."""
        known.shared += known.pending
        known.pending.zero_()

    def logits(self, known: Known, target: int) -> Tensor:
        """Returns the target's unnormalised log-probabilities, `(rows, codes)`."""
        network, row = self._network, self._rows[target]
        seen = self._seen(known, row)
        hidden = torch.addmm(network.input_bias[row], seen, self._input[row, : seen.shape[1]])
        if network.config.shared:
            shared = (known.shared + network.shared_bias[row]).relu_()
            hidden = torch.addmm(hidden, shared, network.shared_out[row])
        hidden = hidden.relu_()
        hidden = torch.addmm(network.middle_bias[row], hidden, network.middle[row]).relu_().add_(hidden)
        number, place = self._places[target]
        logits = torch.addmm(self._biases[number][place], hidden, self._heads[number][place])
        return logits[:, : network.config.cardinalities[target]]

    def _seen(self, known: Known, row: int) -> Tensor:
        """Returns the embeddings that a target reads, up to the last that may be known, `(rows, read)`."""
        if not self._sources:
            return known.embedded[:, : -(-self._ends[known.end] // _READ) * _READ]
        count = sum(self._ranks[source] < known.end for source in self._sources[row])
        step = max(1, _READ // self._network.config.embedding)
        read = [known.embedded[source] for source in self._sources[row][: -(-count // step) * step]]
        return torch.cat(read, 1) if read else known.embedded[0, :, :0]


def _filled(weights: Tensor) -> Tensor:
    """Returns weights whose last dimension is filled up with zeros, if it is small."""
    missing = _WRITTEN - weights.shape[-1]
    return functional.pad(weights, (0, missing)) if missing > 0 else weights
