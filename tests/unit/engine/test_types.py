"""Columns of any Arrow type come back as they went in, and what cannot be learnt is refused by name."""

import json
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from simulacra.engine import ColumnSpec, TableCodec, analyze
from simulacra.engine.codecs.arrow import plain, restored
from simulacra.errors import CorruptBundle, InvalidArgument, UnsupportedData

ROWS = 400
RNG = np.random.default_rng(0)
IDS = [uuid.UUID(bytes=RNG.bytes(16)) for _ in range(ROWS)]
SOME = [[None, "a", "b"][i % 3] for i in range(ROWS)]
COLUMNS: dict[str, pa.Array] = {
    "uuid": pa.array([None if i % 5 == 0 else v.bytes for i, v in enumerate(IDS)], pa.uuid()),
    "repeated uuid": pa.array([IDS[i % 3].bytes for i in range(ROWS)], pa.uuid()),
    "json": pa.array(["{}", "[1]"] * (ROWS // 2), pa.json_()),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1] * (ROWS // 2), pa.int8())),
    "period": pa.array(pd.period_range("1960-01", periods=ROWS, freq="M")),
    "category": pa.array(pd.Categorical(SOME)),
    "ordered category": pa.array(pd.Categorical(SOME, ordered=True)),
    "category of numbers": pa.array(pd.Categorical([3, 1] * (ROWS // 2))),
    "bytes of one length": pa.array([b"ab", b"cd"] * (ROWS // 2), pa.binary(2)),
    "runs": pa.RunEndEncodedArray.from_arrays([100, ROWS], ["a", "b"]),
    "half": pa.array([0.5, 1.5] * (ROWS // 2), pa.float16()),
    "small decimal": pa.array([Decimal(i) for i in range(ROWS)], pa.decimal64(9, 2)),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_in_its_own_type(name: str) -> None:
    table = pa.table({"x": COLUMNS[name]})
    codec = TableCodec.from_json(json.loads(json.dumps(analyze(table).to_json())))
    decoded = codec.decode(codec.encode(table), np.random.default_rng(0))
    assert decoded.schema.field("x").type == table.schema.field("x").type
    decoded.validate(full=True)
    assert decoded["x"].is_null().to_pylist() == table["x"].is_null().to_pylist()
    kind = codec.codecs[0].kind
    assert restored(plain(table["x"], kind), table.schema.field("x").type).equals(
        table["x"].combine_chunks()
    ) or pa.types.is_dictionary(table.schema.field("x").type)


def test_rare_ids_do_not_become_a_word_that_is_no_id() -> None:
    ids = [IDS[0].bytes] * 200 + [IDS[1].bytes] * 190 + [v.bytes for v in IDS[2:12]]
    table = pa.table({"x": pa.array(ids, pa.uuid())})
    codec = analyze(table)
    decoded = codec.decode(codec.encode(table), np.random.default_rng(0))
    assert set(decoded["x"].to_pylist()) == set(IDS[:2])


@pytest.mark.parametrize("rows", [20, 60])
def test_ids_of_few_rows_are_ids(rows: int) -> None:
    table = pa.table({"x": pa.array([v.bytes for v in IDS[:rows]], pa.uuid())})
    codec = TableCodec.from_json(json.loads(json.dumps(analyze(table).to_json())))
    decoded = codec.decode(codec.encode(table), np.random.default_rng(0))["x"].to_pylist()
    assert len({*decoded}) == rows
    assert not {*decoded} & {*IDS}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1]] * ROWS),
        pa.array([{"a": 1}] * ROWS),
        pa.array([[("a", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())),
        pa.array([pa.MonthDayNano([1, 2, 3])] * ROWS),
        pa.array(pd.interval_range(0, ROWS)),
        pa.DictionaryArray.from_arrays(
            pa.array([0, 1] * (ROWS // 2)), pa.array(["a", "b"]).dictionary_encode()
        ),
        pa.DictionaryArray.from_arrays(
            pa.array([0, 1] * (ROWS // 2)), pa.array(["a", "b"], pa.string_view())
        ),
        pa.RunEndEncodedArray.from_arrays([100, ROWS], pa.array(["a", "b"]).dictionary_encode()),
    ],
    ids=lambda column: str(column.type)[:20],
)
def test_what_holds_no_single_values_is_refused_by_name(column: pa.Array) -> None:
    with pytest.raises(UnsupportedData, match=r'column "x": type .* leave the column out'):
        analyze(pa.table({"x": column}))


@pytest.mark.parametrize(
    ("column", "encoding", "named"),
    [
        (pa.array(range(ROWS)), "TABULAR_DATETIME", "int64; use one of AUTO, TABULAR_CATEGORICAL"),
        (pa.array([True, False] * 200), "TABULAR_LAT_LONG", "bool; use one of AUTO, TABULAR_CATEGORICAL"),
        (pa.array(["1", "n"] * 200), "TABULAR_NUMERIC_BINNED", "'n' is no number"),
        (pa.array(["2020-01-01", "n"] * 200), "TABULAR_DATETIME", "'n' is no date"),
        (pa.array(["1.5, 2.5", "n"] * 200), "TABULAR_LAT_LONG", "'n' is no \"latitude,longitude\""),
    ],
)
def test_an_encoding_that_does_not_suit_is_refused_with_column_value_and_way_out(
    column: pa.Array, encoding: str, named: str
) -> None:
    with pytest.raises((InvalidArgument, UnsupportedData), match='column "x"') as caught:
        analyze(pa.table({"x": column}), [ColumnSpec("x", encoding)])
    assert named in str(caught.value)
    assert "TABULAR_CATEGORICAL" in str(caught.value)


@pytest.mark.parametrize("scale", [1e20, 1e40, 1e300, 1.7e308])
def test_floats_up_to_the_largest_come_back_within_their_range(scale: float) -> None:
    values = RNG.uniform(-1, 1, 2000) * scale
    values[:600] = scale
    table = pa.table({"x": values})
    codec = TableCodec.from_json(json.loads(json.dumps(analyze(table).to_json(), allow_nan=False)))
    decoded = codec.decode(codec.encode(table), np.random.default_rng(0))["x"].to_numpy()
    assert np.isfinite(decoded).all()
    assert abs((decoded == scale).mean() - 0.3) < 0.02
    assert np.corrcoef(values / scale, decoded / scale)[0, 1] > 0.99


def edited(**change: Any) -> dict[str, Any]:
    document = analyze(pa.table({"x": COLUMNS["period"]})).to_json()
    document["columns"][0]["type"].update(change)
    return document


@pytest.mark.parametrize(
    "change", [{"extension": "arrow.evil"}, {"frequency": "rm -rf"}, {"frequency": 3}, {"extension": 1}]
)
def test_a_damaged_extension_type_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CorruptBundle):
        TableCodec.from_json(edited(**change))
