"""The tables of a synthetic dataset or probe, and how they are sampled."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from simulacra.domain.base import Base64, Count, Identifier, Model, Positive, Share01, Timestamp, require
from simulacra.domain.job import ProgressStatus
from simulacra.domain.metrics import ModelMetrics
from simulacra.domain.source_table import duplicates

__all__ = [
    "FairnessConfig",
    "ForeignKey",
    "ImputationConfig",
    "RebalancingConfig",
    "SyntheticTable",
    "SyntheticTableConfig",
    "SyntheticTableConfiguration",
    "TableDelivery",
]

SEEDS = ("sample_seed_connector_id", "sample_seed_dict", "sample_seed_data")


class RebalancingConfig(Model):
    """Another distribution for a categorical column; values that are not listed share what is left of 1."""

    column: Identifier
    probabilities: Annotated[dict[str, Share01], Field(min_length=1)]

    @model_validator(mode="after")
    def _sum_is_at_most_one(self) -> Self:
        total = sum(self.probabilities.values())
        if total > 1 + 1e-9:
            require([("probabilities", f"sum to {total:.6g}; together they may be at most 1")])
        return self


class ImputationConfig(Model):
    """The columns that are to have no nulls."""

    columns: Annotated[list[Identifier], Field(min_length=1)]

    @model_validator(mode="after")
    def _columns_are_unique(self) -> Self:
        require(
            (f"columns.{i}", f'column "{self.columns[i]}" is listed twice') for i in duplicates(self.columns)
        )
        return self


class FairnessConfig(Model):
    """Statistical parity between a target column and sensitive columns, all of them categorical."""

    target_column: Identifier
    sensitive_columns: Annotated[list[Identifier], Field(min_length=1)]

    @model_validator(mode="after")
    def _target_is_not_sensitive(self) -> Self:
        names = self.sensitive_columns
        require((f"sensitive_columns.{i}", f'column "{names[i]}" is listed twice') for i in duplicates(names))
        if self.target_column in names:
            path = f"sensitive_columns.{names.index(self.target_column)}"
            require([(path, f'column "{self.target_column}" is the target; it cannot be sensitive too')])
        return self


class SyntheticTableConfiguration(Model):
    """How a table is sampled; at most one of the three seeds may be given, and only for a subject table."""

    sample_size: Positive | None = None
    sample_seed_connector_id: Identifier | None = None
    sample_seed_dict: Base64 | None = Field(default=None, repr=False)
    sample_seed_data: Base64 | None = Field(default=None, repr=False)
    sampling_temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    sampling_top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    rebalancing: RebalancingConfig | None = None
    imputation: ImputationConfig | None = None
    fairness: FairnessConfig | None = None
    tabular_compute: Identifier | None = None
    language_compute: Identifier | None = None

    @model_validator(mode="after")
    def _has_one_seed(self) -> Self:
        given = [name for name in SEEDS if getattr(self, name) is not None]
        require((name, f"cannot be given together with {given[0]}; give one seed") for name in given[1:])
        return self


class ForeignKey(Model):
    """A foreign key of a synthetic table; `columns` lists a composite key, the first equal to `column`."""

    column: str
    referenced_table: str
    is_context: bool
    columns: list[str] | None = None


class TableDelivery(Model):
    """What came of a table's delivery: DONE, FAILED or CANCELED; what is not DONE has changed nothing."""

    location: str
    status: ProgressStatus
    rows: Count = 0
    error_message: str | None = None
    ended_at: Timestamp | None = None


class SyntheticTable(Model):
    """A table of a synthetic dataset; a datapoint is a value of a row."""

    id: str | None = None
    name: str
    configuration: SyntheticTableConfiguration | None = None
    model_metrics: ModelMetrics | None = None
    language_model_metrics: ModelMetrics | None = None
    foreign_keys: list[ForeignKey] | None = None
    total_rows: Count | None = None
    total_datapoints: Count | None = None
    source_table_total_rows: Count | None = None
    delivery: TableDelivery | None = None


class SyntheticTableConfig(Model):
    """The configuration of a table to generate, named as the generator's source table."""

    name: Identifier
    configuration: SyntheticTableConfiguration | None = None
