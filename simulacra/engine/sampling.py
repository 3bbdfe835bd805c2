"""Sampling by inverse CDF, target after target, in blocks that depend on the seed and their number alone."""

import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from simulacra.engine import memory
from simulacra.engine.bundle import Bundle
from simulacra.engine.codecs.arrow import plain, restored, working_type
from simulacra.engine.computing import computing
from simulacra.engine.controls import (
    BLOCK_ROWS,
    UNKNOWN,
    Fairness,
    Plan,
    Rebalancing,
    SampleRequest,
    make_plan,
)
from simulacra.engine.drawing import draw, shares
from simulacra.engine.fairness import Parity, group_of
from simulacra.engine.network import Beginnings, Conditional, Known

__all__ = ["BLOCK_ROWS", "Fairness", "Rebalancing", "SampleRequest", "Sampler", "block_count"]

_SMALL_BLOCK, _STEP = 32, 256
_FEW_ROWS = 1024  # a second thread gains nothing on so few, and loses much on a busy machine
_ROWS_OF_BEGINNING = 16
_PILOT_BLOCKS = 4
_MAX_GROUPS = 128


def block_count(rows: int) -> int:
    """Returns how many blocks a request of so many rows has."""
    return -(-rows // BLOCK_ROWS)


class Sampler:
    """A loaded model, ready to sample; keep it between requests, since making it takes time."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.conditional: Conditional = bundle.network().requires_grad_(False).conditional()
        parts = bundle.codec.sub_columns
        starts = {part.column: target for target, part in reversed(list(enumerate(parts)))}
        self._first_part = [starts[part.column] for part in parts]

    def sample(self, request: SampleRequest, *, threads: int | None = None) -> Iterator[pa.RecordBatch]:
        """Yields one record batch per block, in the schema of the codec.

        Raises:
            InvalidArgument: A control or a seed value is not possible; the error names it.
        """
        plan = make_plan(self.bundle, request)
        last = block_count(request.total)
        if request.last_block is not None:
            last = min(request.last_block, last)
        blocks = range(request.first_block, last)
        with memory.kept():
            yield from self._batches(request, plan, blocks, threads or torch.get_num_threads())

    def _batches(
        self, request: SampleRequest, plan: Plan, blocks: range, threads: int
    ) -> Iterator[pa.RecordBatch]:
        parity: Parity | None = None
        before_block = np.zeros(0, np.int64)
        for block in blocks:
            rest = request.total - block * BLOCK_ROWS
            few = rest <= _FEW_ROWS
            with computing(1 if few else threads, large=not few):
                if plan.fair is not None and parity is None:
                    parity = self._parity(request, plan)
                    before_block = self._members_before(request, plan, block, parity)
                codes, rng = self._codes_of(request, plan, block)
                if parity is not None:
                    wanted = codes[:rest]
                    members = parity.count(wanted)
                    self._make_fair(wanted, request, plan, block, parity, before_block)
                    before_block = before_block + members
                table = self._table(codes, rng, request, block)
            yield from table.combine_chunks().to_batches()

    def _codes_of(
        self, request: SampleRequest, plan: Plan, block: int, until: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray, np.random.Generator]:
        """Returns the codes of a block, those beyond its rows included, and its random numbers."""
        start = block * BLOCK_ROWS
        wanted = min(BLOCK_ROWS, request.total - start)
        size = max(_SMALL_BLOCK, min(1 << (max(wanted, 1) - 1).bit_length(), -(-wanted // _STEP) * _STEP))
        rng = _random(request, block)
        given = None
        if plan.known is not None:
            given = np.full((size, plan.known.shape[1]), UNKNOWN, np.int64)
            given[:wanted] = plan.known[start : start + wanted]
        return self.codes(size, rng, plan, given, request, until), rng

    def _table(
        self, codes: np.ndarray, rng: np.random.Generator, request: SampleRequest, block: int
    ) -> pa.Table:
        start = block * BLOCK_ROWS
        table = self.bundle.codec.decode(codes, rng).slice(0, request.total - start)
        return table if request.seeds is None else _put_seeds(table, request.seeds.slice(start, len(table)))

    def _members_before(self, request: SampleRequest, plan: Plan, block: int, parity: Parity) -> np.ndarray:
        """Returns how many rows each group has in all blocks before one, computed as far as is needed."""
        members = parity.nobody()
        for earlier in range(block):
            members = members + parity.count(self._codes_of(request, plan, earlier, parity.sensitive)[0])
        return members

    def _make_fair(
        self,
        codes: np.ndarray,
        request: SampleRequest,
        plan: Plan,
        block: int,
        parity: Parity,
        before: np.ndarray,
    ) -> None:
        """Draws the target of fairness anew in some rows, but for those in which a seed gives it."""
        assert plan.fair is not None
        target = plan.fair[0]
        drawn = parity.draw(self._logits_of(codes, target, plan), codes, before, _random(request, ~block))
        changed = drawn >= 0
        if plan.known is not None:
            start = block * BLOCK_ROWS
            changed &= plan.known[start : start + len(codes), target] == UNKNOWN
        codes[changed, target] = drawn[changed]

    def _parity(self, request: SampleRequest, plan: Plan) -> Parity:
        """Finds what makes the target fair, on a pilot sample of every group.

        Where there are seeds, the pilot is of rows spread evenly over them, so the shares are those that the
        seeded rows have.
        """
        assert plan.fair is not None
        target, sensitive = plan.fair
        pilot = replace(request, seed=request.seed ^ 0x5EED)
        free = replace(plan, known=None, fair=None)

        def given(part: int) -> np.ndarray:
            if plan.known is None:
                return np.full((BLOCK_ROWS, len(plan.forbidden)), UNKNOWN, np.int64)
            numbers = np.linspace(0, len(plan.known) - 1, _PILOT_BLOCKS * BLOCK_ROWS).astype(np.int64)
            known = plan.known[numbers[part::_PILOT_BLOCKS]].astype(np.int64)
            known[:, target] = UNKNOWN
            return known

        blocks = range(_PILOT_BLOCKS)
        codes = np.concatenate(
            [self.codes(BLOCK_ROWS, _random(pilot, b), free, given(b), pilot) for b in blocks]
        )
        groups, counts = np.unique(codes[:, list(sensitive)], axis=0, return_counts=True)
        groups = groups[np.argsort(-counts, kind="stable")[:_MAX_GROUPS]]
        parity = Parity(sensitive, groups)
        for number, group in enumerate(groups):
            known = given(number % _PILOT_BLOCKS)
            known[:, list(sensitive)] = group
            rows = self.codes(BLOCK_ROWS, _random(pilot, 1_000_000 + number), free, known, pilot)
            logits = self._logits_of(rows, target, plan)
            if plan.rebalanced is not None and plan.rebalanced[0] == target:
                logits = shares(logits, plan.rebalanced[1])
            parity.add(logits, group_of(codes, sensitive, group))
        parity.solve()
        return parity

    @torch.no_grad()
    def _logits_of(self, codes: np.ndarray, target: int, plan: Plan) -> Tensor:
        """Returns the logits of a target for rows of which all else is known."""
        known = self.conditional.empty(len(codes))
        for other in range(codes.shape[1]):
            if other != target:
                self.conditional.learn(known, other, torch.from_numpy(codes[:, other]))
        self.conditional.advance(known)
        logits = self.conditional.logits(known, target)
        logits[:, plan.forbidden[target]] = -torch.inf
        return logits

    @torch.no_grad()
    def codes(
        self,
        rows: int,
        rng: np.random.Generator,
        plan: Plan,
        given: np.ndarray | None,
        request: SampleRequest,
        until: tuple[int, ...] | None = None,
    ) -> np.ndarray:
        """Samples the codes of some rows, `(rows, targets)`, keeping the given ones.

        With `until` it stops when those targets are there; they are what they would be in the whole.
        """
        ranks = self.bundle.config.ranks(plan.order)
        last = len(ranks) if until is None else 1 + max(ranks[target] for target in until)
        uniform = torch.from_numpy(rng.random((last, rows), dtype=np.float32))
        codes = torch.full((len(ranks), rows), UNKNOWN, dtype=torch.int64)
        known, level = self.conditional.empty(rows), -1
        if given is not None:
            codes.copy_(torch.from_numpy(given).t())
            self.learn_given(known, codes.t())
        beginnings = None
        if given is None:
            beginnings = Beginnings(self.conditional.empty(1), torch.zeros(rows, dtype=torch.int64))
        order = sorted(range(len(ranks)), key=ranks.__getitem__)[:last]
        for target, numbers in zip(order, uniform, strict=True):
            if ranks[target] * self.bundle.config.levels // len(ranks) > level:
                level = ranks[target] * self.bundle.config.levels // len(ranks)
                self.conditional.advance(known)
                if beginnings is not None:
                    self.conditional.advance(beginnings.known)
            have = None if given is None else codes[target] >= 0
            if have is not None and have.all():
                continue
            drawn = self._drawn(beginnings or Beginnings(known), target, numbers, plan, request)
            if self._absent_with_null(target):
                drawn = torch.where(codes[self._first_part[target]] == 0, 0, drawn)
            if have is None or not have.any():
                codes[target] = drawn
                self.conditional.learn(known, target, drawn)
            else:
                missing = (~have).nonzero()[:, 0]
                codes[target, missing] = drawn[missing]
                self.conditional.learn(known, target, drawn[missing], missing)
            if beginnings is not None:
                size = self.bundle.config.cardinalities[target]
                few = beginnings.count * size <= rows // _ROWS_OF_BEGINNING
                beginnings = beginnings.longer(self.conditional, target, size, drawn) if few else None
        return codes.t().numpy()

    def _drawn(
        self, beginnings: Beginnings, target: int, uniform: Tensor, plan: Plan, request: SampleRequest
    ) -> Tensor:
        """Returns a code of a target for each row."""
        if self.bundle.config.cardinalities[target] == 1:
            return torch.zeros(len(uniform), dtype=torch.int64)
        if plan.rebalanced is not None and plan.rebalanced[0] == target:  # its shares are asked for as such
            request = replace(request, temperature=1.0, top_p=1.0)
        if beginnings.of is None:
            return draw(self._logits(beginnings.known, target, plan), uniform, request)
        with computing(1, large=False):
            logits = self._logits(beginnings.known, target, plan)
        return draw(logits, uniform, request, beginnings.of)

    def learn_given(self, known: Known, codes: Tensor) -> None:
        """Adds the codes of some rows, `UNKNOWN` where there is none, to what is known of them."""
        for target in range(codes.shape[1]):
            have = (codes[:, target] >= 0).nonzero()[:, 0]
            if len(have):
                self.conditional.learn(known, target, codes[have, target], have)

    def _absent_with_null(self, target: int) -> bool:
        """Says whether code 0 of a target stands for the absence of a value."""
        part = self.bundle.codec.sub_columns[target]
        return self.bundle.codec.codecs[part.column].nullable and part.part > 0

    def _logits(self, known: Known, target: int, plan: Plan) -> Tensor:
        """Returns a target's logits with what must not be sampled at minus infinity."""
        logits = self.conditional.logits(known, target)
        part = self.bundle.codec.sub_columns[target]
        ragged = self.bundle.codec.codecs[part.column].ragged
        if plan.rebalanced is not None and plan.rebalanced[0] == target:
            logits = shares(logits, plan.rebalanced[1])
        if len(plan.forbidden[target]):
            logits[:, plan.forbidden[target]] = -torch.inf
        if self._absent_with_null(target) and not ragged and part.cardinality > 1:
            logits[:, 0] = -torch.inf
        return logits


def _random(request: SampleRequest, block: int) -> np.random.Generator:
    """Returns the random numbers of a block: Philox, keyed by seed, table and block."""
    entropy = [request.seed & (2**63 - 1), zlib.crc32(request.table.encode()), block & (2**63 - 1)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def _put_seeds(table: pa.Table, seeds: pa.Table) -> pa.Table:
    """Puts the seeds' values back as they were given."""
    for name in seeds.column_names:
        position = table.schema.get_field_index(name)
        field = table.schema.field(position)
        kind = working_type(field.type)
        both = pc.coalesce(plain(seeds[name], kind), plain(table[name], kind))
        table = table.set_column(position, field, restored(both, field.type))
    return table
