"""What the steps of one table's training need to know, as plain JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from simulacra.domain import ModelConfiguration, SourceTable, key_columns

__all__ = ["TableSpec"]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table to train.

    Attributes:
        id: Of the source table.
        name: Of the source table.
        connector_id: Where it is read from.
        location: There.
        columns: The included columns in the source's order, each with its encoding.
        keys: The included key columns: None for the primary key, else the name of the referenced table.
        seed: Of everything random.
        max_rows: Most rows to read, a random sample if there are more.
        max_training_time: In minutes.
        max_epochs: Most passes over the training rows.
        batch_size: Rows in a training batch; None lets the engine choose.
        flexible: Whether seeds, imputation and rebalancing are to work.
        value_protection: Whether rare categories and extremes are protected.
        rare_category_replacement_method: CONSTANT or SAMPLE.
        initial_bundle: The artifact of the model to go on from, if any.
    """

    id: str
    name: str
    connector_id: str
    location: str
    columns: list[tuple[str, str]]
    keys: dict[str, str | None]
    seed: int
    max_rows: int | None
    max_training_time: float
    max_epochs: float
    batch_size: int | None
    flexible: bool
    value_protection: bool
    rare_category_replacement_method: str
    initial_bundle: str | None

    @classmethod
    def of(cls, table: SourceTable, *, seed: int, initial_bundle: str | None) -> "TableSpec":
        """Describes a source table."""
        configuration = table.model_configuration or ModelConfiguration()
        included = [column for column in table.columns if column.included]
        keys: dict[str, str | None] = {}
        for key in table.foreign_keys or ():
            keys |= dict.fromkeys(key.columns or [key.column or ""], key.referenced_table)
        keys |= dict.fromkeys(key_columns(table))
        source = table.source_connector
        defaults = ModelConfiguration()
        return cls(
            id=table.id,
            name=table.name,
            connector_id=(source.id or "") if source is not None else "",
            location=table.location or "",
            columns=[(column.name, column.model_encoding_type.value) for column in included],
            keys={column.name: keys[column.name] for column in included if column.name in keys},
            seed=seed & (2**63 - 1),  # a configured seed may be negative
            max_rows=configuration.max_sample_size,
            max_training_time=configuration.max_training_time or defaults.max_training_time or 10.0,
            max_epochs=configuration.max_epochs or defaults.max_epochs or 100.0,
            batch_size=configuration.batch_size,
            flexible=configuration.enable_flexible_generation is not False,
            value_protection=configuration.value_protection is not False,
            rare_category_replacement_method=str(
                configuration.rare_category_replacement_method or "CONSTANT"
            ),
            initial_bundle=initial_bundle,
        )

    @property
    def learnt(self) -> list[str]:
        """The columns that the model learns: those that are not keys."""
        return [name for name, _ in self.columns if name not in self.keys]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON; `TableSpec(**document)` reads it."""
        return asdict(self)
