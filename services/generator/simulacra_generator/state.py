"""What the service remembers of a synthetic dataset besides the resource itself: where its rows are."""

from simulacra.domain.base import Model

__all__ = ["DatasetState", "GeneratedTable"]


class GeneratedTable(Model):
    """The rows of one table: an artifact of Parquet parts; `report` is that of its data report, if any."""

    name: str
    artifact: str
    rows: int
    report: str | None = None


class DatasetState(Model):
    """The private part of a dataset's row.

    Attributes:
        tables: The rows, when the generation is DONE.
        seed: The seed of the generation that was started, configured or drawn.
        job_id: The newest generation.
    """

    tables: list[GeneratedTable] | None = None
    seed: int | None = None
    job_id: str | None = None
