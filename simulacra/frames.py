"""What pandas leaves in Parquet and Arrow files beside the columns: the labels of its rows."""

import json
import re

import pyarrow as pa

__all__ = ["unnamed_index"]

_UNNAMED = re.compile(r"__index_level_\d+__")


def unnamed_index(schema: pa.Schema) -> list[str]:
    """Returns the columns that hold the unnamed index of a pandas frame, as those of a filtered frame do.

    They number rows and are no data, so whoever reads such a file leaves them out. An index with a name may
    be data, a key for example, and stays. Source: the specification of pandas' metadata in Arrow schemas
    (`index_columns`); a file that does not follow it is taken as it is.
    """
    try:
        labels = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
        return [name for name in schema.names if name in labels and _UNNAMED.fullmatch(name)]
    except (ValueError, KeyError, TypeError):
        return []
