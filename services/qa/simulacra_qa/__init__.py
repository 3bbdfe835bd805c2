"""Quality assurance: how close synthetic data are to the original, and whether they betray single records."""

from simulacra_qa.evaluation import DETECT, Context, Evaluation, Options, evaluate
from simulacra_qa.metrics.accuracy import Reference
from simulacra_qa.metrics.relations import Relation, relation_scores

__all__ = [
    "DETECT",
    "Context",
    "Evaluation",
    "Options",
    "Reference",
    "Relation",
    "evaluate",
    "relation_scores",
]
