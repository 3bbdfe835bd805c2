"""Reads uploaded files, which are untrusted, as Arrow batches: Parquet, Feather, CSV and JSON lines."""

from simulacra_connector.formats.reading import (
    FileContent,
    FileFormat,
    FileLimits,
    base_name,
    format_of,
    open_file,
)

__all__ = ["FileContent", "FileFormat", "FileLimits", "base_name", "format_of", "open_file"]
