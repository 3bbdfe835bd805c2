"""MariaDB's less plain tables as targets: partitions, computed columns, numbers that the server gives."""

import pyarrow as pa
import pytest

from simulacra.errors import InvalidArgument, UnsupportedData
from simulacra.v1 import connector_pb2
from tests.integration.connector.client import Client
from tests.integration.connector.test_mysql import Shop, connector, shop
from tests.integration.connector.test_writing import DESTINATION, write

__all__ = ["shop"]


async def test_partitions_and_computed_columns_stay(ada: Client, shop: Shop) -> None:
    shop.run(
        "CREATE TABLE {}.t (id INT AUTO_INCREMENT PRIMARY KEY, x INT, twice INT AS (x * 2) STORED, "
        "thrice INT AS (x * 3) VIRTUAL) PARTITION BY RANGE (id) "
        "(PARTITION low VALUES LESS THAN (100), PARTITION high VALUES LESS THAN MAXVALUE)",
        "INSERT INTO {}.t (x) VALUES (1)",
        "CREATE VIEW {}.v AS SELECT id FROM {}.t",
    )
    shape = (
        "SELECT partition_name, partition_method, partition_description FROM information_schema.partitions "
        "WHERE table_schema = '{}' AND table_name = 't' ORDER BY 1"
    )
    before = shop.fetch(shape)
    destination = await connector(ada, shop, access_type=DESTINATION)
    location = f"{shop.name}.t"
    rows = pa.table({"id": [0, 500], "x": [10, 20], "twice": [-1, -1], "thrice": [-1, -1]})
    assert await write(ada, destination, rows, location, overwrite=True) == 2
    assert shop.fetch("SELECT id, x, twice, thrice FROM {}.t ORDER BY id") == [
        (0, 10, 20, 30),
        (500, 20, 40, 60),
    ]
    assert shop.fetch(shape) == before
    assert shop.fetch("SELECT count(*) FROM {}.v") == [(2,)]
    shop.run("INSERT INTO {}.t (x) VALUES (1)")
    assert shop.fetch("SELECT max(id) FROM {}.t") == [(501,)]
    with pytest.raises(InvalidArgument, match="computes itself"):
        await write(ada, destination, pa.table({"twice": [1]}), location, overwrite=True)
    with pytest.raises(InvalidArgument, match="no columns"):
        await write(ada, destination, pa.table({}), location, overwrite=True)
    assert shop.fetch("SELECT count(*) FROM {}.t") == [(3,)]


async def test_partitioned_tables_and_views_are_sources(ada: Client, shop: Shop) -> None:
    shop.run(
        "CREATE TABLE {}.t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 4",
        "INSERT INTO {}.t SELECT seq FROM {}.seq_1_to_4000",
        "CREATE VIEW {}.v AS SELECT id FROM {}.t WHERE id > 1000",
    )
    id = await connector(ada, shop)
    request = connector_pb2.ListLocationsRequest(id=id, prefix=shop.name)
    listed = await ada.connectors.ListLocations(request)
    assert list(listed.locations) == [f"{shop.name}.t", f"{shop.name}.v"]
    for name, count in (("t", 4000), ("v", 3000)):
        location = f"{shop.name}.{name}"
        schema = await ada.connectors.GetSchema(connector_pb2.GetSchemaRequest(id=id, location=location))
        assert schema.total_rows == count
        assert len(set((await ada.read(id, location))["id"].to_pylist())) == count
        sample = await ada.read(id, location, max_rows=100, seed=1)
        assert len(set(sample["id"].to_pylist())) == 100


async def test_days_that_mariadb_does_not_know_are_refused_by_name(ada: Client, shop: Shop) -> None:
    destination = await connector(ada, shop, access_type=DESTINATION)
    early = pa.array([-1_000_000], pa.int32()).cast(pa.date32())
    with pytest.raises(UnsupportedData, match='"early"'):
        await write(ada, destination, pa.table({"early": early}), f"{shop.name}.t")
