"""Judges the reference of rows to the context that describes their subjects, a relation of two tables."""

from dataclasses import replace

from simulacra_qa.evaluation import Context, Evaluation
from simulacra_qa.metrics.relations import Relation, relation_scores
from simulacra_qa.prepared import Table

__all__ = ["with_relation"]


def with_relation(
    evaluation: Evaluation,
    tables: tuple[Table, Table | None, Table],
    context: Context,
    *,
    child: str = "rows",
    parent: str = "context",
) -> Evaluation:
    """Returns the evaluation with the relation of its rows to their context.

    Args:
        evaluation: Of the rows.
        tables: Training, holdout and synthetic rows.
        context: The tables that their key refers to.
        child: What people call the rows' table.
        parent: What they call the context's; another name than `child`.
    """
    key = evaluation.options.key
    if key is None:
        return evaluation
    parent = parent if parent != child else f"{parent} (context)"
    around = (context.training, context.holdout, context.synthetic)
    training, holdout, synthetic = (
        None if rows is None or subjects is None else {child: rows, parent: subjects}
        for rows, subjects in zip(tables, around, strict=True)
    )
    assert training is not None
    assert synthetic is not None
    relation = Relation(child=child, foreign_key=key, parent=parent, primary_key=context.key)
    scores = relation_scores(training, holdout, synthetic, [relation], seed=evaluation.options.seed)
    return replace(evaluation, relations=tuple(scores))
