"""Attribute inference and linkability: what one who knows some cells of a record learns of the others.

The definitions are those of Giomi et al. (PoPETs 2023), with this project's points (see `records`) as the
metric:

- *Attribute inference*: the attacker knows all cells but one and guesses that one from the nearest synthetic
  record. A category must be equal, a number at most 5 % of the ranks away. The same guess from the nearest
  record of the reference, which are holdout records, is what the population tells anyway; a record's score is
  what the synthetic data add to it.
- *Linkability*: the attacker holds two halves of the columns in two places, and links them if a synthetic
  record is among the nearest of both.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.exchange import Labels, PrivacyTest, against
from simulacra_qa.metrics.nearest import Features, relative_squares

__all__ = ["Targets", "attribute_inference", "linkability"]

_MOST_SECRETS = 8
_RIGHT_WITHIN = 0.05
_SPLITS = 3
_LINKED_AMONG = 5
_JITTER = 1e-6

Floats = npt.NDArray[np.float64]


class Targets:
    """Points by column: of the targets (training, then holdout), the synthetic records, and the reference."""

    def __init__(self, targets: list[Features], synthetic: list[Features], reference: list[Features]) -> None:
        self.targets, self.synthetic, self.reference = targets, synthetic, reference

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.targets)

    @classmethod
    def of(cls, blocks: list[list[Features]], labels: Labels, *, most: int) -> "Targets":
        """Takes the labels' records as targets, and the rest of the holdout as reference."""
        training, holdout, synthetic = blocks
        both = [
            np.concatenate([t[: labels.members], h[: labels.others]])
            for t, h in zip(training, holdout, strict=True)
        ]
        rest = [block[labels.others : labels.others + most] for block in holdout]
        return cls(both, [block[:most] for block in synthetic], rest)


def attribute_inference(data: Targets, labels: Labels, rng: np.random.Generator) -> PrivacyTest | None:
    """Runs the attack on several secret columns; None if there is but one column, or no reference."""
    if data.width < 2 or not len(data.reference[0]):
        return None
    secrets = np.sort(rng.choice(data.width, min(data.width, _MOST_SECRETS), replace=False))
    by_synthetic = _guesses(data.targets, data.synthetic, secrets)
    by_reference = _guesses(data.targets, data.reference, secrets)
    right, base = by_synthetic.mean(axis=1), by_reference.mean(axis=1)
    gain = right - base
    inside, outside = gain[: labels.members], gain[labels.members :]
    training = float(right[: labels.members].mean())
    holdout = training - float(inside.mean() - outside.mean())
    test = against(
        "attribute_inference",
        training,
        holdout,
        labels.members * len(secrets),
        labels.of_scores(gain),
        _standard_error(inside, outside),
    )
    return replace(test, baseline=float(base[: labels.members].mean()))


def linkability(data: Targets, labels: Labels, rng: np.random.Generator) -> PrivacyTest | None:
    """Runs the attack for several random halves of the columns; None if there is but one column."""
    if data.width < 2:
        return None
    score = np.zeros(len(data.targets[0]))
    for _ in range(_SPLITS):
        order = rng.permutation(data.width)
        halves = order[: data.width // 2], order[data.width // 2 :]
        first, second = (_nearest(data, half, rng) for half in halves)
        score += (first[:, :, None] == second[:, None, :]).any(axis=(1, 2)) / _SPLITS
    inside, outside = score[: labels.members], score[labels.members :]
    return against(
        "linkability",
        float(inside.mean()),
        float(outside.mean()),
        labels.members * _SPLITS,
        labels.of_scores(score),
        _standard_error(inside, outside),
    )


def _guesses(
    targets: Sequence[Features], records: Sequence[Features], secrets: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Returns whether the nearest record by all other columns has the secret: (targets, secrets)."""
    squares = relative_squares(np.concatenate(targets, axis=1), np.concatenate(records, axis=1))
    right = np.empty((len(squares), len(secrets)), np.bool_)
    for i, secret in enumerate(secrets):
        known = squares - relative_squares(targets[secret], records[secret])
        guess = records[secret][known.argmin(axis=1)]
        right[:, i] = ((targets[secret] - guess) ** 2).sum(axis=1) <= _RIGHT_WITHIN**2
    return right


def _nearest(
    data: Targets, columns: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    left = np.concatenate([data.targets[column] for column in columns], axis=1)
    right = np.concatenate([data.synthetic[column] for column in columns], axis=1)
    squares = relative_squares(left, right)
    # Ties are broken at random, and differently in both halves, lest the order of records links them.
    squares += _JITTER * rng.random(squares.shape[1], np.float32)
    k = min(_LINKED_AMONG, squares.shape[1])
    return np.argpartition(squares, k - 1, axis=1)[:, :k]


def _standard_error(inside: Floats, outside: Floats) -> float:
    # One success and one failure more (Agresti and Caffo, 2000), so that the error is never 0.
    return float(
        np.sqrt(sum((part.var() * len(part) + 0.5) / (len(part) + 2) ** 2 for part in (inside, outside)))
    )
