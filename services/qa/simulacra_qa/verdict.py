"""Says in plain words what the numbers mean: one verdict per metric, and what stands out in the data.

Thresholds are here and in `structure`, and nowhere else. A finding is reported only if it is both
significant, given the number of rows, and large enough to matter.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from simulacra_qa.evaluation import Evaluation
from simulacra_qa.judgement import Finding, Level, Verdict, in_percent
from simulacra_qa.metrics.accuracy import Interval, Score
from simulacra_qa.metrics.bins import OTHER
from simulacra_qa.metrics.coherence import Coherence
from simulacra_qa.metrics.discriminator import Discrimination
from simulacra_qa.metrics.distances import DistanceScores
from simulacra_qa.metrics.minilm import Absent
from simulacra_qa.metrics.similarity import Similar
from simulacra_qa.structure import (
    keyless_findings,
    relation_findings,
    sequence_findings,
    utility_findings,
)

__all__ = ["TOO_FEW_ROWS", "Finding", "Level", "Verdict", "findings", "verdicts"]

TOO_FEW_ROWS = "rows"
"""What shows that there is too little to judge."""

_SIGNIFICANT = 4.0
_MISSING_MATTERS = 0.01
_MEAN_MATTERS = 0.05
_SPREAD_OUT = 0.5
_MOST_PER_KIND = 5
_STRONG = 0.2
_FADED = 0.5
_FEW_ROWS = 200
_TOO_FEW_ROWS = (100, 20, 100)
_BETRAYED = 0.001
_BETRAYED_REACH = 3.29 / 1.96  # of a 95 % interval to one that one in a thousand harmless data sets leave
_RISKY = 0.02
_GRAVEST_FIRST = (Level.POOR, Level.FAIR, Level.NOTE, Level.GOOD)


def verdicts(evaluation: Evaluation) -> dict[str, Verdict]:
    """Returns the verdicts by metric, of those metrics that were measured."""
    marginals = evaluation.marginals
    result = {
        "univariate": _accuracy("Columns", marginals.univariate, marginals.univariate_interval),
    }
    if marginals.bivariate:
        result["bivariate"] = _accuracy("Pairs", marginals.bivariate, marginals.bivariate_interval)
    if marginals.trivariate:
        result["trivariate"] = _accuracy("Triples", marginals.trivariate, marginals.trivariate_interval)
    if evaluation.coherence is not None:
        result["coherence"] = _unfolding(evaluation.coherence)
    parts = [result[name] for name in ("univariate", "bivariate", "coherence") if name in result]
    value = float(np.mean([part.value for part in parts]))
    target = float(np.mean([part.target for part in parts if part.target is not None]))
    interval = marginals.overall_interval if evaluation.coherence is None else None
    result["overall"] = _judged("Accuracy", value, target, interval)
    if evaluation.discrimination is not None:
        result["discriminator"] = _realism(evaluation.discrimination)
    if not isinstance(evaluation.similar, Absent):
        result["similarity"] = _alike(evaluation.similar)
    if evaluation.distances is not None:
        result["distances"] = _privacy(evaluation)
    return result


def findings(evaluation: Evaluation) -> list[Finding]:
    """Returns what stands out, the gravest first."""
    found = [
        *_copies(evaluation),
        *_membership(evaluation),
        *_tests(evaluation),
        *_first(_missing(evaluation)),
        *_first(_means(evaluation)),
        *_dependence(evaluation),
        *_first(_unnamed(evaluation)),
        *_unjudged(evaluation),
        *keyless_findings(evaluation),
        *sequence_findings(evaluation),
        *relation_findings(evaluation),
        *utility_findings(evaluation),
        *_few_rows(evaluation),
    ]
    return sorted(found, key=lambda finding: _GRAVEST_FIRST.index(finding.level))


def _accuracy(title: str, scores: list[Score], interval: Interval | None) -> Verdict:
    value = float(np.mean([score.accuracy for score in scores]))
    target = float(np.mean([score.ceiling for score in scores]))
    return _judged(title, value, target, interval)


def _judged(title: str, value: float, target: float, interval: Interval | None) -> Verdict:
    low = interval.low if interval else target
    short = target - value
    if interval and value > interval.high:
        level, text = (
            Level.NOTE,
            "Closer than a fresh sample of the original would be; see the privacy tests.",
        )
    elif value >= low:
        level, text = Level.GOOD, "As close as a fresh sample of the original."
    elif short <= 0.015:
        level, text = (
            Level.GOOD,
            f"Very close: {_points(short)} below what a fresh sample of the original reaches.",
        )
    elif short <= 0.05:
        level, text = Level.FAIR, f"Close, with visible differences: {_points(short)} below a fresh sample."
    else:
        level, text = (
            Level.POOR,
            f"Clearly different from the original: {_points(short)} below a fresh sample.",
        )
    return Verdict(title, value, target, interval, level, text)


def _unfolding(found: Coherence) -> Verdict:
    return _judged("Coherence", found.accuracy, found.ceiling, found.interval)


def _realism(found: Discrimination) -> Verdict:
    over = found.synthetic - max(found.holdout, 0.5)
    if over <= max(0.03, _chance(found.records)):
        level, text = Level.GOOD, "A classifier cannot tell synthetic from training records."
    elif over <= 0.15:
        level, text = (
            Level.FAIR,
            "A classifier tells synthetic from training records a little better than chance.",
        )
    else:
        level, text = Level.POOR, "A classifier tells synthetic from training records: patterns are missing."
    return Verdict("Realism", found.synthetic, found.holdout, None, level, text)


def _alike(found: Similar) -> Verdict:
    expected = found.cosine_holdout if found.cosine_holdout is not None else 1.0
    if found.cosine_synthetic < expected - 0.02:
        level, text = Level.POOR, "Read as texts, synthetic records differ from training records on average."
    elif (found.auc_synthetic or 0.5) - max(found.auc_holdout or 0.5, 0.5) > max(0.1, _chance(found.records)):
        level, text = Level.FAIR, "Read as texts, synthetic records agree on average but can be told apart."
    else:
        level, text = Level.GOOD, "Read as texts, synthetic records are like training records."
    return Verdict("Similarity", found.cosine_synthetic, found.cosine_holdout, None, level, text)


def _privacy(evaluation: Evaluation) -> Verdict:
    distances = evaluation.distances
    assert distances is not None
    if _too_identical(evaluation):
        level, text = (
            Level.POOR,
            "Closer to the training records than to records that were never seen: some were copied.",
        )
    elif _shines_through(distances):
        level, text = (
            Level.POOR,
            "Closer to the training records than to records that were never seen: single ones shine through.",
        )
    elif distances.dcr_share_interval.low > 0.5:
        level, text = Level.FAIR, "Slightly closer to the training records than chance explains."
    else:
        level, text = Level.GOOD, "No closer to the training records than to records that were never seen."
    return Verdict("Privacy", distances.dcr_share, 0.5, distances.dcr_share_interval, level, text)


def _too_identical(evaluation: Evaluation) -> bool:
    distances = evaluation.distances
    assert distances is not None
    return _z(distances.ims_training, distances.ims_holdout, distances.matched) > _SIGNIFICANT


def _shines_through(distances: DistanceScores) -> bool:
    """Tells whether more synthetic records are closer to training than chance and a weak trace explain."""
    over = distances.dcr_share - 0.5
    return over > 0.02 and over > _BETRAYED_REACH * (distances.dcr_share - distances.dcr_share_interval.low)


def _copies(evaluation: Evaluation) -> Iterator[Finding]:
    distances = evaluation.distances
    if distances is None:
        return
    copied = _too_identical(evaluation)
    if copied:
        yield Finding(
            Level.POOR,
            "ims_training",
            f"Training records are copied: {in_percent(distances.ims_training)} of the synthetic records are "
            f"identical to one of {distances.matched:,} training records, but only "
            f"{in_percent(distances.ims_holdout)} to one of as many holdout records.",
        )
    if distances.dcr_share_interval.low > 0.5:
        if copied:
            why = "the copies are among them."
        elif _shines_through(distances):
            why = "single records shine through."
        else:
            why = "a weak trace, which one in forty harmless data sets shows too."
        yield Finding(
            Level.POOR if copied or _shines_through(distances) else Level.FAIR,
            "dcr_share",
            f"{in_percent(distances.dcr_share)} of the synthetic records are closer to a training than to a "
            f"holdout record, where 50 % is expected: {why}",
        )


def _membership(evaluation: Evaluation) -> Iterator[Finding]:
    battery = evaluation.membership
    if battery is None or battery.p_value >= _BETRAYED:
        return
    attack = battery.worst
    yield Finding(
        Level.POOR if attack.auc > 0.55 else Level.FAIR,
        "membership",
        f"Training records can be recognised: by {attack.name}, an attacker ranks a training record "
        f"above another one in {attack.auc:.0%} of all cases, where 50 % is guessing.",
    )


_TOLD = {
    "identical_match": "Training records reappear: {training} of them are in the synthetic data as they are, "
    "against {holdout} of the holdout records.",
    "rare_value": "Rare values leak: {training} of the values that only few training records hold are in the "
    "synthetic data, against {holdout} of those that only holdout records hold.",
    "extreme": "The smallest and largest training values shine through: {training} of them are in the "
    "synthetic data exactly, against {holdout} of the holdout's, and synthetic values are closer to them.",
    "singling_out": "Training records can be singled out: {training} of the descriptions that the synthetic "
    "data suggest fit exactly one training record, against {holdout} that fit exactly one holdout record.",
    "attribute_inference": "Secret values of training records can be inferred: {training} of an attacker's "
    "guesses are right, where {holdout} would be if the records had not been trained on.",
    "linkability": "Training records can be linked: two halves of a record are brought together for "
    "{training} of the training records, against {holdout} of the holdout records.",
}


_NEARLY = (
    "Training records nearly reappear: they share more cells with a synthetic record than holdout records do."
)


def _tests(evaluation: Evaluation) -> Iterator[Finding]:
    for test in evaluation.privacy:
        if test.p_value < _BETRAYED:
            told = _TOLD[test.name] if test.name != "identical_match" or test.training else _NEARLY
            text = told.format(training=in_percent(test.training), holdout=in_percent(test.holdout))
            yield Finding(Level.POOR if test.risk > _RISKY else Level.FAIR, test.name, text)


def _missing(evaluation: Evaluation) -> Iterator[tuple[float, Finding]]:
    for name, profile in zip(evaluation.columns, evaluation.profiles, strict=True):
        before, _, after = profile.missing
        rows = 2 / (1 / profile.rows[0] + 1 / profile.rows[2])
        if abs(after - before) > _MISSING_MATTERS and abs(_z(before, after, int(rows))) > _SIGNIFICANT:
            gone = " Missing values were dropped." if after == 0 else ""
            text = (
                f"“{name}” is missing in {in_percent(after)} of the synthetic rows, "
                f"but in {in_percent(before)} of the training rows.{gone}"
            )
            yield abs(after - before), Finding(Level.POOR, "univariate", text)


def _means(evaluation: Evaluation) -> Iterator[tuple[float, Finding]]:
    for name, profile in zip(evaluation.columns, evaluation.profiles, strict=True):
        if profile.mean is None or not profile.spread:
            continue
        shift = (profile.mean[2] - profile.mean[0]) / profile.spread
        error = math.sqrt(1 / profile.rows[0] + 1 / profile.rows[2])
        if abs(shift) > _MEAN_MATTERS and abs(shift) > _SIGNIFICANT * error:
            level = Level.POOR if abs(shift) > 2 * _MEAN_MATTERS else Level.FAIR
            direction = "higher" if shift > 0 else "lower"
            by = f"by {abs(shift):.2f} of its spread"
            text = f"The mean of “{name}” is {direction} than in the training data, {by}."
            yield abs(shift), Finding(level, "univariate", text)


def _dependence(evaluation: Evaluation) -> Iterator[Finding]:
    before, after = evaluation.association_training, evaluation.association_synthetic
    upper = np.triu_indices(len(before), 1)
    chance = _chance_links(evaluation)
    strong = (before > np.maximum(_STRONG, chance))[upper]
    if not strong.any():
        return
    # What few rows leave open is not lost.
    found = np.where(before - after > chance, after, before)
    kept = float(found[upper][strong].sum() / before[upper][strong].sum())
    if kept >= 1 - (1 - _FADED) / 2:
        return
    worst = int((before[upper] - after[upper]).argmax())
    first, second = (evaluation.columns[index[worst]] for index in upper)
    yield Finding(
        Level.POOR if kept < _FADED else Level.FAIR,
        "bivariate",
        f"Dependence between columns is lost: of the strength of the {int(strong.sum())} strongest links, "
        f"{kept:.0%} remains. “{first}” and “{second}”, for example: {before[upper][worst]:.2f} in the "
        f"training data, {after[upper][worst]:.2f} in the synthetic data (0 is independent, 1 is "
        "determined).",
    )


def _chance_links(evaluation: Evaluation) -> npt.NDArray[np.float64]:
    """Returns how strongly independent columns may seem to be linked in so few rows, for each pair.

    The square of Cramér's V, times rows and the degrees of freedom of the shorter side, is a chi square.
    """
    freedom = np.array([max(bins.size - 1, 1) for bins in evaluation.data.bins], np.float64)
    rows = min(evaluation.rows[0], evaluation.rows[2])
    deviation = np.sqrt(2 * np.outer(freedom, freedom)) / np.minimum.outer(freedom, freedom) / rows
    links: npt.NDArray[np.float64] = np.sqrt(_SIGNIFICANT * deviation)
    return links


def _unnamed(evaluation: Evaluation) -> Iterator[tuple[float, Finding]]:
    for position, bins in enumerate(evaluation.data.bins):
        if OTHER not in bins.categories:
            continue
        counts = evaluation.marginals.counts[(position,)]
        share = counts[0][bins.categories.index(OTHER)] / max(int(counts[0].sum()), 1)
        if share > _SPREAD_OUT:
            text = (
                f"{in_percent(share)} of the values of “{evaluation.columns[position]}” are too rare to be "
                "compared one by one; accuracy counts them as one category and says little about this column."
            )
            yield share, Finding(Level.NOTE, "univariate", text)


def _unjudged(evaluation: Evaluation) -> Iterator[Finding]:
    if evaluation.unjudged:
        names = ", ".join(f"“{name}”" for name in evaluation.unjudged[:_MOST_PER_KIND])
        more = "" if len(evaluation.unjudged) <= _MOST_PER_KIND else ", and more"
        yield Finding(
            Level.FAIR,
            "overall",
            f"The synthetic data have columns that the training data have not: {names}{more}. "
            "Nothing here judges them.",
        )


def _few_rows(evaluation: Evaluation) -> Iterator[Finding]:
    names = ("training", "holdout", "synthetic")
    few = [
        f"{rows:,} {name}" for name, rows in zip(names, evaluation.rows, strict=True) if 0 < rows < _FEW_ROWS
    ]
    if few:
        text = f"There are few rows ({', '.join(few)}); all figures are rough."
        yield Finding(Level.NOTE, TOO_FEW_ROWS if _too_few(evaluation) else "overall", text)


def _too_few(evaluation: Evaluation) -> bool:
    return any(0 < rows < least for rows, least in zip(evaluation.rows, _TOO_FEW_ROWS, strict=True))


def _first(found: Iterator[tuple[float, Finding]]) -> list[Finding]:
    return [finding for _, finding in sorted(found, key=lambda pair: -pair[0])[:_MOST_PER_KIND]]


def _chance(records: int) -> float:
    """Returns how far chance takes an AUC of two samples of so many records from 1/2: 3 standard errors."""
    return 3 / math.sqrt(6 * max(records, 1))


def _z(left: float, right: float, rows: int) -> float:
    share = (left + right) / 2
    return (left - right) / math.sqrt(max(2 * share * (1 - share) / rows, 1e-12))


def _points(difference: float) -> str:
    return f"{100 * difference:.1f} points"
