"""Probes: a few rows from a generator at once, without a job."""

from typing import Self

from pydantic import Field, model_validator

from simulacra.domain.base import Identifier, Integer, JsonObject, Model, require
from simulacra.domain.synthetic_dataset import repeated_tables
from simulacra.domain.synthetic_table import SyntheticTableConfig

__all__ = ["Probe", "SyntheticProbeConfig"]


class SyntheticProbeConfig(Model):
    """The configuration of a probe; the same seed and generator give the same rows."""

    generator_id: Identifier | None = None
    tables: list[SyntheticTableConfig] | None = None
    seed: Integer | None = None

    @model_validator(mode="after")
    def _tables_are_unique(self) -> Self:
        require(repeated_tables(self.tables or []))
        return self


class Probe(Model):
    """The rows of a probe for one table, at most 1,000; what JSON cannot hold is text."""

    name: str | None = None
    rows: list[JsonObject] | None = Field(default=None, max_length=1000)
