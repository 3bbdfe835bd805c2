"""Arbitrary valid objects of any domain class, made from its fields."""

import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, RootModel
from pydantic.fields import FieldInfo

from simulacra import domain

INT64 = (1 << 63) - 1
TEXT = st.characters(exclude_categories=["Cs"])
PRINTABLE = st.characters(exclude_categories=["Cs", "Cc"])
"""What names, the only texts with a check of their own, are made of."""
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(TEXT, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT, max_size=5), inner, max_size=3),
    max_leaves=6,
)
Values = dict[str, Any]


@cache
def objects(cls: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    """Valid objects of a domain class."""
    fields = {name: _field(info) for name, info in cls.model_fields.items()}
    if issubclass(cls, RootModel):
        return fields["root"].map(cls)
    repair = REPAIRS.get(cls, dict)
    return st.fixed_dictionaries(fields).map(lambda values: cls(**repair(values)))


def _field(info: FieldInfo) -> st.SearchStrategy[Any]:
    return _of(info.annotation, info.metadata)


def _of(kind: Any, limits: list[Any]) -> st.SearchStrategy[Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _of(args[0], [*limits, *args[1:]])
    if origin in (Union, types.UnionType):
        return st.one_of(*(st.none() if arg is types.NoneType else _of(arg, limits) for arg in args))
    if origin is list:
        return st.lists(_of(args[0], []), min_size=_limit(limits, MinLen, 0), max_size=3)
    if kind == dict[str, Any]:
        return st.dictionaries(st.text(TEXT, max_size=5), JSON, max_size=3)
    if origin is dict:
        minimum = _limit(limits, MinLen, 0)
        return st.dictionaries(st.text(TEXT, max_size=5), _of(args[1], []), min_size=minimum, max_size=3)
    if issubclass(kind, BaseModel):
        return objects(kind)
    return _scalar(kind, limits)


def _scalar(kind: type, limits: list[Any]) -> st.SearchStrategy[Any]:
    limits = [
        inner for limit in limits for inner in (limit.metadata if isinstance(limit, FieldInfo) else [limit])
    ]
    if issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(_limit(limits, Ge, -INT64 - 1), _limit(limits, Le, INT64))
    if kind is float:
        above, below = _limit(limits, Gt, None), _limit(limits, Lt, None)
        return st.floats(
            above if above is not None else _limit(limits, Ge, None),
            below if below is not None else _limit(limits, Le, None),
            exclude_min=above is not None,
            exclude_max=below is not None,
            allow_nan=False,
            allow_infinity=False,
        )
    if kind is datetime:
        return st.datetimes(timezones=st.just(UTC))
    if kind is bytes:
        return st.binary(max_size=20)
    assert kind is str, kind
    characters = PRINTABLE if any(isinstance(limit, AfterValidator) for limit in limits) else TEXT
    return st.text(characters, min_size=_limit(limits, MinLen, 0), max_size=min(_limit(limits, MaxLen, 8), 8))


def _limit(limits: list[Any], kind: type, default: Any) -> Any:
    names = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt", MinLen: "min_length", MaxLen: "max_length"}
    found = [getattr(limit, names[kind]) for limit in limits if isinstance(limit, kind)]
    return found[-1] if found else default


# What a class demands of several fields together.


def _rebalancing(values: Values) -> Values:
    count = len(values["probabilities"])
    return values | {"probabilities": {key: value / count for key, value in values["probabilities"].items()}}


def _distinct(name: str) -> Callable[[Values], Values]:
    return lambda values: values | {name: list(dict.fromkeys(values[name]))}


def _fairness(values: Values) -> Values:
    sensitive = [
        name for name in dict.fromkeys(values["sensitive_columns"]) if name != values["target_column"]
    ]
    return values | {"sensitive_columns": sensitive or [values["target_column"] + "2"]}


def _one_seed(values: Values) -> Values:
    names = ("sample_seed_connector_id", "sample_seed_dict", "sample_seed_data")
    given = [name for name in names if values[name] is not None]
    return values | dict.fromkeys(given[1:])


def _one_way(values: Values) -> Values:
    return values | {"append_to_tables": values["append_to_tables"] and not values["overwrite_tables"]}


def _composite(column: str, columns: str) -> Callable[[Values], Values]:
    def repair(values: Values) -> Values:
        first = values[column]
        rest = values[columns] or []
        return values | {columns: list(dict.fromkeys([first, *rest])) if first and rest else None}

    return repair


def _source_table(values: Values) -> Values:
    values = _composite("primary_key", "primary_key_columns")(values)
    if values["source_connector_id"] is None:
        values["location"] = None
    else:
        values["data"] = None
    values["columns"] = list({column.name: column for column in values["columns"] or ()}.values())
    for key in (values["foreign_keys"] or [])[1:]:
        key.is_context = None
    return values


def _generator(values: Values) -> Values:
    """Gives every table a name and key of its own, and lets foreign keys point at the first table."""
    tables = values["tables"] or []
    for index, table in enumerate(tables):
        table.name = f"{index}{table.name}"[:256]
        table.primary_key_columns, table.primary_key = None, "id"
        for key in table.foreign_keys or ():
            key.columns, key.referenced_table = None, tables[0].name
            key.is_context = key.is_context if index else None
    return values


def _unique_tables(values: Values) -> Values:
    return values | {"tables": list({table.name: table for table in values["tables"] or ()}.values())}


REPAIRS: Mapping[type[BaseModel], Callable[[Values], Values]] = {
    domain.RebalancingConfig: _rebalancing,
    domain.ImputationConfig: _distinct("columns"),
    domain.FairnessConfig: _fairness,
    domain.SyntheticTableConfiguration: _one_seed,
    domain.SourceForeignKeyConfig: _composite("column", "columns"),
    domain.SourceTableConfig: _source_table,
    domain.GeneratorConfig: _generator,
    domain.SyntheticDatasetDelivery: _one_way,
    domain.SyntheticDatasetConfig: _unique_tables,
    domain.SyntheticProbeConfig: _unique_tables,
}
