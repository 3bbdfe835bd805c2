"""What the trainer is told besides what all services are."""

from typing import ClassVar

from pydantic import Field

from simulacra.jobs.computes import ComputeSettings

__all__ = ["TrainerSettings"]


class TrainerSettings(ComputeSettings):
    """Owns generators and trains them."""

    service: ClassVar[str] = "trainer"

    holdout_fraction: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of each table that is set aside before training, to judge it by.",
    )
    report_rows: int = Field(
        100_000, ge=1, description="Most rows that are sampled from a new model for its quality report."
    )
    import_bytes: int = Field(
        4 << 30, ge=1, description="Largest file of an exported generator that is taken in, in bytes."
    )
    keep_failed_days: float = Field(
        7.0, ge=0, description="Days that the intermediate data of a failed or canceled training are kept."
    )
