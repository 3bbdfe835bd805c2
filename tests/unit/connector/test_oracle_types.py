"""What Oracle's types become, as far as that can be told without a server."""

from decimal import Decimal

import pyarrow as pa
import pytest

from simulacra.errors import UnsupportedData
from simulacra_connector.drivers.oracle.types import DIALECT, measure_sql, read_column, with_measures
from simulacra_connector.drivers.sql import ColumnInfo


def column(type: str, precision: int | None = None, scale: int | None = None) -> ColumnInfo:
    return ColumnInfo("c", type, type.upper(), precision=precision, scale=scale)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (column("number", 9, 0), pa.int32()),
        (column("number", 18, 0), pa.int64()),
        (column("number", 19, 0), pa.decimal128(19, 0)),
        (column("number", 10, 2), pa.decimal128(10, 2)),
        (column("number", 2, 5), pa.decimal128(5, 5)),
        (column("number", 3, -2), pa.int32()),
        (column("number", None, 0), pa.decimal128(38, 0)),
        (column("date"), pa.timestamp("us")),
        (column("timestamp", scale=9), pa.timestamp("ns")),
        (column("timestamp with time zone", scale=6), pa.timestamp("us", "UTC")),
        (column("clob"), pa.string()),
        (column("raw"), pa.binary()),
    ],
)
def test_type_of_a_column(info: ColumnInfo, expected: pa.DataType) -> None:
    assert read_column(info).type == expected


def test_numbers_of_any_precision_get_the_type_of_their_values() -> None:
    planned = [read_column(column("number"))]
    assert measure_sql(planned).count("MAX(") == 2
    [measured] = with_measures(planned, [2, 22])
    assert measured.type == pa.decimal128(24, 2)
    assert measured.convert(["1.25", None]).to_pylist() == [Decimal("1.25"), None]
    assert with_measures(planned, [0, 7])[0].type == pa.int64()
    with pytest.raises(UnsupportedData, match='"c"'):
        with_measures(planned, [70, 7])
    assert read_column(column("number"), measure=False).type == pa.string()


def test_years_before_our_era_and_objects_are_refused_by_name() -> None:
    day = read_column(column("date"))
    assert day.convert(["2024-02-29 00:00:00"]).type == pa.timestamp("us")
    with pytest.raises(UnsupportedData, match='"c"'):
        day.convert(["-0044-03-15 00:00:00"])
    with pytest.raises(UnsupportedData, match="SDO_GEOMETRY"):
        read_column(column("sdo_geometry"))


def test_what_can_be_written() -> None:
    assert DIALECT.sql_type(pa.field("x", pa.decimal128(20, 2))) == "NUMBER(20, 2)"
    assert DIALECT.sql_type(pa.field("x", pa.string()), key=True) == "VARCHAR2(400 CHAR)"
    for type in (pa.time64("us"), pa.list_(pa.int64()), pa.decimal256(50, 2)):
        with pytest.raises(UnsupportedData, match='"x"'):
            DIALECT.sql_type(pa.field("x", type))
