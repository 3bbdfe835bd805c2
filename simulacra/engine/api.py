"""The engine in one call each, for notebooks; the services use the modules behind it."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from simulacra.engine import inference
from simulacra.engine.bundle import Bundle
from simulacra.engine.sampling import Fairness, Rebalancing, Sampler, SampleRequest
from simulacra.engine.table import AnalyzeOptions, ColumnSpec, analyze
from simulacra.engine.task import TrainingConfig, TrainingTask, TrainProgress
from simulacra.engine.training import train

__all__ = ["fit", "impute", "log_prob", "predict_proba", "sample"]


def fit(
    table: pa.Table,
    *,
    encodings: Mapping[str, str] | None = None,
    max_minutes: float = 10.0,
    seed: int = 0,
    threads: int = 2,
    value_protection: bool = True,
    subjects: np.ndarray | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
) -> Bundle:
    """Trains a model of a table.

    Args:
        table: The rows.
        encodings: Encodings by column where AUTO is not wanted, such as {"zip": "TABULAR_CATEGORICAL"}.
        max_minutes: The training ends within this time; it ends earlier when it has nothing more to learn.
        seed: Of everything random.
        threads: Of torch.
        value_protection: Whether rare categories and extremes are protected.
        subjects: Whose each row is, as an array of ids: values are protected by subject, and validation takes
            whole subjects. Each row is a subject of its own by default.
        on_progress: Called now and then.

    Returns:
        The model, which `sample` takes and `Bundle.save` writes.
    """
    specs = [ColumnSpec(name, (encodings or {}).get(name, "AUTO")) for name in table.column_names]
    options = AnalyzeOptions(value_protection=value_protection, seed=seed, threads=threads)
    codec = analyze(table, specs, subjects=subjects, options=options)
    config = TrainingConfig(max_training_time_seconds=60 * max_minutes, seed=seed, threads=threads)
    bundle = None
    for progress in train(TrainingTask(codec, codec.encode(table, threads), config, subjects)):
        if on_progress is not None:
            on_progress(progress)
        bundle = progress.bundle
    assert bundle is not None  # the last item has it
    return bundle


def sample(
    bundle: Bundle,
    rows: int | None = None,
    *,
    seed: int = 0,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seeds: pa.Table | None = None,
    rebalancing: Rebalancing | None = None,
    imputation: Sequence[str] = (),
    fairness: Fairness | None = None,
    systematic: bool = False,
) -> pa.Table:
    """Samples rows of a model.

    Args:
        bundle: The model.
        rows: How many; as many as `seeds` has when those are given.
        seed: Same seed, same rows.
        temperature: In [0, 2]; below 1 sharpens, above 1 flattens the distributions.
        top_p: In (0, 1]; sample from the likeliest codes of this total probability.
        seeds: Known values, a row per row of the result; what is missing or null is generated.
        rebalancing: A column whose categories are to have given probabilities.
        imputation: Columns that must not be null.
        fairness: A column that is to be equally distributed in all groups by sensitive columns.
        systematic: Shares closer to the model's, for rows that are not independent; see `SampleRequest`.
    """
    request = SampleRequest(
        rows,
        seed,
        temperature=temperature,
        top_p=top_p,
        seeds=seeds,
        rebalancing=rebalancing,
        imputation=tuple(imputation),
        fairness=fairness,
        systematic=systematic,
    )
    return _table(bundle, request)


def impute(bundle: Bundle, table: pa.Table, *, seed: int = 0) -> pa.Table:
    """Fills the nulls of a table, and adds the columns of the model that it lacks."""
    gaps = tuple(
        name for name in bundle.codec.columns if name not in table.column_names or table[name].null_count
    )
    request = SampleRequest(seed=seed, seeds=table, nearest_seeds=True, imputation=gaps)
    return _table(bundle, request)


def log_prob(bundle: Bundle, table: pa.Table) -> np.ndarray:
    """Returns the log-probability of each row in nats; see `simulacra.engine.inference.log_prob`."""
    return inference.log_prob(Sampler(bundle), table)


def predict_proba(bundle: Bundle, table: pa.Table, column: str) -> pa.Table:
    """Returns the probability of each value of a categorical column given the others of each row."""
    return inference.predict_proba(Sampler(bundle), table, column)


def _table(bundle: Bundle, request: SampleRequest) -> pa.Table:
    return pa.Table.from_batches(Sampler(bundle).sample(request), bundle.codec.schema)
