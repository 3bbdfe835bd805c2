"""An evaluation as the contract's classes, and as the one JSON document that is stored beside the report."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simulacra import domain
from simulacra.domain import Accuracy, ColumnScore, Distances, ModelMetrics, PairScore, ScoreBin, Similarity
from simulacra_qa.evaluation import Evaluation
from simulacra_qa.metrics.accuracy import Interval, Score
from simulacra_qa.metrics.bins import RARE_BELOW
from simulacra_qa.metrics.membership import FALSE_POSITIVE_RATES
from simulacra_qa.metrics.minilm import NOT_ASKED, Absent
from simulacra_qa.metrics.relations import RelationScores
from simulacra_qa.shares import axes_of
from simulacra_qa.verdict import findings, verdicts

__all__ = ["column_scores", "metrics_document", "model_metrics", "pair_scores", "relation_metrics"]

_DIGITS = 7


def model_metrics(evaluation: Evaluation) -> ModelMetrics:
    """Returns the metrics of the schema."""
    marginals = evaluation.marginals
    univariate, univariate_max = _means(marginals.univariate)
    bivariate, bivariate_max = _means(marginals.bivariate)
    trivariate, trivariate_max = _means(marginals.trivariate)
    unfolding = evaluation.coherence
    coherence, coherence_max = (
        (_rounded(unfolding.accuracy), _rounded(unfolding.ceiling)) if unfolding else (None, None)
    )
    accuracy = Accuracy(
        overall=_overall(univariate, bivariate, coherence),
        univariate=univariate,
        bivariate=bivariate,
        coherence=coherence,
        trivariate=trivariate,
        overall_max=_overall(univariate_max, bivariate_max, coherence_max),
        univariate_max=univariate_max,
        bivariate_max=bivariate_max,
        coherence_max=coherence_max,
        trivariate_max=trivariate_max,
        overall_max_interval=None if unfolding else _interval(marginals.overall_interval),
        coherence_max_interval=_interval(unfolding.interval if unfolding else None),
        univariate_max_interval=_interval(marginals.univariate_interval),
        bivariate_max_interval=_interval(marginals.bivariate_interval),
        trivariate_max_interval=_interval(marginals.trivariate_interval),
    )
    return ModelMetrics(
        accuracy=accuracy,
        distances=_distances(evaluation),
        similarity=_similarity(evaluation),
        privacy=_privacy(evaluation),
        utility=_utility(evaluation),
        relations=[relation_metrics(scores) for scores in evaluation.relations],
    )


def relation_metrics(scores: RelationScores) -> domain.RelationMetrics:
    """Returns the metrics of one foreign key."""
    pairs = list(scores.bivariates.values())
    bivariate, bivariate_max = _means(pairs)
    return domain.RelationMetrics(
        child_table=scores.relation.child,
        foreign_key=scores.relation.foreign_key,
        parent_table=scores.relation.parent,
        referential_integrity=_rounded(scores.referential_integrity),
        key_uniqueness=_rounded(scores.key_uniqueness),
        child_counts=_rounded(scores.child_counts.accuracy),
        child_counts_max=_rounded(scores.child_counts.ceiling),
        bivariate=bivariate,
        bivariate_max=bivariate_max,
        null_share_training=_rounded(scores.null_shares[0]),
        null_share_synthetic=_rounded(scores.null_shares[1]),
        null_patterns=_rounded(scores.null_patterns.accuracy),
        null_patterns_max=_rounded(scores.null_patterns.ceiling),
    )


def _utility(evaluation: Evaluation) -> domain.Utility | None:
    found = evaluation.utility
    if found is None:
        return None
    return domain.Utility(
        target=evaluation.columns[found.target],
        measure=found.measure,
        synthetic=_rounded(found.synthetic),
        training=_rounded(found.training),
        difference_interval=_certain(found.difference),
    )


def column_scores(evaluation: Evaluation) -> list[ColumnScore]:
    """Returns every column's accuracy with its bins; bins of fewer than `RARE_BELOW` training rows show 0."""
    scores, axes = [], axes_of(evaluation)
    for position, score in enumerate(evaluation.marginals.univariate):
        counts, shown = evaluation.marginals.counts[(position,)], axes[position]
        training, _, synthetic = shown.shown(counts)
        bins = [
            ScoreBin(
                label=label,
                training_share=_rounded(before / evaluation.rows[0] if before >= RARE_BELOW else 0.0),
                synthetic_share=_rounded(after / evaluation.rows[2]),
            )
            for label, before, after in zip(shown.labels, training, synthetic, strict=True)
        ]
        scores.append(
            ColumnScore(
                column=evaluation.columns[position],
                accuracy=_rounded(score.accuracy),
                accuracy_max=_rounded(score.ceiling),
                bins=bins,
            )
        )
    return scores


def pair_scores(evaluation: Evaluation) -> list[PairScore]:
    """Returns every pair's accuracy; a column with itself is the accuracy of its transitions in sequences."""
    unfolding = evaluation.coherence.transitions if evaluation.coherence else ()
    return [
        PairScore(
            first_column=evaluation.columns[score.columns[0]],
            second_column=evaluation.columns[score.columns[1]],
            accuracy=_rounded(score.accuracy),
            accuracy_max=_rounded(score.ceiling),
        )
        for score in (*evaluation.marginals.bivariate, *unfolding)
    ]


def metrics_document(evaluation: Evaluation) -> dict[str, Any]:
    """Returns all numbers as JSON: metrics, intervals, findings, and the scores of columns and pairs."""
    marginals, distances = evaluation.marginals, evaluation.distances
    intervals = {
        "overall_max": marginals.overall_interval,
        "univariate_max": marginals.univariate_interval,
        "bivariate_max": marginals.bivariate_interval,
        "trivariate_max": marginals.trivariate_interval,
        "dcr_share": distances.dcr_share_interval if distances is not None else None,
    }
    training, holdout, synthetic = evaluation.rows
    return {
        "metrics": model_metrics(evaluation).model_dump(mode="json"),
        "intervals": {name: _pair(interval) for name, interval in intervals.items() if interval is not None},
        "reference": evaluation.options.reference.value,
        "seed": evaluation.options.seed,
        "rows": {"training": training, "holdout": holdout, "synthetic": synthetic},
        "discriminator": _discriminator(evaluation),
        "membership": [
            {
                "attack": attack.name,
                "auc": _rounded(attack.auc),
                "interval": _pair(attack.interval),
                "p_value": _rounded(attack.p_value),
                "true_positive_rates": [
                    {"at": at, "rate": _rounded(rate), "interval": _pair(interval)}
                    for at, (rate, interval) in zip(FALSE_POSITIVE_RATES, attack.hits, strict=True)
                ],
            }
            for attack in (evaluation.membership.attacks if evaluation.membership else ())
        ],
        "verdicts": {
            name: {"level": verdict.level.value, "text": verdict.text}
            for name, verdict in verdicts(evaluation).items()
        },
        "findings": [
            {"level": item.level.value, "metric": item.metric, "text": item.text}
            for item in findings(evaluation)
        ],
        "columns": [score.model_dump(mode="json") for score in column_scores(evaluation)],
        "pairs": [score.model_dump(mode="json") for score in pair_scores(evaluation)],
    }


def _distances(evaluation: Evaluation) -> Distances | None:
    found = evaluation.distances
    if found is None:
        return None
    return Distances(
        ims_training=_rounded(found.ims_training),
        ims_holdout=_rounded(found.ims_holdout),
        dcr_training=_rounded(found.dcr_training),
        dcr_holdout=_rounded(found.dcr_holdout),
        dcr_share=_rounded(found.dcr_share),
        dcr_share_interval=_interval(found.dcr_share_interval),
        samples=found.records,
    )


def _similarity(evaluation: Evaluation) -> Similarity | None:
    found, embedded = evaluation.discrimination, evaluation.similar
    if found is None and embedded is NOT_ASKED:
        return None
    result = Similarity()
    if found is not None:
        result.boosting_auc_training_synthetic = _rounded(found.synthetic)
        result.boosting_auc_training_holdout = _rounded(found.holdout)
    if isinstance(embedded, Absent):
        result.embedding_absent_reason = embedded.reason
        return result
    result.cosine_similarity_training_synthetic = _rounded(embedded.cosine_synthetic)
    result.cosine_similarity_training_holdout = _maybe(embedded.cosine_holdout)
    result.discriminator_auc_training_synthetic = _maybe(embedded.auc_synthetic)
    result.discriminator_auc_training_holdout = _maybe(embedded.auc_holdout)
    result.embedded_samples = embedded.records
    return result


def _privacy(evaluation: Evaluation) -> domain.Privacy | None:
    battery = evaluation.membership
    if evaluation.rare_categories is None:
        return None
    tests = [
        domain.PrivacyTest(
            name=test.name,
            attempts=test.attempts,
            training=_rounded(test.training),
            holdout=_rounded(test.holdout),
            risk=_rounded(test.risk),
            risk_interval=_certain(test.interval),
            p_value=test.p_value,
            baseline=None if test.baseline is None else _rounded(test.baseline),
        )
        for test in evaluation.privacy
    ]
    attacks = [
        domain.MembershipAttack(
            name=attack.name,
            auc=_rounded(attack.auc),
            auc_interval=_certain(attack.interval),
            p_value=attack.p_value,
            true_positive_rates=[
                domain.TruePositiveRate(
                    false_positive_rate=at, rate=_rounded(rate), interval=_certain(interval)
                )
                for at, (rate, interval) in zip(FALSE_POSITIVE_RATES, attack.hits, strict=True)
            ],
        )
        for attack in (battery.attacks if battery else ())
    ]
    return domain.Privacy(
        tests=tests,
        membership_attacks=attacks,
        membership_p_value=battery.p_value if battery else None,
        rare_categories=evaluation.rare_categories,
    )


def _discriminator(evaluation: Evaluation) -> dict[str, Any] | None:
    found = evaluation.discrimination
    if found is None:
        return None
    auc = {"synthetic": _rounded(found.synthetic), "holdout": _rounded(found.holdout)}
    return {**auc, "records": found.records}


def _means(scores: Sequence[Score]) -> tuple[float | None, float | None]:
    if not scores:
        return None, None
    values, ceilings = zip(*((score.accuracy, score.ceiling) for score in scores), strict=True)
    return _rounded(np.mean(values)), _rounded(np.mean(ceilings))


def _overall(*parts: float | None) -> float:
    return _rounded(np.mean([part for part in parts if part is not None]))


def _maybe(value: float | None) -> float | None:
    return None if value is None else _rounded(value)


def _certain(interval: Interval) -> domain.Interval:
    return domain.Interval(low=_rounded(interval.low), high=_rounded(interval.high))


def _interval(interval: Interval | None) -> domain.Interval | None:
    return None if interval is None else _certain(interval)


def _pair(interval: Interval) -> list[float]:
    return [_rounded(interval.low), _rounded(interval.high)]


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), _DIGITS)
