"""Numbers as a few codes: frequent values are codes of their own, the others fall into bins of equal mass.

A bin keeps smoothed quantiles, between which decoding interpolates, and the grid of its values, so that
spikes, gaps, tails and round numbers survive. (Uniform bins alone turn a spike of 30 % zeros into none.)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.often import Often, heaped
from simulacra.engine.codecs.protection import Protection

__all__ = ["Cells"]

_KNOTS = 9
_MIN_ATOM_ROWS = 20
_ATOM_SHARE = 0.005
_BINS, _BINS_POWER = 0.5, 0.45  # 4 bins of 122 rows, 20 of 4,000, 64 of 50,000
_TABLE_SIZE = 1 << 18
_LARGEST_OFFSET = 2.0**64 - 2048  # the largest float below 2^64


@dataclass(frozen=True, slots=True)
class Cells:
    """A partition of a numeric range into atoms (codes 0..a-1) and bins (codes a..a+b-1).

    Integers stay integers throughout, so values beyond 2^53 are exact.

    Attributes:
        low: Lowest value that decoding may give; lower ones are clipped.
        high: Highest value that decoding may give.
        atoms: Ascending values that are codes of their own.
        bases: Lowest value of each bin, ascending.
        steps: Grid of each bin: its values are the base plus multiples of the step. All 0 for floats.
        offsets: Quantiles of each bin as multiples of its step (of 1 for floats) above its base, `(bins, 9)`;
            the first is 0, the last is where the next bin may begin.
        often: Values of bins that many rows share, which the quantiles then leave out.
    """

    low: Any
    high: Any
    atoms: np.ndarray
    bases: np.ndarray
    steps: np.ndarray
    offsets: np.ndarray
    often: Often

    @property
    def size(self) -> int:
        """Returns the number of codes."""
        return len(self.atoms) + len(self.bases)

    @property
    def places(self) -> np.ndarray:
        """The place of each code in the order of the values, in (0, 1)."""
        middles = self.bases.astype(np.float64) + self.offsets[:, _KNOTS // 2] * np.maximum(self.steps, 1)
        values = np.concatenate([self.atoms.astype(np.float64), middles])
        return np.asarray((np.argsort(np.argsort(values, kind="stable")) + 0.5) / max(len(values), 1))

    @property
    def finite(self) -> bool:
        """Says whether no difference or sum of the values was beyond the largest float."""
        return bool(np.isfinite([self.low, self.high]).all() and np.isfinite(self.offsets).all())

    @classmethod
    def fit(
        cls,
        values: np.ndarray,
        protection: Protection,
        *,
        max_atoms: int = 100,
        max_bins: int = 64,
        discrete: bool = False,
    ) -> "Cells | None":
        """Partitions the observed values.

        Args:
            values: int64 or float64, finite; any order.
            protection: The rule, with the subjects of the values.
            max_atoms: With at most so many distinct values each becomes an atom.
            max_bins: Bins for what is not in atoms.
            discrete: Make no bins as long as there are atoms: other values go to the nearest atom.

        Returns:
            The partition, or None when there are too few subjects to learn from.
        """
        if protection.hides_all(len(values)):
            return None
        ordered, rule = _sorted(values, protection)
        low, high = rule.bounds(ordered)
        if ordered.dtype == np.int64:
            low, high = _on_grid(ordered, rule, low, high)
        ordered = np.clip(ordered, low, high)
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        counts = np.diff(np.append(starts, len(ordered)))
        needed = rule.threshold
        if len(starts) > max_atoms and not discrete:
            needed = max(_MIN_ATOM_ROWS, int(_ATOM_SHARE * len(ordered)), needed)
        shared = np.ones(len(starts), bool)
        if rule.subjects is not None and rule.enabled:
            shared = rule.count(np.repeat(np.arange(len(starts)), counts), len(starts)) >= rule.threshold
        is_atom = shared & (counts >= needed)
        atoms = ordered[starts[is_atom]]
        rest = np.repeat(~is_atom, counts)
        if not rest.any() or (discrete and len(atoms)):
            nothing = (atoms[:0], np.empty(0, np.int64), np.empty((0, _KNOTS)))
            return cls(low, high, atoms, *nothing, Often.none(atoms.dtype))
        grid = _step(ordered[starts], rule) if ordered.dtype == np.int64 else 1
        is_often = np.zeros(len(starts), bool)
        allowed = shared & (counts >= rule.threshold)
        is_often[~is_atom] = heaped(ordered[starts[~is_atom]], counts[~is_atom], allowed[~is_atom], grid)
        others = ~np.repeat(is_often, counts)[rest]
        rule = rule.take(rest)
        bins = _bins(ordered[rest], others, rule, max_bins, grid, required=not len(atoms))
        if not len(bins[0]) or not is_often.any():
            return cls(low, high, atoms, *bins, Often.none(atoms.dtype))
        bin_of = cls(low, high, atoms, *bins, Often.none(atoms.dtype))._bin_of
        # Where few subjects have other values than these, the rest of the bin is theirs too.
        within = bin_of(ordered[rest])
        few = rule.take(others).count(within[others], len(bins[0])) < rule.threshold
        totals = np.bincount(within[~others | ~few[within]], minlength=len(bins[0]))
        values = ordered[starts[is_often]]
        return cls(low, high, atoms, *bins, Often.of(values, bin_of(values), counts[is_often], totals))

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Returns the code of each value as int64; values between cells go to the nearest one."""
        values = np.clip(values, self.low, self.high)
        if values.dtype == np.int64 and int(self.high) - int(self.low) < min(_TABLE_SIZE, len(values)):
            table = self._search(self.low + np.arange(int(self.high) - int(self.low) + 1))
            return np.asarray(table[values - self.low])
        return self._search(values)

    def _search(self, values: np.ndarray) -> np.ndarray:
        if not len(self.atoms):
            return self._bin_of(values)
        right = np.searchsorted(self.atoms, values).clip(max=len(self.atoms) - 1)
        if len(self.bases):
            return np.where(self.atoms[right] == values, right, len(self.atoms) + self._bin_of(values))
        left = (right - 1).clip(min=0)
        with np.errstate(over="ignore", invalid="ignore"):  # of floats near the largest
            nearer_left = values.astype(float) - self.atoms[left] < self.atoms[right].astype(float) - values
        return np.where(nearer_left & (self.atoms[right] != values), left, right)

    def _bin_of(self, values: np.ndarray) -> np.ndarray:
        return (np.searchsorted(self.bases, values, side="right") - 1).clip(min=0)

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns a value for each code, drawn between the quantiles of its bin and put on its grid."""
        count = len(self.atoms)
        if not len(self.bases):
            return np.asarray(self.atoms[codes])
        result = np.empty(len(codes), self.bases.dtype)
        if count:
            result = self.atoms[np.minimum(codes, count - 1)]
        binned = np.flatnonzero(codes >= count)
        bins = codes[binned] - count
        places = self.often.draw(bins, rng)
        free = np.flatnonzero(places < 0)
        drawn = np.empty(len(bins), self.bases.dtype)
        drawn[places >= 0] = self.often.values[places[places >= 0]]
        drawn[free] = self._draw(bins[free], rng)
        if self.bases.dtype == np.int64:
            taken = np.union1d(self.atoms, self.often.values)  # those come as often as they are to
            for _ in range(2):
                free = free[_among(drawn[free], taken)]
                drawn[free] = self._draw(bins[free], rng)
        result[binned] = drawn
        return result

    def _draw(self, bins: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        position = rng.random(len(bins)) * (_KNOTS - 1)
        knot = position.astype(np.int64)
        flat, at = self.offsets.ravel(), bins * _KNOTS + knot
        left = flat[at]
        offset = left + (position - knot) * (flat[at + 1] - left)
        base = self.bases[bins]
        if base.dtype == np.float64:
            return np.asarray(np.clip(base + offset, self.low, self.high))
        values = (base.view(np.uint64) + offset.astype(np.uint64) * self.steps[bins].view(np.uint64)).view(
            np.int64
        )
        return np.asarray(np.clip(np.where(values < base, self.high, values), self.low, self.high))

    def to_json(self) -> dict[str, Any]:
        """Returns the document that `from_json` reads."""
        return {
            "kind": "integer" if self.atoms.dtype == np.int64 else "float",
            "bounds": [self.low.item(), self.high.item()],
            "atoms": self.atoms.tolist(),
            "bases": self.bases.tolist(),
            "steps": self.steps.tolist(),
            "offsets": self.offsets.tolist(),
            "often": self.often.to_json(),
        }

    @classmethod
    def from_json(cls, document: Document) -> "Cells":
        """Reads a partition.

        Raises:
            CorruptBundle: The document is not one of a partition.
        """
        integer = document.text("kind", ("integer", "float")) == "integer"
        dtype = np.int64 if integer else np.float64
        bounds = document.array("bounds", dtype, (2,))
        atoms, bases = document.array("atoms", dtype, (None,)), document.array("bases", dtype, (None,))
        steps = document.array("steps", np.int64, (len(bases),))
        offsets = document.array("offsets", np.float64, (len(bases), _KNOTS)).reshape(len(bases), _KNOTS)
        sound = (
            len(atoms) + len(bases) > 0
            and bounds[0] <= bounds[1]
            and all((part[1:] > part[:-1]).all() for part in (atoms, bases))
            and all(((bounds[0] <= part) & (part <= bounds[1])).all() for part in (atoms, bases))
            and bool((steps >= 1).all() if integer else (steps == 0).all())
            and bool((offsets[:, :1] == 0).all() and (np.diff(offsets, axis=1) >= 0).all())
            and bool((offsets[:, -1] <= (_LARGEST_OFFSET if integer else np.inf)).all())
        )
        if not sound:
            raise document.fail("atoms", "cells are not ascending, outside the bounds, or none")
        often = Often.from_json(document.child("often"), dtype, bounds, len(bases))
        return cls(bounds[0], bounds[1], atoms, bases, steps, offsets, often)


def _among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Says which integers are among some others."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    span = int(ascending[-1]) - int(ascending[0])
    if span < _TABLE_SIZE and len(ascending) < span:
        table = np.zeros(span + 1, bool)
        table[ascending - ascending[0]] = True
        inside = (values >= ascending[0]) & (values <= ascending[-1])
        return np.asarray(inside & table[np.where(inside, values - ascending[0], 0)])
    return np.asarray(ascending[np.searchsorted(ascending, values).clip(max=len(ascending) - 1)] == values)


def _sorted(values: np.ndarray, protection: Protection) -> tuple[np.ndarray, Protection]:
    if protection.subjects is None:
        return np.sort(values), protection
    order = np.argsort(values, kind="stable")
    return values[order], protection.take(order)


def _step(distinct: np.ndarray, rule: Protection, unknown: int = 1) -> int:
    """Returns the largest step of which every integer is a multiple, counted from the first.

    Args:
        distinct: The integers, ascending.
        rule: A step needs more than k of them: that of a few is a distance between people, not a grid.
        unknown: What to return where there are too few.
    """
    if len(distinct) <= rule.threshold:
        return unknown
    step = int(np.gcd.reduce((distinct[1:] - distinct[0]).view(np.uint64)))
    return step if 0 < step < 2**63 else unknown


def _on_grid(ordered: np.ndarray, rule: Protection, low: Any, high: Any) -> tuple[Any, Any]:
    """Moves protected bounds inwards to where the grid of the values between them has a point."""
    inner = ordered[(ordered >= low) & (ordered <= high)]
    if not len(inner):
        return low, high
    step, origin = _step(np.unique(inner), rule), int(inner[0])
    return (
        np.int64(origin - (origin - int(low)) // step * step),
        np.int64(origin + (int(high) - origin) // step * step),
    )


def _bins(
    ordered: np.ndarray, others: np.ndarray, rule: Protection, max_bins: int, grid: int, *, required: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns bases, steps and quantiles of bins of about equal mass over ascending values.

    The quantiles are those of the rows in `others`, where these are of enough subjects.
    """
    people = rule.people(len(ordered))
    if people < rule.threshold and not required:
        return ordered[:0], np.empty(0, np.int64), np.empty((0, _KNOTS))
    count = int(np.clip(_BINS * people**_BINS_POWER, 1, max_bins))
    relative = _relative(ordered, ordered[0])
    cuts = rule.smooth(relative, np.linspace(0, len(ordered) - 1, count + 1).astype(np.int64))
    if ordered.dtype == np.int64:
        cuts = np.rint(cuts / grid) * grid
    rows = _populated(np.searchsorted(relative, np.unique(cuts[1:-1])), rule, len(ordered))
    inner = relative[rows[1:-1]]
    lows = np.concatenate(
        [cuts[:1], np.unique(cuts)[np.searchsorted(np.unique(cuts), inner, side="right") - 1]]
    )
    highs = np.append(lows[1:], cuts[-1])
    parts = [
        _bin(ordered[a:b], relative[a:b], others[a:b], rule.take(slice(a, b)), low, high, grid)
        for a, b, low, high in zip(rows[:-1], rows[1:], lows, highs, strict=True)
    ]
    bases, steps, offsets = zip(*parts, strict=True)
    return np.array(bases, ordered.dtype), np.array(steps, np.int64), np.stack(offsets)


def _relative(ordered: np.ndarray, origin: Any) -> np.ndarray:
    """Returns ascending values above their lowest as floats, without overflow."""
    if ordered.dtype == np.float64:
        return np.asarray(ordered - origin)
    return np.asarray((ordered - origin).view(np.uint64).astype(np.float64))


def _populated(rows: np.ndarray, rule: Protection, total: int) -> list[int]:
    """Returns the bins' first rows, and the total, without cuts that leave a bin fewer than k subjects."""
    kept = [0]
    for row in rows:
        if row > kept[-1] and rule.take(slice(kept[-1], row)).people(row - kept[-1]) >= rule.threshold:
            kept.append(int(row))
    if len(kept) > 1 and rule.take(slice(kept[-1], total)).people(total - kept[-1]) < rule.threshold:
        kept.pop()
    return [*kept, total]


def _bin(
    ordered: np.ndarray,
    relative: np.ndarray,
    others: np.ndarray,
    rule: Protection,
    low: float,
    high: float,
    grid: int,
) -> tuple[Any, int, np.ndarray]:
    """Returns the base, the step and the quantiles of one bin, whose values are those in [low, high)."""
    first = ordered[0]
    shift = low - relative[0]
    of_others = rule.take(others)
    if of_others.people(int(others.sum())) < rule.threshold:
        of_others, others = rule, np.ones(len(others), bool)
    positions = np.linspace(0, others.sum() - 1, _KNOTS)[1:-1].astype(np.int64)
    if ordered.dtype == np.float64:
        inner = of_others.smooth(relative[others], positions)
        knots = np.concatenate([[low], inner, [high]]).clip(low, high) - low
        return first + shift, 0, np.maximum.accumulate(knots)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    step = _step(ordered[starts], rule, grid)
    above = -(-int(shift) // step) * step
    if above + relative[0] > high:
        step, above = grid, -(-int(shift) // grid) * grid
    counts = np.diff(np.append(starts, len(ordered)))
    ties = (np.arange(len(ordered)) - np.repeat(starts, counts) + 0.5) / np.repeat(counts, counts)
    start = relative[0] + above
    inner = of_others.smooth(((relative - start) / step + ties)[others], positions)
    width = min(max(1.0, np.ceil((high - start) / step)), _LARGEST_OFFSET)
    knots = np.concatenate([[0.0], inner, [width]]).clip(0, width)
    return np.int64(int(first) + above), step, np.maximum.accumulate(knots)
