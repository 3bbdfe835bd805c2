"""Checkpoints: the whole state of a training, so that one that was interrupted ends with the same weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from simulacra.errors import CorruptBundle

__all__ = ["CheckpointStore", "FolderCheckpoints", "TrainingState", "pack", "unpack"]


class CheckpointStore(Protocol):
    """Where checkpoints are kept; the newest replaces the one before."""

    def save(self, files: Mapping[str, bytes]) -> None:
        """Keeps a checkpoint, all or nothing."""

    def load(self) -> Mapping[str, bytes] | None:
        """Returns the newest checkpoint, or None."""


class FolderCheckpoints:
    """Keeps checkpoints in a folder: one file per step, the newest counts, older ones go."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def save(self, files: Mapping[str, bytes]) -> None:
        """Writes to a temporary file first, so that a killed process leaves the one before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (data,) = files.values()
        (name,) = files
        partial = self._folder / f"{name}.partial"
        partial.write_bytes(data)
        partial.replace(self._folder / name)

    def load(self) -> Mapping[str, bytes] | None:
        """Returns the newest checkpoint."""
        path = self._folder / FILE
        return {FILE: path.read_bytes()} if path.exists() else None


FILE = "checkpoint.safetensors"


@dataclass
class TrainingState:
    """What changes while a training runs, besides tensors.

    Attributes:
        fingerprint: Of the task; a checkpoint of another task is not resumed.
        step: Optimiser steps done.
        total_steps: Steps planned now.
        decay_from: Step at which the learning rate begins to fall.
        elapsed: Seconds of training so far, over all attempts.
        best_loss: Lowest validation loss so far.
        best_step: When that was.
        reference_loss: Validation loss that the next one must beat clearly for the plateau count to start
            over.
        stale: Validations since then.
        weight_decay: Of the weights that are no biases, now.
        train_loss: Running mean of the training loss.
        history: (step, training loss, validation loss) of each validation.
    """

    fingerprint: str
    step: int = 0
    total_steps: int = 1
    decay_from: int = 1
    elapsed: float = 0.0
    best_loss: float = 1e30
    best_step: int = 0
    reference_loss: float = 1e30
    stale: int = 0
    weight_decay: float = 0.0
    train_loss: float = 0.0
    history: list[tuple[int, float, float]] = field(default_factory=list)


def pack(state: TrainingState, tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Returns a checkpoint's files."""
    metadata = {"state": json.dumps(asdict(state))}
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return {FILE: safetensors.torch.save(flat, metadata)}


def unpack(files: Mapping[str, bytes]) -> tuple[TrainingState, dict[str, Tensor]]:
    """Reads a checkpoint's files.

    Raises:
        CorruptBundle: They are damaged.
    """
    try:
        data = files[FILE]
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        fields = json.loads(header["__metadata__"]["state"])
        fields["history"] = [tuple(entry) for entry in fields["history"]]
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(data)
        return TrainingState(**fields), tensors
    except (KeyError, TypeError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise CorruptBundle(f"the checkpoint cannot be read: {error}") from error
