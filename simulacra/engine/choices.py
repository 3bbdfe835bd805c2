"""What is chosen from the data where the configuration leaves it open: batch, steps, threads, network."""

import math

import numpy as np

from simulacra.engine.association import Association
from simulacra.engine.network import NetworkConfig
from simulacra.engine.task import TrainingTask

__all__ = ["batch_size", "is_large", "network_config", "planned_steps"]

_FEW_ROWS = 3000
_DROPOUT = 0.5
_LEAST_STEPS, _MOST_EPOCHS = 800, 100
_LARGE_STEP = 2000
_READ_ALL = 320
_WIDE = 128
_SOURCES, _SHARED = 16, 64
_FEW_SOURCES, _LESS_SHARED = 8, 48


def batch_size(rows: int) -> int:
    """Returns a power of two that gives about 40 steps per epoch, between 32 and 256."""
    return int(2 ** np.clip(round(math.log2(max(rows, 1) / 40)), 5, 8))


def planned_steps(rows: int, steps_per_epoch: int) -> int:
    """Returns the steps to plan: 9.5 epochs of 20,000 rows, more of fewer and fewer of more.

    Few rows need their 800 steps too, unless they are 100 epochs.
    """
    times = 20_000 / max(rows, 1)
    steps = steps_per_epoch * np.clip(9.5 * times ** (0.3 if times < 1 else 0.15), 3, 40)
    least = min(_LEAST_STEPS, _MOST_EPOCHS * steps_per_epoch) if rows < _FEW_ROWS else 0
    return max(int(steps), least)


def is_large(batch: int, targets: int) -> bool:
    """Says whether a step is worth threads and oneDNN: small ones lose, most of all on a busy machine."""
    return batch * targets >= _LARGE_STEP


def network_config(task: TrainingTask, rows: int, association: Association) -> NetworkConfig:
    """Chooses the network: in narrow tables targets read all others, in wide ones the strongest.

    Args:
        task: Its configuration may leave widths open.
        rows: Those to train on.
        association: Of their sub-columns.
    """
    parts, config = task.codec.sub_columns, task.config
    columns = np.array([part.column for part in parts])
    embedding = config.embedding or 16
    small = rows < _FEW_ROWS
    widths = tuple(min(embedding, _width(part.cardinality)) for part in parts)
    wide = sum(widths) > _READ_ALL if config.sources is None else len(parts) > config.sources
    many = len(parts) > _WIDE
    sources = config.sources or (_FEW_SOURCES if many else _SOURCES)
    shared = config.shared if config.shared is not None else _LESS_SHARED if many else _SHARED
    return NetworkConfig(
        cardinalities=tuple(part.cardinality for part in parts),
        columns=tuple(columns.tolist()),
        embedding=embedding,
        widths=() if wide else widths,
        hidden=config.hidden or (32 if small else 64),
        dropout=config.dropout if config.dropout is not None else _DROPOUT,
        sources=association.strongest_sources(columns, sources) if wide else (),
        shared=shared if wide else 0,
    )


def _width(cardinality: int) -> int:
    """Returns the width that a sub-column's embedding needs: few values need few directions."""
    return round(2 * math.sqrt(cardinality))
