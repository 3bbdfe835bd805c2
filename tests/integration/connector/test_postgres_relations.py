"""PostgreSQL's less plain relations: partitions and views as sources, computed columns as targets."""

import datetime
from typing import Any

import pyarrow as pa
import pytest

from simulacra.errors import InvalidArgument, UnsupportedData
from simulacra.v1 import connector_pb2
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import SourceDatabase
from tests.integration.connector.test_writing import DESTINATION, ipc, write

pytestmark = pytest.mark.postgres

PARTITIONED = [
    "CREATE TABLE region (id int PRIMARY KEY)",
    "INSERT INTO region SELECT generate_series(0, 3)",
    "CREATE TABLE sale (id int, region int REFERENCES region, x int, PRIMARY KEY (id, region)) "
    "PARTITION BY LIST (region)",
    *(f"CREATE TABLE sale_{i} PARTITION OF sale FOR VALUES IN ({i})" for i in range(4)),
    "INSERT INTO sale SELECT i, i % 4, i FROM generate_series(1, 20000) i",
    "CREATE TABLE refund (id int PRIMARY KEY, sale int, region int, "
    "CONSTRAINT of_sale FOREIGN KEY (sale, region) REFERENCES sale)",
    "INSERT INTO refund VALUES (1, 4, 0)",
]


@pytest.fixture
async def warehouse(ada: Client, source: SourceDatabase) -> str:
    return (await ada.create(source.config, access_type=DESTINATION)).id


async def schema(client: Client, id: str, location: str) -> Any:
    return await client.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location=location))


async def test_a_partitioned_table_is_one_table(ada: Client, source: SourceDatabase) -> None:
    source.run(*PARTITIONED)
    id = (await ada.create(source.config)).id
    listed = await ada.connectors.ListLocations(connector_pb2.ListLocationsRequest(id=id, prefix="public"))
    assert list(listed.locations) == ["public.refund", "public.region", "public.sale"]
    whole = await schema(ada, id, "public.sale")
    assert (whole.total_rows, list(whole.primary_key)) == (20000, ["id", "region"])
    assert [key.referenced_location for key in whole.foreign_keys] == ["public.region"]
    assert list(whole.referenced_by) == ["public.refund"]
    assert list((await schema(ada, id, "public.region")).referenced_by) == ["public.sale"]
    refund = await schema(ada, id, "public.refund")
    assert [(list(k.columns), k.referenced_location) for k in refund.foreign_keys] == [
        (["sale", "region"], "public.sale")
    ]
    part = await schema(ada, id, "public.sale_1")
    assert (part.total_rows, len(part.foreign_keys)) == (5000, 1)
    read = await ada.read(id, "public.sale")
    assert sorted(read["id"].to_pylist()) == list(range(1, 20001))
    for _ in range(2):
        sample = await ada.read(id, "public.sale", max_rows=500, seed=7)
        assert (sample.num_rows, len(set(sample["id"].to_pylist()))) == (500, 500)
        assert set(sample["region"].to_pylist()) == {0, 1, 2, 3}


async def test_views_are_read_and_sampled(ada: Client, source: SourceDatabase) -> None:
    source.run(
        "CREATE TABLE t AS SELECT i AS id, i * 1.5 AS x FROM generate_series(1, 5000) i",
        "CREATE VIEW v AS SELECT id, x FROM t WHERE id > 1000",
        "CREATE MATERIALIZED VIEW m AS SELECT id FROM t",
    )
    id = (await ada.create(source.config)).id
    described = await schema(ada, id, "public.v")
    assert (described.total_rows, [column.name for column in described.columns]) == (4000, ["id", "x"])
    for view, rows in (("v", 4000), ("m", 5000)):
        assert (await ada.read(id, f"public.{view}")).num_rows == rows
        sample = (await ada.read(id, f"public.{view}", max_rows=100, seed=1, columns=["id"]))[
            "id"
        ].to_pylist()
        assert len(set(sample)) == 100


async def test_days_before_christ_and_after_python_come_and_midnight_as_24_is_refused(
    ada: Client, source: SourceDatabase
) -> None:
    source.run(
        "CREATE TABLE t AS SELECT date '0100-03-01 BC' AS day, timestamp '0100-03-01 12:00 BC' AS at, "
        "timestamptz '294000-01-01 00:00+00' AS late, time '24:00' AS midnight, time '23:59:59' AS time"
    )
    id = (await ada.create(source.config)).id
    read = await ada.read(id, "public.t", columns=["day", "at", "late", "time"])
    days = (datetime.date(1, 1, 1) - datetime.date(1970, 1, 1)).days - read["day"].cast(pa.int32())[0].as_py()
    assert days == 36465 + 1  # 99 years and ten months before the year 1, in the Gregorian calendar
    assert read["at"].cast(pa.int64())[0].as_py() == (-719162 - days) * 86_400_000_000 + 43_200_000_000
    assert read["late"].cast(pa.int64())[0].as_py() > 9 * 10**18
    assert read["time"].to_pylist() == [datetime.time(23, 59, 59)]
    with pytest.raises(UnsupportedData, match='"midnight" holds 24:00'):
        await ada.read(id, "public.t")


async def test_columns_that_postgres_computes_are_left_to_it(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    source.run(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x int, "
        "twice int GENERATED ALWAYS AS (x * 2) STORED, other int GENERATED BY DEFAULT AS IDENTITY)",
        "INSERT INTO t (x) VALUES (1)",
    )
    rows = pa.table({"id": [5, 7], "x": [10, 20], "twice": [-1, -1], "other": [3, 4]})
    assert await write(ada, warehouse, rows, overwrite=True) == 2
    assert source.fetch("TABLE t") == [(5, 10, 20, 3), (7, 20, 40, 4)]
    source.run("INSERT INTO t (x) VALUES (1)")
    assert source.fetch("SELECT id, twice, other FROM t WHERE x = 1") == [(8, 2, 5)]
    with pytest.raises(InvalidArgument, match="computes itself"):
        await write(ada, warehouse, pa.table({"twice": [1]}), overwrite=True)
    assert source.fetch("SELECT count(*) FROM t") == [(3,)]


async def test_a_frame_without_columns_is_refused(ada: Client, warehouse: str) -> None:
    with pytest.raises(InvalidArgument, match="no columns"):
        await write(ada, warehouse, pa.table({}))


async def test_replacing_keeps_what_belongs_to_a_table(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    source.run(
        *PARTITIONED,
        "CREATE UNLOGGED TABLE u (id int PRIMARY KEY, a int, b int) WITH (fillfactor = 70)",
        "CREATE STATISTICS together ON a, b FROM u",
        "ALTER TABLE u REPLICA IDENTITY FULL",
        "ALTER TABLE u CLUSTER ON u_pkey",
        "GRANT SELECT (a), UPDATE (b) ON u TO PUBLIC",
    )
    shape = (
        "SELECT relpersistence::text, reloptions::text, relreplident::text, "
        "(SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = c.oid), "
        "(SELECT string_agg(attacl::text, ';' ORDER BY attname) FROM pg_attribute WHERE attrelid = c.oid), "
        "(SELECT count(*) FROM pg_index WHERE indrelid = c.oid AND indisclustered) "
        "FROM pg_class c WHERE oid = 'u'::regclass"
    )
    before = source.fetch(shape)
    assert before[0][0] == "u"
    await write(ada, warehouse, pa.table({"id": [1], "a": [2], "b": [3]}), "public.u", overwrite=True)
    assert source.fetch(shape) == before
    # A key to a partitioned table is one key, though PostgreSQL keeps one for each partition besides.
    keys = (
        "SELECT conname, confrelid::regclass::text FROM pg_constraint "
        "WHERE conrelid = 'refund'::regclass AND contype = 'f' ORDER BY 1"
    )
    references = source.fetch(keys)
    rows = pa.table({"id": [1, 2], "sale": [4, 5], "region": [0, 1]})
    await write(ada, warehouse, rows, "public.refund", overwrite=True)
    assert len(source.fetch(keys)) == len(references)
    # A table that a partitioned one refers to.
    await write(ada, warehouse, pa.table({"id": range(5)}), "public.region", overwrite=True)
    assert source.fetch(
        "SELECT count(*) FROM pg_constraint WHERE confrelid = 'region'::regclass AND conparentid = 0"
    ) == [(1,)]


async def test_rows_are_added_to_a_partitioned_table(
    ada: Client, warehouse: str, source: SourceDatabase
) -> None:
    source.run(*PARTITIONED)
    data = ipc(pa.table({"id": [20001, 20002], "region": [0, 3], "x": [1, 1]}))
    header = connector_pb2.WriteDataHeader(id=warehouse, location="public.sale", append_to_tables=True)

    async def request() -> Any:
        yield connector_pb2.WriteDataRequest(header=header)
        yield connector_pb2.WriteDataRequest(data=data)

    assert (await ada.connectors.WriteData(request(), timeout=60)).rows == 2
    assert source.fetch("SELECT count(*) FROM sale") == [(20002,)]
    assert source.fetch("SELECT count(*) FROM sale_3 WHERE id = 20002") == [(1,)]
