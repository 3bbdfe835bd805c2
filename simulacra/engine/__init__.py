"""The models: analyse, encode, train, sample, decode. Knows no grpc, no scheduler, no database.

In a notebook, from an Arrow table:

    from simulacra import engine

    model = engine.fit(table, max_minutes=1)
    rows = engine.sample(model, 1000, seed=1)  # a pyarrow.Table in the schema of the input
    model.save("model"); model = engine.Bundle.load("model")

Step by step, as the trainer service does it: `analyze` -> `TableCodec.encode` -> `train` -> `Bundle`, and
`Sampler(bundle).sample(SampleRequest(...))`. Names are imported when first used, so that what needs only the
codecs does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulacra.engine.api import fit, impute, log_prob, predict_proba, sample
    from simulacra.engine.bundle import Bundle
    from simulacra.engine.checkpoint import CheckpointStore, FolderCheckpoints
    from simulacra.engine.codecs import ValueRange
    from simulacra.engine.controls import BLOCK_ROWS, Fairness, Rebalancing, SampleRequest
    from simulacra.engine.sampling import Sampler, block_count
    from simulacra.engine.split import split_holdout
    from simulacra.engine.table import AnalyzeOptions, ColumnSpec, TableCodec, analyze
    from simulacra.engine.task import TrainingConfig, TrainingTask, TrainProgress
    from simulacra.engine.training import train

__all__ = [
    "BLOCK_ROWS",
    "AnalyzeOptions",
    "Bundle",
    "CheckpointStore",
    "ColumnSpec",
    "Fairness",
    "FolderCheckpoints",
    "Rebalancing",
    "SampleRequest",
    "Sampler",
    "TableCodec",
    "TrainProgress",
    "TrainingConfig",
    "TrainingTask",
    "ValueRange",
    "analyze",
    "block_count",
    "fit",
    "impute",
    "log_prob",
    "predict_proba",
    "sample",
    "split_holdout",
    "train",
]

_HOMES = {
    "api": ("fit", "impute", "log_prob", "predict_proba", "sample"),
    "bundle": ("Bundle",),
    "checkpoint": ("CheckpointStore", "FolderCheckpoints"),
    "codecs": ("ValueRange",),
    "controls": ("BLOCK_ROWS", "Fairness", "Rebalancing", "SampleRequest"),
    "sampling": ("Sampler", "block_count"),
    "split": ("split_holdout",),
    "table": ("AnalyzeOptions", "ColumnSpec", "TableCodec", "analyze"),
    "task": ("TrainProgress", "TrainingConfig", "TrainingTask"),
    "training": ("train",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
