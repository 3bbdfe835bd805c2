"""All privacy tests that compare attacks on training records with attacks on holdout records.

Each draws its randomness from the same generator in a fixed order, and each keeps its level: where training
left no trace, a p-value is below .05 in one of twenty evaluations.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.exchange import Labels, PrivacyTest
from simulacra_qa.metrics.identical import identical_match
from simulacra_qa.metrics.inference import Targets, attribute_inference, linkability
from simulacra_qa.metrics.leaks import Leaks
from simulacra_qa.metrics.records import Records
from simulacra_qa.metrics.singling_out import singling_out

__all__ = ["leaks_of", "privacy_tests"]

_LEAST = 20
_MOST_TARGETS = 2_500
_MOST_INFERRED = 1_000
_MOST_KNOWN = 2_500


def leaks_of(
    records: Records, rows: tuple[int, int, int], subjects: npt.NDArray[np.int64] | None = None
) -> Leaks | None:
    """Returns what looks for leaks while columns are read; None if there are too few records."""
    if records.size < _LEAST:
        return None
    targets = min(records.size, _MOST_TARGETS)
    return Leaks(np.concatenate([pick[:targets] for pick in records.picks[:2]]), rows, subjects)


def privacy_tests(records: Records, leaks: Leaks | None, rng: np.random.Generator) -> Iterator[PrivacyTest]:
    """Yields the tests one by one; none if there are too few records."""
    if records.size < _LEAST or leaks is None:
        return
    targets = min(records.size, _MOST_TARGETS)
    labels = Labels(targets, targets, rng)
    yield identical_match(records, labels)
    yield from leaks.tests(labels)
    found = singling_out(records, labels, rng)
    if found is not None:
        yield found
    half = min(records.size // 2, _MOST_INFERRED)
    labels = Labels(half, half, rng)
    data = Targets.of(records.blocks(), labels, most=_MOST_KNOWN)
    for attack in (attribute_inference, linkability):
        test = attack(data, labels, rng)
        if test is not None:
            yield test
