"""Times, JSON objects and enumerations keep their values, or become what JSON can hold."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from simulacra.domain import ModelEncodingType, ProgressStatus
from simulacra.errors import InvalidArgument
from simulacra.v1 import job_pb2, model_pb2
from simulacra.wire import (
    enum_from_proto,
    enum_to_proto,
    struct_from_proto,
    struct_to_proto,
    timestamp_from_proto,
    timestamp_to_proto,
)
from tests.unit.wire.strategies import JSON


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_time_is_kept_to_the_microsecond(value: dt.datetime) -> None:
    assert timestamp_from_proto(timestamp_to_proto(value)) == value


def test_time_without_a_zone_is_utc() -> None:
    naive = dt.datetime(2024, 2, 29, 12)
    assert timestamp_from_proto(timestamp_to_proto(naive)) == naive.replace(tzinfo=dt.UTC)


def test_impossible_time_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="years 1 to 9999"):
        timestamp_from_proto(Timestamp(seconds=10**18))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON))
def test_json_object_is_kept(value: dict[str, Any]) -> None:
    assert struct_from_proto(struct_to_proto(value)) == value


def test_port_stays_an_integer() -> None:
    port = struct_from_proto(struct_to_proto({"port": 5432}))["port"]
    assert repr(port) == "5432"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1 << 53) + 1, "9007199254740993"),
        (Decimal("1.10"), "1.10"),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.datetime(2024, 2, 29, 1, tzinfo=dt.UTC), "2024-02-29T01:00:00+00:00"),
        (b"\x00\xff", "AP8="),
        (float("nan"), None),
        (float("-inf"), "-Infinity"),
        ((1, 2), [1, 2]),
        (ProgressStatus.DONE, "DONE"),
    ],
    ids=str,
)
def test_what_json_cannot_hold_becomes_text(value: object, expected: object) -> None:
    assert struct_from_proto(struct_to_proto({"x": value})) == {"x": expected}


@pytest.mark.parametrize("status", ProgressStatus)
def test_enum_goes_by_name(status: ProgressStatus) -> None:
    assert enum_to_proto(status) == job_pb2.ProgressStatus.Value(f"PROGRESS_STATUS_{status}")
    assert enum_from_proto(enum_to_proto(status), ProgressStatus) is status


def test_unspecified_enum_is_none() -> None:
    assert enum_from_proto(model_pb2.MODEL_ENCODING_TYPE_UNSPECIFIED, ModelEncodingType) is None
    assert enum_to_proto(None) == 0


def test_unknown_enum_number_names_the_choices() -> None:
    with pytest.raises(
        InvalidArgument, match="99 is not a number of ProgressStatus; send one of NEW, CONTINUE"
    ):
        enum_from_proto(99, ProgressStatus)
