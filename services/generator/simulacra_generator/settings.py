"""What the generator service is told besides what all services are."""

from typing import ClassVar

from pydantic import Field

from simulacra.jobs.computes import ComputeSettings

__all__ = ["GeneratorSettings"]


class GeneratorSettings(ComputeSettings):
    """Samples synthetic datasets and probes from trained generators."""

    service: ClassVar[str] = "generator"

    shards: int | None = Field(
        None, ge=1, description="Parts of a table that are sampled at once; default: one per worker."
    )
    probe_workers: int = Field(1, ge=1, description="Worker processes that answer probes.")
    table_rows: int = Field(
        1_000_000_000, ge=1, description="Most rows of a table that a synthetic dataset may ask for."
    )
    probe_rows: int = Field(10_000, ge=1, description="Most rows of a table that a probe may ask for.")
