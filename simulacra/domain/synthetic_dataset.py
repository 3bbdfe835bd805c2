"""Synthetic datasets: data sampled from a generator, and their delivery."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import model_validator

from simulacra.domain.base import (
    Count,
    Enumeration,
    Identifier,
    Integer,
    Model,
    Name,
    Share01,
    Timestamp,
    Violation,
    require,
)
from simulacra.domain.common import BaseResource, Metadata, Provenance
from simulacra.domain.job import ProgressStatus
from simulacra.domain.source_table import duplicates
from simulacra.domain.synthetic_table import SyntheticTable, SyntheticTableConfig

__all__ = [
    "SyntheticDataset",
    "SyntheticDatasetConfig",
    "SyntheticDatasetDelivery",
    "SyntheticDatasetFormat",
    "SyntheticDatasetListItem",
    "SyntheticDatasetUsage",
    "repeated_tables",
    "synthetic_dataset_config",
    "synthetic_dataset_list_item",
]


class SyntheticDatasetFormat(Enumeration):
    """The format of a downloaded synthetic dataset; JSON has one object a line."""

    CSV = "CSV"
    PARQUET = "PARQUET"
    XLSX = "XLSX"
    JSON = "JSON"


class SyntheticDatasetDelivery(Model):
    """Where a synthetic dataset goes, and what happens to a table that exists there.

    It is replaced, or rows are added to it; if neither is asked for, it makes the delivery fail.
    """

    overwrite_tables: bool
    destination_connector_id: Identifier
    location: Identifier
    append_to_tables: bool = False

    @model_validator(mode="before")
    @classmethod
    def _says_what_happens(cls, values: Any) -> Any:
        """Takes `append_to_tables` alone for what it says."""
        if isinstance(values, Mapping) and values.get("overwrite_tables") is None:
            if not values.get("append_to_tables"):
                words = (
                    "say if a table that exists is replaced (true) or refused (false), or append_to_tables"
                )
                require([("overwrite_tables", words)])
            return {**values, "overwrite_tables": False}
        return values

    @model_validator(mode="after")
    def _replaces_or_appends(self) -> Self:
        if self.overwrite_tables and self.append_to_tables:
            require([("append_to_tables", "cannot be given together with overwrite_tables; choose one")])
        return self


class SyntheticDatasetUsage(Model):
    """How much a synthetic dataset took and is used; compute time is in seconds."""

    total_datapoints: Count | None = None
    total_credits: float | None = None
    total_compute_time: Count | None = None
    no_of_shares: Count | None = None
    no_of_likes: Count | None = None


class SyntheticDataset(Model):
    """A set of tables sampled from a trained generator."""

    id: str
    generator: BaseResource | None = None
    metadata: Metadata
    name: Name
    description: str | None = None
    generation_status: ProgressStatus
    generation_time: Timestamp | None = None
    tables: list[SyntheticTable] | None = None
    delivery: SyntheticDatasetDelivery | None = None
    accuracy: Share01 | None = None
    usage: SyntheticDatasetUsage | None = None
    seed: Integer | None = None
    provenance: Provenance | None = None
    revision: Count = 0


class SyntheticDatasetConfig(Model):
    """The configuration of a new synthetic dataset; `seed` determines everything random in its generation."""

    generator_id: Identifier | None = None
    name: Name | None = None
    description: str | None = None
    tables: list[SyntheticTableConfig] | None = None
    delivery: SyntheticDatasetDelivery | None = None
    seed: Integer | None = None

    @model_validator(mode="after")
    def _tables_are_unique(self) -> Self:
        require(repeated_tables(self.tables or []))
        return self


class SyntheticDatasetListItem(Model):
    """What a list shows of a synthetic dataset."""

    id: str
    metadata: Metadata
    name: str
    description: str | None = None
    generation_status: ProgressStatus
    generation_time: Timestamp | None = None
    usage: SyntheticDatasetUsage | None = None


def repeated_tables(tables: Sequence[SyntheticTableConfig]) -> Iterator[Violation]:
    """Yields a violation for each table that is listed again."""
    for index in duplicates([table.name for table in tables]):
        yield f"tables.{index}.name", f'table "{tables[index].name}" is listed twice'


def synthetic_dataset_config(dataset: SyntheticDataset) -> SyntheticDatasetConfig:
    """Returns what may be written of a synthetic dataset; creating from it gives one with an equal config."""
    return SyntheticDatasetConfig(
        generator_id=dataset.generator.id if dataset.generator else None,
        name=dataset.name,
        description=dataset.description,
        tables=[
            SyntheticTableConfig(name=table.name, configuration=table.configuration)
            for table in dataset.tables or ()
        ],
        delivery=dataset.delivery,
        seed=dataset.seed,
    )


def synthetic_dataset_list_item(dataset: SyntheticDataset) -> SyntheticDatasetListItem:
    """Returns what a list shows of a synthetic dataset."""
    names = SyntheticDatasetListItem.model_fields
    return SyntheticDatasetListItem(**{name: getattr(dataset, name) for name in names})
