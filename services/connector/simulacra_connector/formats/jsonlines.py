"""Reads JSON lines, one object a line, in two passes: the first finds the columns, the second converts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from simulacra_connector.formats.inference import (
    BOOLEANS,
    DATES,
    NUMBERS,
    TEXT,
    ColumnInference,
    Conversion,
)
from simulacra_connector.formats.limits import FileLimits, check_names, corrupt

__all__ = ["JsonLinesFile"]

_BLOCK_ROWS = 16_384
_MAX_LINE_CHARS = 2**26
_KINDS: dict[frozenset[str], tuple[Conversion, ...]] = {
    frozenset({"bool"}): BOOLEANS,
    frozenset({"int"}): NUMBERS,
    frozenset({"float"}): NUMBERS[1:],
    frozenset({"int", "float"}): NUMBERS,
    frozenset({"str"}): DATES,
}


class _Column:
    """What the first pass knows of a column: the JSON types of its values, and what its text can be."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()
        self._inferences = {kinds: ColumnInference(candidates) for kinds, candidates in _KINDS.items()}

    def observe(self, values: list[Any]) -> None:
        """Takes a block into account."""
        self._kinds |= {type(value).__name__ for value in values if value is not None}
        texts = pa.array([_text(value) for value in values], pa.string())
        for kinds, inference in self._inferences.items():
            if self._kinds <= kinds:
                inference.observe(texts)

    def result(self) -> Conversion:
        """Returns the conversion; text where the values are of several kinds, or nested."""
        inference = self._inferences.get(frozenset(self._kinds))
        return inference.result() if inference else TEXT


class JsonLinesFile:
    """A file of JSON objects, one a line; a key that a line lacks is null there."""

    def __init__(self, path: Path, *, file_name: str, limits: FileLimits) -> None:
        self._path, self._file_name = path, file_name
        self.rows = 0
        columns: dict[str, _Column] = {}
        for rows in self._blocks():
            self.rows += len(rows)
            for name in dict.fromkeys(name for row in rows for name in row):
                column = columns.setdefault(name, _Column())
                column.observe([row.get(name) for row in rows])
            if len(columns) > limits.max_columns:
                break
        check_names(list(columns), file_name, limits)
        self._conversions = {name: column.result() for name, column in columns.items()}

    @property
    def schema(self) -> pa.Schema:
        """The columns, in the order in which the lines name them."""
        return pa.schema([(name, conversion.type) for name, conversion in self._conversions.items()])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Reads the rows."""
        schema = self.schema
        for rows in self._blocks():
            arrays = [
                conversion.convert(pa.array([_text(row.get(name)) for row in rows], pa.string()))
                for name, conversion in self._conversions.items()
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _blocks(self) -> Iterator[list[dict[str, Any]]]:
        rows: list[dict[str, Any]] = []
        with self._path.open(encoding="utf-8") as file:
            number = 0
            while line := file.readline(_MAX_LINE_CHARS):
                number += 1
                if line.isspace():
                    continue
                rows.append(self._parse(line, number))
                if len(rows) == _BLOCK_ROWS:
                    yield rows
                    rows = []
        if rows:
            yield rows

    def _parse(self, line: str, number: int) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"
            hint = "; a JSON array? send one object a line" if number == 1 and line[0] == "[" else ""
            raise corrupt(
                self._file_name, f"line {number} is not JSON ({reason}){hint}", line=number
            ) from error
        if not isinstance(value, dict):
            raise corrupt(
                self._file_name,
                f"line {number} is {type(value).__name__}, not an object; send one object a line",
                line=number,
            )
        return value


def _text(value: Any) -> str | None:
    """Writes a JSON value as text; strings are themselves."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
