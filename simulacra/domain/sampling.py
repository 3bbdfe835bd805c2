"""Whether a sampling configuration fits the generator that it is for: what one alone cannot tell."""

from collections.abc import Iterable, Iterator, Sequence

from simulacra.domain.base import Violation
from simulacra.domain.generator import Generator
from simulacra.domain.model import ModelEncodingType
from simulacra.domain.source_table import SourceColumn, SourceTable
from simulacra.domain.synthetic_table import SEEDS, SyntheticTableConfig, SyntheticTableConfiguration
from simulacra.domain.text import did_you_mean
from simulacra.errors import FieldViolation, InvalidArgument

__all__ = ["check_tables"]

_SUBJECT_ONLY = ("sample_size", *SEEDS, "rebalancing", "fairness")
_CATEGORICAL = {
    ModelEncodingType.AUTO,
    ModelEncodingType.TABULAR_CATEGORICAL,
    ModelEncodingType.TABULAR_NUMERIC_DISCRETE,
}


def check_tables(
    tables: Sequence[SyntheticTableConfig] | None, generator: Generator, *, prefix: str = "tables"
) -> None:
    """Checks the tables of a synthetic dataset's or probe's configuration against their generator.

    Raises:
        InvalidArgument: If a table or column is not there or cannot be sampled so; paths are below `prefix`.
    """
    found = [
        FieldViolation(f"{prefix}.{path}", description)
        for path, description in _violations(tables or (), generator)
    ]
    if found:
        raise InvalidArgument(
            "; ".join(f"{item.field}: {item.description}" for item in found), violations=found
        )


def _violations(tables: Iterable[SyntheticTableConfig], generator: Generator) -> Iterator[Violation]:
    sources = {table.name: table for table in generator.tables or ()}
    for index, table in enumerate(tables):
        source = sources.get(table.name)
        if source is None:
            hint = did_you_mean(table.name, sources)
            yield (
                f"{index}.name",
                f'table "{table.name}" is not in generator "{generator.name or generator.id}"{hint}',
            )
        elif table.configuration is not None:
            for path, description in _configuration_violations(table.configuration, source):
                yield f"{index}.configuration.{path}", description


def _configuration_violations(
    configuration: SyntheticTableConfiguration, source: SourceTable
) -> Iterator[Violation]:
    if not source.is_subject_table:
        for name in _SUBJECT_ONLY:
            if getattr(configuration, name) is not None:
                yield (
                    name,
                    f'table "{source.name}" hangs on a context table; set {name} for the subject table',
                )
    if rebalancing := configuration.rebalancing:
        column = rebalancing.column
        yield from _column_violations("rebalancing.column", column, source, categorical=True)
        yield from _value_violations("rebalancing.probabilities", column, rebalancing.probabilities, source)
    if imputation := configuration.imputation:
        for index, column in enumerate(imputation.columns):
            yield from _column_violations(f"imputation.columns.{index}", column, source)
    if fairness := configuration.fairness:
        yield from _column_violations(
            "fairness.target_column", fairness.target_column, source, categorical=True
        )
        for index, column in enumerate(fairness.sensitive_columns):
            yield from _column_violations(
                f"fairness.sensitive_columns.{index}", column, source, categorical=True
            )


def _column_violations(
    path: str, name: str, source: SourceTable, *, categorical: bool = False
) -> Iterator[Violation]:
    included = {column.name: column for column in source.columns if column.included}
    if name not in included:
        yield path, f'column "{name}" is not in table "{source.name}"{did_you_mean(name, included)}'
        return
    column = included[name]
    if categorical and not _is_categorical(column):
        yield (
            path,
            f'column "{name}" is {column.model_encoding_type}; only categorical columns can be used here',
        )


def _is_categorical(column: SourceColumn) -> bool:
    # Whether AUTO has become categorical is known once the table is analysed: others have a min and max.
    is_range = column.value_range is not None and column.value_range.min is not None
    return column.model_encoding_type in _CATEGORICAL and not is_range


def _value_violations(
    path: str, name: str, values: Iterable[str], source: SourceTable
) -> Iterator[Violation]:
    known = next((column.value_range for column in source.columns if column.name == name), None)
    # 1,000 values are the most that a value range lists: others may exist beyond them.
    if known is None or not known.values or len(known.values) >= 1000:
        return
    for value in values:
        if value not in known.values:
            yield (
                path,
                f'value "{value}" is not in the range of column "{name}"{did_you_mean(value, known.values)}',
            )
