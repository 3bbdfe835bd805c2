"""Reads CSV in two passes: the first finds each column's type over all rows, the second converts.

A row with too many or too few values, or a quote that is never closed, refuses the file by the line's number.
"""

import csv
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from simulacra_connector.formats.inference import ColumnInference, Conversion, conversions_for
from simulacra_connector.formats.limits import FileLimits, check_names, corrupt

__all__ = ["CsvDialect", "CsvFile", "detect_dialect"]

_BLOCK_BYTES = 4 * 2**20
_SAMPLE_CHARS = 2**17
_SAMPLE_ROWS = 200
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a CSV file separates and quotes values."""

    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Returns a standard-library reader of this dialect, which raises for what Arrow would guess at."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=self.escape is None,
            strict=True,
        )


def detect_dialect(sample: str) -> CsvDialect:
    """Finds the dialect that splits a sample into the most columns, in rows of one length."""
    quote = "'" if '"' not in sample and _is_quoted_with_apostrophes(sample) else '"'
    escapes = (None, "\\") if f"\\{quote}" in sample else (None,)
    dialects = [CsvDialect(delimiter, quote, escape) for escape in escapes for delimiter in _DELIMITERS]
    return max(dialects, key=lambda dialect: _consistency(dialect, sample))


def _is_quoted_with_apostrophes(sample: str) -> bool:
    return any(f"'{delimiter}'" in sample for delimiter in _DELIMITERS)


def _consistency(dialect: CsvDialect, sample: str) -> float:
    """Returns how well a dialect fits: how many rows are as wide as the first, then how wide that is."""
    cut_off = len(sample) >= _SAMPLE_CHARS
    widths: list[int] = []
    try:
        rows = itertools.islice(dialect.reader(io.StringIO(sample, newline="")), _SAMPLE_ROWS)
        widths.extend(len(row) for row in rows if row)
    except csv.Error as error:
        if not cut_off or "end of data" not in str(error):
            return 0.0
    if cut_off and 1 < len(widths) < _SAMPLE_ROWS:
        widths.pop()  # the last row may be cut off
    if not widths or widths[0] == 1:
        return 0.0
    same = sum(width == widths[0] for width in widths) / len(widths)
    return same * 1000 + min(widths[0], 999) if same > 0.5 else same


class CsvFile:
    """A CSV file in UTF-8; its first row names the columns."""

    def __init__(self, path: Path, *, file_name: str, limits: FileLimits, tabs: bool = False) -> None:
        self._path, self._file_name = path, file_name
        self.rows = 0
        with path.open(encoding="utf-8", newline="") as file:
            sample = file.read(_SAMPLE_CHARS)
        self.dialect = CsvDialect("\t") if tabs else detect_dialect(sample)
        self.names = self._read_header()
        check_names(self.names, file_name, limits)
        self._check_quotes()
        self.conversions = self._infer()

    @property
    def schema(self) -> pa.Schema:
        """The columns with the types that were found."""
        return pa.schema(
            [(name, conversion.type) for name, conversion in zip(self.names, self.conversions, strict=True)]
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Reads the rows."""
        schema = self.schema
        for block in self._blocks():
            arrays = [
                conversion.convert(column)
                for conversion, column in zip(self.conversions, block.columns, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _infer(self) -> list[Conversion]:
        candidates = conversions_for(self.dialect.delimiter)
        inferences = [ColumnInference(candidates) for _ in self.names]
        for block in self._blocks():
            self.rows += block.num_rows
            for inference, column in zip(inferences, block.columns, strict=True):
                inference.observe(column)
        return [inference.result() for inference in inferences]

    def _read_header(self) -> list[str]:
        with self._path.open(encoding="utf-8", newline="") as file:
            try:
                header = next((row for row in self.dialect.reader(iter(file)) if row), [])
            except csv.Error as error:
                raise corrupt(self._file_name, f"its first line is malformed ({error})", line=1) from error
        return [name.strip() or f"unnamed_{number}" for number, name in enumerate(header, start=1)]

    def _blocks(self) -> Iterator[pa.RecordBatch]:
        """Reads all columns as text."""
        single = len(self.names) == 1
        try:
            reader = pacsv.open_csv(
                self._path,
                read_options=pacsv.ReadOptions(
                    column_names=self.names, skip_rows_after_names=1, block_size=_BLOCK_BYTES
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.dialect.delimiter,
                    quote_char=self.dialect.quote,
                    escape_char=self.dialect.escape or False,
                    double_quote=self.dialect.escape is None,
                    newlines_in_values=True,
                    # An empty line is a null in a file of one column; elsewhere it is nothing.
                    ignore_empty_lines=not single,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(self.names, pa.string()), strings_can_be_null=False
                ),
            )
            yield from reader
        except pa.ArrowInvalid as error:
            self._find_malformed_row(error)
            raise corrupt(self._file_name, str(error).splitlines()[0]) from error

    def _check_quotes(self) -> None:
        """Finds a quote that is never closed, which Arrow would take for one long value."""
        quote, odd = self.dialect.quote.encode(), False
        with self._path.open("rb") as file:
            while chunk := file.read(_BLOCK_BYTES):
                odd ^= chunk.count(quote) % 2 == 1
        if odd:
            self._find_malformed_row(None)

    def _find_malformed_row(self, error: pa.ArrowInvalid | None) -> None:
        """Raises for the first malformed row, with its line: Arrow counts rows, people count lines."""
        expected, line = len(self.names), 0
        with self._path.open(encoding="utf-8", newline="") as file:
            reader = self.dialect.reader(iter(file))
            try:
                for row in reader:
                    if row and len(row) != expected:
                        reason = f"line {line + 1} has {len(row)} values where the header has {expected}"
                        raise corrupt(self._file_name, reason, line=line + 1) from error
                    line = reader.line_num  # type: ignore[attr-defined]
            except csv.Error as fault:
                reason = f"the row that starts at line {line + 1} is malformed ({fault})"
                raise corrupt(self._file_name, reason, line=line + 1) from error
