"""The words of a judgement: how good a number is, and what stands out."""

from dataclasses import dataclass
from enum import StrEnum

from simulacra_qa.metrics.accuracy import Interval

__all__ = ["Finding", "Level", "Verdict", "in_percent"]


class Level(StrEnum):
    """How good it is."""

    GOOD = "good"
    FAIR = "fair"
    POOR = "poor"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One number with its ceiling or expectation, and what to think of it."""

    title: str
    value: float
    target: float | None
    interval: Interval | None
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that stands out; `metric` names what showed it."""

    level: Level
    metric: str
    text: str


def in_percent(share: float) -> str:
    """Writes a share."""
    return f"{100 * share:.1f} %" if share >= 0.0005 or share == 0 else "< 0.1 %"
