"""Quality assurance: how close synthetic data are to the original, and whether they betray single records."""

from simulacra_qa.evaluation import Evaluation, Options, evaluate
from simulacra_qa.metrics.accuracy import Reference

__all__ = ["Evaluation", "Options", "Reference", "evaluate"]
