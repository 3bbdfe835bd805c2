"""The settings of the qa service."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from simulacra.rpc.settings import ServiceSettings

__all__ = ["QaSettings"]


class QaSettings(ServiceSettings):
    """Compares synthetic with training data and writes reports."""

    service: ClassVar[str] = "qa"

    keep_evaluations_days: float = Field(
        30, gt=0, description="Days that an evaluation that a client started, and its report, are kept."
    )
    embedder_path: Path | None = Field(
        None, description="Folder of the embedding model's weights; default: wherever the machine has them."
    )
