"""How tables are to be sampled: what a configuration asks for, checked against its generator."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from simulacra.domain import (
    SourceTable,
    SyntheticTableConfig,
    SyntheticTableConfiguration,
    check_tables,
    key_columns,
)
from simulacra.domain.base import Violation
from simulacra.domain.synthetic_table import SEEDS
from simulacra.domain.text import did_you_mean
from simulacra.errors import FieldViolation, InvalidArgument
from simulacra.jobs.computes import Computes
from simulacra_generator.peers import TrainedGenerator
from simulacra_generator.seeds import seed_rows
from simulacra_generator.spec import TableControls

__all__ = ["checked_controls", "require_rows", "with_references"]


def require_rows(tables: Sequence[SyntheticTableConfig] | None, limit: int) -> None:
    """Raises InvalidArgument if a table is to have more rows than a dataset may ask for."""
    found = [
        FieldViolation(
            f"tables.{index}.configuration.sample_size",
            f'{table.configuration.sample_size:,} rows of table "{table.name}" are too many, at most '
            f"{limit:,}; ask for fewer, or have SIMULACRA_TABLE_ROWS raised",
        )
        for index, table in enumerate(tables or ())
        if table.configuration is not None and (table.configuration.sample_size or 0) > limit
    ]
    if found:
        raise InvalidArgument(
            "; ".join(f"{item.field}: {item.description}" for item in found), violations=found
        )


def checked_controls(
    trained: TrainedGenerator,
    tables: Sequence[SyntheticTableConfig] | None,
    *,
    seed: int,
    computes: Computes,
    probe: bool,
) -> list[TableControls]:
    """Returns how each table of a generator is sampled, in the generator's order.

    Args:
        trained: The generator.
        tables: The configured tables; the others get the defaults.
        seed: Of everything random.
        computes: Where models can run.
        probe: Whether a table without size and seed gets one row, rather than as many as its source.

    Raises:
        InvalidArgument: A table cannot be sampled so; each wrong field is named.
    """
    generator = trained.generator
    check_tables(tables, generator)
    positions = {table.name: index for index, table in enumerate(tables or ())}
    configured = {table.name: table.configuration or SyntheticTableConfiguration() for table in tables or ()}
    sources = generator.tables or []
    found = [
        FieldViolation(f"tables.{positions[source.name]}.configuration.{path}", text)
        for source in sources
        if source.name in configured
        for path, text in _problems(configured[source.name], source, computes)
    ]
    if found:
        raise InvalidArgument(
            "; ".join(f"{item.field}: {item.description}" for item in found), violations=found
        )
    controls = [
        _controls(
            trained,
            source,
            configured.get(source.name, SyntheticTableConfiguration()),
            seed=seed,
            probe=probe,
            path=f"tables.{positions.get(source.name, 0)}.configuration",
        )
        for source in sources
    ]
    return with_references(controls, sources)


def with_references(controls: Sequence[TableControls], tables: Iterable[SourceTable]) -> list[TableControls]:
    """Fills in how many rows the tables have that foreign keys point at, as far as it is known."""
    rows = {each.name: each.rows for each in controls}
    referenced = {
        table.name: {
            key.referenced_table: rows.get(key.referenced_table) or 0 for key in table.foreign_keys or ()
        }
        for table in tables
    }
    return [replace(each, referenced=referenced.get(each.name, {})) for each in controls]


def _controls(
    trained: TrainedGenerator,
    source: SourceTable,
    configuration: SyntheticTableConfiguration,
    *,
    seed: int,
    probe: bool,
    path: str,
) -> TableControls:
    bundle, sha256 = trained.bundles[source.name]
    rebalancing = configuration.rebalancing
    rows = configuration.sample_size
    if rows is None and configuration.sample_seed_connector_id is None:
        given = seed_rows(configuration)
        rows = given.num_rows if given is not None else 1 if probe else source.total_rows or 1
    return TableControls(
        name=source.name,
        bundle=bundle,
        sha256=sha256,
        rows=rows,
        seed=seed,
        temperature=_or_one(configuration.sampling_temperature),
        top_p=_or_one(configuration.sampling_top_p),
        rebalancing=rebalancing.model_dump() if rebalancing else None,
        imputation=list(configuration.imputation.columns) if configuration.imputation else [],
        fairness=configuration.fairness.model_dump() if configuration.fairness else None,
        seed_connector=configuration.sample_seed_connector_id,
        seed_field=f"{path}.{_seed_field(configuration)}",
    )


def _seed_field(configuration: SyntheticTableConfiguration) -> str:
    """Returns the field that the seed is in."""
    given = (name for name in SEEDS if getattr(configuration, name) is not None)
    return next(given, "sample_seed_data")


def _or_one(value: float | None) -> float:
    return 1.0 if value is None else value


def _problems(
    configuration: SyntheticTableConfiguration, source: SourceTable, computes: Computes
) -> Iterator[Violation]:
    training = source.model_configuration
    if training is not None and training.enable_flexible_generation is False:
        for name in (
            "rebalancing",
            "imputation",
            "fairness",
            "sample_seed_dict",
            "sample_seed_data",
            "sample_seed_connector_id",
        ):
            if getattr(configuration, name) is not None:
                yield (
                    name,
                    f'table "{source.name}" was trained with enable_flexible_generation = false; train it '
                    "with true",
                )
    problem = computes.problem(configuration.tabular_compute)
    if problem is not None:
        yield "tabular_compute", problem
    yield from _seed_problems(configuration, source)
    yield from _key_problems(configuration, source)


def _key_problems(configuration: SyntheticTableConfiguration, source: SourceTable) -> Iterator[Violation]:
    """Finds controls of key columns, which no model learns."""
    named: list[tuple[str, str]] = []
    if rebalancing := configuration.rebalancing:
        named.append(("rebalancing.column", rebalancing.column))
    if imputation := configuration.imputation:
        named += [(f"imputation.columns.{index}", name) for index, name in enumerate(imputation.columns)]
    if fairness := configuration.fairness:
        named.append(("fairness.target_column", fairness.target_column))
        names = enumerate(fairness.sensitive_columns)
        named += [(f"fairness.sensitive_columns.{index}", name) for index, name in names]
    keys = _keys(source)
    for path, name in named:
        if name in keys:
            yield path, f'column "{name}" is a key, which is made anew; name another column'


def _keys(source: SourceTable) -> set[str]:
    """Returns the key columns of a table."""
    foreign = [name for key in source.foreign_keys or () for name in key.columns or [key.column or ""]]
    return {*key_columns(source), *foreign}


def _seed_problems(configuration: SyntheticTableConfiguration, source: SourceTable) -> Iterator[Violation]:
    field_name = _seed_field(configuration)
    try:
        seeds = seed_rows(configuration)
    except InvalidArgument as error:
        yield field_name, error.violations[0].description
        return
    if seeds is None:
        return
    columns = [column.name for column in source.columns if column.included]
    keys = _keys(source)
    for name in seeds.column_names:
        if name in keys:
            yield field_name, f'column "{name}" is a key, which is made anew; leave it out of the seed'
        elif name not in columns:
            yield field_name, f'column "{name}" is not in table "{source.name}"{did_you_mean(name, columns)}'
    if seeds.num_rows == 0:
        yield field_name, "has no rows"
    elif not seeds.column_names:
        yield field_name, "has no columns; name at least one"
    elif configuration.sample_size not in (None, seeds.num_rows):
        yield (
            "sample_size",
            f"is {configuration.sample_size}, but the seed has {seeds.num_rows} rows; leave it out",
        )
