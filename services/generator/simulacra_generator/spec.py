"""How one table is sampled, as plain JSON for the worker tasks."""

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["TableControls"]


@dataclass(frozen=True, slots=True)
class TableControls:
    """How one table is sampled.

    Attributes:
        name: Of the table.
        bundle: The artifact of its model.
        sha256: Of the model.
        rows: How many rows; None until the rows of a seed that is to be read are counted.
        seed: Of everything random.
        temperature: Of sampling.
        top_p: Of sampling.
        rebalancing: A column and the probabilities of its values.
        imputation: Columns that are to have no nulls.
        fairness: A column that is to be equally distributed in all groups by sensitive columns.
        seed_connector: The connector to read seed rows from.
        referenced: How many rows the tables have that foreign keys point at, by name.
        seeds: The artifact with the seed rows.
        seed_field: The path of the seed in the configuration, for errors.
    """

    name: str
    bundle: str
    sha256: str
    rows: int | None
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    rebalancing: dict[str, Any] | None = None
    imputation: list[str] = field(default_factory=list)
    fairness: dict[str, Any] | None = None
    seed_connector: str | None = None
    referenced: dict[str, int] = field(default_factory=dict)
    seeds: str | None = None
    seed_field: str = "sample_seed_data"

    @property
    def steered(self) -> bool:
        """Says whether anything is asked for that a model may not be able to do."""
        return bool(self.rebalancing or self.imputation or self.fairness or self.seeds)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON; `TableControls(**document)` reads it."""
        return asdict(self)
