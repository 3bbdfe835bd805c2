"""What a training is given, and what it tells: its configuration, its task, its progress."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from simulacra.engine.bundle import Bundle
from simulacra.engine.checkpoint import CheckpointStore
from simulacra.engine.split import numbered
from simulacra.engine.table import TableCodec

__all__ = ["TrainProgress", "TrainingConfig", "TrainingTask"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How long and how to train. None means: chosen from the data.

    Attributes:
        max_training_time_seconds: The training ends, annealed, within this time.
        max_epochs: Passes over the training rows at most.
        batch_size: Rows per optimiser step.
        learning_rate: Of AdamW, after warm-up.
        embedding: Width of the embeddings.
        hidden: Width of each target's layers.
        dropout: Share of hidden units dropped, at first.
        sources: Sub-columns that each target of a wide table reads directly.
        shared: Width of a wide table's additive state.
        weight_decay: Of AdamW, on all but the biases: what keeps the network from learning rows by heart;
            four times that on embeddings, up to three times on the weights of targets of many codes, and a
            twentieth to five times on those that read another sub-column, by how surely it says something.
        smooth: Learn the weights of codes that have an order as smooth functions of it, besides each on its
            own.
        flexible: Learn any order, so that seeds, imputation and rebalancing work; else the canonical order
            alone.
        seed: Of everything random. Same seed, data, threads and versions: same weights, unless time runs out.
        threads: Of torch, while training, at most.
        device: Of torch.
        validation_fraction: Share of the subjects kept for choosing when to stop.
        checkpoint_seconds: Time between checkpoints.
    """

    max_training_time_seconds: float = 600.0
    max_epochs: float = 100.0
    batch_size: int | None = None
    learning_rate: float = 0.01
    embedding: int | None = None
    hidden: int | None = None
    dropout: float | None = None
    sources: int | None = None
    shared: int | None = None
    weight_decay: float | None = None
    smooth: bool = True
    flexible: bool = True
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    validation_fraction: float | None = None
    checkpoint_seconds: float = 20.0


@dataclass(frozen=True)
class TrainingTask:
    """What to train on.

    Attributes:
        codec: The table's codecs.
        codes: The encoded training rows, `codec.encode(table)`.
        config: Budget and choices.
        subjects: The subject of each row; validation takes whole subjects. Each row its own by default.
        checkpoint: Where to keep the state, and to resume from if there is one of the same task.
        start: A bundle whose weights to go on from; its codecs must be the task's.
        clock: Seconds, ascending.
    """

    codec: TableCodec
    codes: np.ndarray
    config: TrainingConfig = field(default_factory=TrainingConfig)
    subjects: np.ndarray | None = None
    checkpoint: CheckpointStore | None = None
    start: Bundle | None = None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Numbers the subjects, whatever their ids are."""
        if self.subjects is not None:
            object.__setattr__(self, "subjects", numbered(self.subjects))


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """Where a training is.

    Attributes:
        epoch: Passes over the training rows so far.
        step: Optimiser steps so far.
        total_steps: Steps planned; changes when validation stops improving or time gets short.
        samples: Rows seen so far.
        train_loss: Running mean of the training loss in nats per row.
        val_loss: Latest validation loss, of the averaged weights; None before the first.
        learning_rate: Latest.
        elapsed: Seconds of training, over all attempts.
        best: Whether this validation loss is the lowest so far.
        bundle: The trained model, in the last item only.
    """

    epoch: float
    step: int
    total_steps: int
    samples: int
    train_loss: float
    val_loss: float | None
    learning_rate: float
    elapsed: float
    best: bool = False
    bundle: Bundle | None = None
