"""Protection of single people: no stored value, bound or quantile may be that of fewer than k subjects."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["MIN_SUBJECTS", "Protection"]

MIN_SUBJECTS = 20
"""A column with values of fewer subjects than this is fully protected: nothing is learnt about it."""


@dataclass(frozen=True, slots=True)
class Protection:
    """The rule for one column, with the subjects of the rows that it is about.

    Attributes:
        threshold: Subjects that must share whatever is stored; 1 when protection is off.
        subjects: The subject of each row as 0..m-1, or None when each row is a subject of its own.
    """

    threshold: int = 1
    subjects: np.ndarray | None = None

    @property
    def enabled(self) -> bool:
        """Says whether anything is protected at all."""
        return self.threshold > 1

    def take(self, rows: np.ndarray | slice) -> "Protection":
        """Returns the rule for some of the rows, given as a mask, as indices or as a slice."""
        return Protection(self.threshold, None if self.subjects is None else self.subjects[rows])

    def people(self, rows: int) -> int:
        """Returns how many subjects this rule's rows have; `rows` is how many those are."""
        return rows if self.subjects is None else len(np.unique(self.subjects))

    def shared_by_few(self, rows: np.ndarray) -> bool:
        """Says whether so few subjects have these rows, given as indices, that nothing may depend on them."""
        return len(rows) == 0 or (self.enabled and self.take(rows).people(len(rows)) < self.threshold)

    def count(self, codes: np.ndarray, size: int) -> np.ndarray:
        """Returns how many distinct subjects have each code in 0..size-1."""
        if self.subjects is None or not self.enabled:
            return np.bincount(codes, minlength=size)
        width = int(self.subjects.max(initial=0)) + 1
        pairs: np.ndarray = np.unique(codes.astype(np.int64) * width + self.subjects)
        return np.bincount(pairs // width, minlength=size)

    def quoted(self, text: str, texts: pa.Array) -> str:
        """Returns one of the rows' texts as an error may show it: messages outlive the data too.

        Of a text that fewer than k subjects have only the shape is shown, its letters and digits masked.
        """
        having = np.flatnonzero(pc.equal(texts, text).fill_null(False).to_numpy(zero_copy_only=False))
        if self.enabled and self.shared_by_few(having):
            shape = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "0", text[:100]))
            return f"{shape!r} (letters and digits masked)"
        return repr(text[:100])

    def hides_all(self, rows: int) -> bool:
        """Says whether so many rows have too few subjects to learn anything from them."""
        return rows == 0 or (self.enabled and self.people(rows) < MIN_SUBJECTS)

    def bounds(self, ordered: np.ndarray) -> tuple[Any, Any]:
        """Returns protected extremes of ascending values.

        Each is the mean over the k-th to the (2k-1)-th subject from that end, so it is nobody's own value.
        The subjects of this rule are those of `ordered`, in its order.
        """
        if not self.enabled:
            return ordered[0], ordered[-1]
        upwards = ordered[self._inner(self.subjects, len(ordered))]
        reverse = None if self.subjects is None else self.subjects[::-1]
        downwards = ordered[::-1][self._inner(reverse, len(ordered))]
        return _mean(upwards), _mean(downwards)

    def _inner(self, subjects: np.ndarray | None, rows: int) -> np.ndarray:
        """Returns the positions of the k-th to the (2k-1)-th distinct subject from the start."""
        if subjects is None:
            return np.arange(self.threshold - 1, min(2 * self.threshold - 1, rows))
        first: np.ndarray = np.sort(np.unique(subjects, return_index=True)[1])
        return first[self.threshold - 1 : 2 * self.threshold - 1]

    def smooth(self, ordered: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Returns quantiles of ascending floats, each the mean of the window around its position.

        A window holds at least k subjects as far as there are so many, so no quantile is one subject's value.
        Without protection the values themselves are returned.
        """
        if not self.enabled:
            return np.asarray(ordered[positions])
        width = np.full(len(positions), self.threshold | 1)
        if self.subjects is not None:
            width = np.array([self._window(position, self.subjects) for position in positions], np.int64)
        low = np.clip(positions - width // 2, 0, np.maximum(len(ordered) - width, 0))
        high = np.minimum(low + width, len(ordered))
        sums = np.concatenate([[0.0], np.cumsum(ordered - ordered[0])])
        means: np.ndarray = ordered[0] + (sums[high] - sums[low]) / np.maximum(high - low, 1)
        return means

    def _window(self, position: int, subjects: np.ndarray) -> int:
        """Returns how many rows around a position have k subjects."""
        width = self.threshold | 1
        while width < len(subjects):
            start = max(min(position - width // 2, len(subjects) - width), 0)
            if len(np.unique(subjects[start : start + width])) >= self.threshold:
                break
            width = 2 * width + 1
        return width


def _mean(values: np.ndarray) -> Any:
    """Returns the mean in the values' own type, without overflow for integers beyond 2^53."""
    base = values[0]
    if not np.issubdtype(values.dtype, np.integer):
        return base + (values - base).mean()  # exactly the base when all are equal
    distance = np.abs(values.astype(np.float64) - float(base)).mean()
    step = np.uint64(min(np.rint(distance), 2.0**63))
    unsigned = np.asarray(base).view(np.uint64)
    moved = unsigned + step if values[-1] >= base else unsigned - step
    return np.clip(moved.view(np.int64), values.min(), values.max())
