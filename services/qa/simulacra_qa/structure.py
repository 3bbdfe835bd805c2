"""What stands out beyond single rows: in sequences, in references between tables, in what models learn."""

from collections.abc import Iterator

from simulacra_qa.evaluation import Evaluation
from simulacra_qa.judgement import Finding, Level, in_percent

__all__ = ["keyless_findings", "relation_findings", "sequence_findings", "utility_findings"]

_APART = 0.05
_KEYLESS = 0.01
_USELESS = 0.02


def sequence_findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Yields what is wrong with sequences."""
    found = evaluation.coherence
    if found is None:
        return
    if found.lengths.ceiling - found.lengths.accuracy > _APART:
        yield Finding(
            Level.POOR,
            "coherence",
            "The lengths of sequences differ: their distributions agree to "
            f"{in_percent(found.lengths.accuracy)}, where a fresh sample would reach "
            f"{in_percent(found.lengths.ceiling)}.",
        )
    lost = [score for score in found.transitions if score.ceiling - score.accuracy > _APART]
    if lost:
        worst = min(lost, key=lambda score: score.accuracy - score.ceiling)
        yield Finding(
            Level.POOR,
            "coherence",
            f"Sequences do not unfold as in the original: how a row follows another differs in {len(lost)} "
            f"columns, most of all in “{evaluation.columns[worst.columns[0]]}” "
            f"({in_percent(worst.accuracy)} of {in_percent(worst.ceiling)}).",
        )


def keyless_findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Yields whether rows belong to nobody that did not in the original."""
    before, after = evaluation.keyless
    if abs(after - before) > _KEYLESS:
        yield Finding(
            Level.POOR,
            "overall",
            f"{in_percent(after)} of the synthetic rows have no “{evaluation.options.key}”, but "
            f"{in_percent(before)} of the training rows. Such rows are not judged.",
        )


def relation_findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Yields what is wrong with references to other tables."""
    for found in evaluation.relations:
        key = f"“{found.relation.child}.{found.relation.foreign_key}”"
        if found.referential_integrity < 1:
            yield Finding(
                Level.POOR,
                "relations",
                f"References are broken: {in_percent(1 - found.referential_integrity)} of the values of "
                f"{key} are no key of “{found.relation.parent}”.",
            )
        if found.key_uniqueness < 1:
            yield Finding(
                Level.POOR,
                "relations",
                f"The key of “{found.relation.parent}” is not unique: "
                f"{in_percent(1 - found.key_uniqueness)} of its rows repeat another or have none.",
            )
        for what, score in (
            ("how many rows refer to the same parent", found.child_counts),
            ("which values are missing together", found.null_patterns),
        ):
            if score.ceiling - score.accuracy > _APART:
                yield Finding(
                    Level.POOR,
                    "relations",
                    f"In “{found.relation.child}”, {what} differs by {key}: {in_percent(score.accuracy)} of "
                    f"{in_percent(score.ceiling)}.",
                )


def utility_findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Yields whether models learn too little."""
    found = evaluation.utility
    if found is not None and found.difference.high < -_USELESS:
        name = evaluation.columns[found.target]
        yield Finding(
            Level.POOR,
            "utility",
            f"Models learn less from the synthetic data: predicting “{name}” of holdout records, one "
            f"reaches {found.measure} {found.synthetic:.3f}, where one that learnt from training records "
            f"reaches {found.training:.3f}.",
        )
