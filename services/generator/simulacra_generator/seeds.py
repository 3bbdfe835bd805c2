"""Seed rows that come inside a configuration: JSON lines or a Parquet file, as an Arrow table."""

import io

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from simulacra.domain import SyntheticTableConfiguration
from simulacra.errors import InvalidArgument

__all__ = ["seed_rows"]


def seed_rows(configuration: SyntheticTableConfiguration) -> pa.Table | None:
    """Reads the seed rows of a configuration; None if it has none, or they are at a connector.

    Raises:
        InvalidArgument: They cannot be read.
    """
    if configuration.sample_seed_dict is not None:
        try:
            return pa.json.read_json(io.BytesIO(configuration.sample_seed_dict))
        except pa.ArrowInvalid as error:
            raise InvalidArgument.of("sample_seed_dict", f"is not JSON lines: {error}") from error
    if configuration.sample_seed_data is not None:
        try:
            return pa.parquet.read_table(io.BytesIO(configuration.sample_seed_data))
        except (pa.ArrowInvalid, OSError) as error:
            raise InvalidArgument.of("sample_seed_data", f"is not a Parquet file: {error}") from error
    return None
