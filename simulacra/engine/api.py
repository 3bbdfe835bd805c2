"""The engine in one call each, for notebooks; the services use the modules behind it.

Rows are taken as a pyarrow.Table, as a pandas frame (its index is left out), or as a list of dicts, and given
back as a pyarrow.Table, of which `to_pandas()` makes a frame.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra.engine import inference
from simulacra.engine.bundle import Bundle
from simulacra.engine.controls import can_impute
from simulacra.engine.sampling import Fairness, Rebalancing, Sampler, SampleRequest
from simulacra.engine.table import AnalyzeOptions, ColumnSpec, analyze
from simulacra.engine.task import TrainingConfig, TrainingTask, TrainProgress
from simulacra.engine.training import train
from simulacra.errors import InvalidArgument

__all__ = ["fit", "impute", "log_prob", "predict_proba", "sample"]


def fit(
    table: Any,
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

    Raises:
        InvalidArgument: An argument cannot be what it is; the error names it.
        TrainingDataInsufficient: There are too few rows or subjects to learn from.
        UnsupportedData: A column's type or values are not supported.
    """
    table = _arrow(table, "table")
    for name in encodings or ():
        if name not in table.column_names:
            raise InvalidArgument.of("encodings", f'the table has no column "{name}"')
    if not max_minutes > 0:
        raise InvalidArgument.of("max_minutes", f"{max_minutes} is not positive")
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
    seeds: Any = None,
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

    Raises:
        InvalidArgument: A control or a seed value is not possible; the error names it.
    """
    request = SampleRequest(
        rows,
        seed,
        temperature=temperature,
        top_p=top_p,
        seeds=None if seeds is None else _arrow(seeds, "seeds"),
        rebalancing=rebalancing,
        imputation=(imputation,) if isinstance(imputation, str) else tuple(imputation),
        fairness=fairness,
        systematic=systematic,
    )
    return _table(bundle, request)


def impute(bundle: Bundle, table: Any, *, seed: int = 0) -> pa.Table:
    """Fills the nulls of a table, and adds the columns of the model that it lacks.

    What is there stays, also values that the model does not know. A column of which the model learnt nothing
    but nulls has nothing to be filled with and stays null.
    """
    table = _arrow(table, "table")
    gaps = tuple(
        name
        for name, codec in zip(bundle.codec.columns, bundle.codec.codecs, strict=True)
        if can_impute(codec) and (name not in table.column_names or table[name].null_count)
    )
    request = SampleRequest(seed=seed, seeds=table, nearest_seeds=True, imputation=gaps)
    return _table(bundle, request)


def log_prob(bundle: Bundle, table: Any) -> np.ndarray:
    """Returns the log-probability of each row in nats; see `simulacra.engine.inference.log_prob`."""
    return inference.log_prob(Sampler(bundle), _arrow(table, "table"))


def predict_proba(bundle: Bundle, table: Any, column: str) -> pa.Table:
    """Returns the probability of each value of a categorical column given the others of each row."""
    return inference.predict_proba(Sampler(bundle), _arrow(table, "table"), column)


def _table(bundle: Bundle, request: SampleRequest) -> pa.Table:
    return pa.Table.from_batches(Sampler(bundle).sample(request), bundle.codec.schema)


def _arrow(rows: Any, name: str) -> pa.Table:
    """Returns rows of any form that is taken as an Arrow table."""
    if isinstance(rows, pa.Table):
        return rows
    try:
        if type(rows).__module__.partition(".")[0] == "pandas":
            return pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
        if isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows):
            columns = dict.fromkeys(key for row in rows for key in row)
            return pa.table({key: [row.get(key) for row in rows] for key in columns})
        if hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
            return pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgument.of(name, f"makes no Arrow table: {error}") from error
    raise InvalidArgument.of(
        name, f"is a {type(rows).__name__}; give a pyarrow.Table, a pandas frame, or a list of dicts"
    )
