"""Seed rows inside a configuration: texts stay texts, and are read as dates where a column holds dates."""

import datetime as dt
import json
from typing import Any

import pyarrow as pa
import pytest

from simulacra.domain import SyntheticTableConfiguration
from simulacra.errors import InvalidArgument
from simulacra_generator.seeds import as_learnt, seed_rows


def read(*lines: Any) -> pa.Table:
    data = "\n".join(json.dumps(line) for line in lines).encode()
    rows = seed_rows(SyntheticTableConfiguration(sample_seed_dict=data))
    assert rows is not None
    return rows


def test_a_text_that_looks_like_a_date_stays_the_text_that_it_is() -> None:
    rows = read({"age": 3, "code": "2020-01-01"}, {"code": None, "at": "2020-01-01T10:00:00Z"}, {"age": 4})
    assert rows.to_pydict() == {
        "age": [3, None, 4],
        "code": ["2020-01-01", None, None],
        "at": [None, "2020-01-01T10:00:00Z", None],
    }


@pytest.mark.parametrize("text", ["2021-05-06T10:00:00", "2021-05-06 10:00:00", "2021-05-06T12:00:00+02:00"])
def test_columns_of_times_take_every_way_to_write_one(text: str) -> None:
    rows = read({"at": text, "day": text[:10], "name": text[:10]}, {"at": None})
    schema = pa.schema({"name": pa.string(), "day": pa.date32(), "at": pa.timestamp("us")})
    assert as_learnt(rows, schema).to_pydict() == {
        "at": [dt.datetime(2021, 5, 6, 10), None],
        "day": [dt.date(2021, 5, 6), None],
        "name": ["2021-05-06", None],
    }


def test_zoned_columns_take_times_with_and_without_a_zone() -> None:
    schema = pa.schema({"at": pa.timestamp("us", "Europe/Vienna")})
    for text, hour in (("2021-05-06T10:00:00Z", 12), ("2021-05-06T10:00:00", 12)):
        (moment,) = as_learnt(read({"at": text}), schema)["at"].to_pylist()
        assert (moment.hour, moment.utcoffset()) == (hour, dt.timedelta(hours=2))


def test_what_is_no_time_is_left_for_the_model_to_refuse() -> None:
    rows = read({"at": "soon"})
    assert as_learnt(rows, pa.schema({"at": pa.date32()})).equals(rows)


def test_what_cannot_be_read_is_named() -> None:
    for field in ("sample_seed_dict", "sample_seed_data"):
        with pytest.raises(InvalidArgument, match=field):
            seed_rows(SyntheticTableConfiguration.model_validate({field: b"nonsense"}))
    assert seed_rows(SyntheticTableConfiguration()) is None
