"""Writes tables into BigQuery: rows are staged in a local Parquet file, which one load job puts in place.

A load job happens as a whole or not at all, and once: its id is the delivery's, and a second job with the
same id is refused.
"""

import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core import exceptions
from google.cloud import bigquery

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.base import TableStream, WriteMode
from simulacra_connector.drivers.bigquery.link import BigQueryLink
from simulacra_connector.drivers.sql import Dialect, Staged, TableWriter, exact_batch

__all__ = ["DIALECT", "BigQueryWriter"]

DIALECT = Dialect(
    name="BigQuery",
    types={
        pa.bool_(): "BOOL",
        **dict.fromkeys((pa.int8(), pa.int16(), pa.int32(), pa.int64()), "INT64"),
        **dict.fromkeys((pa.uint8(), pa.uint16(), pa.uint32()), "INT64"),
        pa.float32(): "FLOAT64",
        pa.float64(): "FLOAT64",
        pa.string(): "STRING",
        pa.large_string(): "STRING",
        pa.null(): "STRING",
        pa.binary(): "BYTES",
        pa.large_binary(): "BYTES",
        pa.date32(): "DATE",
    },
    decimal=(76, "BIGNUMERIC"),
    moment="DATETIME",
    instant="TIMESTAMP",
    time="TIME",
    quotes=("`", "`"),
)
_NUMERIC_SCALE, _NUMERIC_WHOLE, _BIG = 9, 29, 38
_DISPOSITIONS = {
    WriteMode.FAIL: "WRITE_EMPTY",
    WriteMode.OVERWRITE: "WRITE_TRUNCATE_DATA",  # which keeps schema and keys
    WriteMode.APPEND: "WRITE_APPEND",
}


class BigQueryWriter(TableWriter):
    """Loads files."""

    enforced_keys: ClassVar[str] = " NOT ENFORCED"
    keys_follow_names: ClassVar[bool] = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Has a folder for the files."""
        with tempfile.TemporaryDirectory(prefix="simulacra-bigquery-") as folder:
            self._folder = Path(folder)
            yield

    def create(self, staged: Staged) -> None:
        """Needs nothing at BigQuery; checks that the columns can be written."""
        for column in staged.table.stream.schema:
            _field(column, required=False)

    def drop(self, staged: Staged) -> None:
        """Has nothing at BigQuery to drop."""

    def drop_sql(self, staged: Staged) -> str:
        """Has nothing at BigQuery to drop."""
        return "SELECT 1"

    def make_probe(self, probe: Staged) -> None:
        """Makes a table by a statement, for there are no staging tables."""
        try:
            self.link.execute(f"CREATE TABLE {self.place(probe)} (a INT64)")
        finally:
            self.link.execute_anyway(f"DROP TABLE IF EXISTS {self.place(probe)}")

    def load(self, staged: Staged, stream: TableStream) -> Iterator[int]:
        """Writes the file."""
        count, writer = 0, None
        try:
            for batch in stream.batches:
                exact = exact_batch(batch, database=self.dialect.name)
                writer = writer or pq.ParquetWriter(self._file(staged), exact.schema, compression="zstd")
                writer.write_batch(exact)
                count += batch.num_rows
                yield count
            if writer is None:
                pq.write_table(stream.schema.empty_table(), self._file(staged))
        finally:
            if writer is not None:
                writer.close()

    def publish_all(self, staged: Sequence[Staged], mode: WriteMode) -> None:
        """Runs the load jobs."""
        for each in staged:
            self._publish(each, mode)
            self.placed.append(each.table.name)

    def is_settled(self, schema: str, name: str, rows: int) -> bool:
        """Asks how the job of an earlier attempt has ended."""
        del schema, rows
        link = cast("BigQueryLink", self.link)
        with link.translated():
            try:
                job = link.client.get_job(name, retry=link.retry)
            except exceptions.NotFound:
                return False
            with link.bounded(link.options.read_timeout):
                while not job.done(retry=link.retry):
                    link.options.cancellation.check()
                    time.sleep(0.5)
        return job.error_result is None

    def _publish(self, staged: Staged, mode: WriteMode) -> None:
        link = cast("BigQueryLink", self.link)
        config = bigquery.LoadJobConfig(
            source_format="PARQUET",
            write_disposition=_DISPOSITIONS[mode if staged.there is not None else WriteMode.FAIL],
        )
        if staged.there is None:
            required = staged.table.primary_key
            config.schema = [
                _field(column, required=column.name in required) for column in staged.table.stream.schema
            ]
        target = bigquery.DatasetReference(link.project, staged.schema).table(staged.table.name)
        with (
            link.bounded(link.options.read_timeout),
            link.translated(staged.location),
            self._file(staged).open("rb") as file,
        ):
            try:
                job = link.client.load_table_from_file(
                    file, target, job_id=staged.name, job_config=config, rewind=True
                )
            except exceptions.Conflict:
                # The job of an earlier attempt, which has failed.
                again = f"{staged.name}_{uuid.uuid4().hex[:8]}"
                job = link.client.load_table_from_file(
                    file, target, job_id=again, job_config=config, rewind=True
                )
            link.follow(job)

    def _file(self, staged: Staged) -> Path:
        return self._folder / f"{staged.name}.parquet"


def _field(column: "pa.Field[Any]", *, required: bool) -> bigquery.SchemaField:
    mode = "REQUIRED" if required else "NULLABLE"
    type: Any = column.type
    if not pa.types.is_decimal(type) and type != pa.uint64():
        return bigquery.SchemaField(column.name, DIALECT.sql_type(column), mode=mode)
    precision, scale = (20, 0) if type == pa.uint64() else (type.precision, type.scale)
    whole = precision - scale
    if 0 <= scale <= _NUMERIC_SCALE and 0 <= whole <= _NUMERIC_WHOLE:
        return bigquery.SchemaField(column.name, "NUMERIC", mode=mode)
    if 0 <= scale <= _BIG and 0 <= whole <= _BIG:
        return bigquery.SchemaField(column.name, "BIGNUMERIC", mode=mode)
    raise UnsupportedData(
        f'column "{column.name}" has type {type}, which cannot be written to BigQuery; convert it first',
        column=column.name,
    )
