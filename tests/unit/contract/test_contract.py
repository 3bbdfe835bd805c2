"""The contract and the domain hold every class, field, enum and RPC of the base domain model."""

import re
from typing import Any, get_args

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from pydantic import BaseModel, RootModel

from simulacra import domain, errors
from simulacra.v1 import error_reason_pb2
from simulacra.wire import _registry
from simulacra.wire.values import enum_numbers
from tests.unit.contract.schema import CLASSES, ENUMS, SERVICES

MESSAGES: dict[str, Any] = _registry._MESSAGES
CONTRACT_ENUMS: dict[str, Any] = _registry._ENUMS

# Handles of the SDK, not fields.
HANDLES = {("Generator", "training"), ("SyntheticDataset", "generation")}
# Text in base64 is bytes: JSON and the wire differ in nothing else.
BYTES = {
    ("SourceTableConfig", "data"),
    ("SyntheticTableConfiguration", "sample_seed_dict"),
    ("SyntheticTableConfiguration", "sample_seed_data"),
}
# Messages that only travel in requests, answers and streams.
TRANSPORT = re.compile(r"(Request|Response|Chunk|Header|Finish)$")
# Lists that are short and come whole.
SHORT_LISTS = {"ListConnectorTypesResponse", "ListLocationsResponse", "ListModelsResponse"}
SCALARS = {
    "str": FieldDescriptor.TYPE_STRING,
    "int": FieldDescriptor.TYPE_INT64,
    "float": FieldDescriptor.TYPE_DOUBLE,
    "bool": FieldDescriptor.TYPE_BOOL,
    "bytes": FieldDescriptor.TYPE_BYTES,
}
WELL_KNOWN = {"datetime": "google.protobuf.Timestamp", "dict[str, Any]": "google.protobuf.Struct"}

SCHEMA_FIELDS = [
    pytest.param(name, number, *field, id=f"{name}.{field[0]}")
    for name, fields in CLASSES.items()
    for number, field in enumerate(
        [field for field in fields if (name, field[0]) not in HANDLES],
        start=1,
    )
]


@pytest.mark.parametrize(("cls", "number", "name", "kind", "default"), SCHEMA_FIELDS)
def test_schema_field_is_in_the_message_with_its_number_and_type(
    cls: str, number: int, name: str, kind: str, default: str
) -> None:
    field = MESSAGES[cls].fields_by_name[name]
    assert field.number == number
    base = kind.removesuffix(" | None")
    if (cls, name) in BYTES:
        base = "bytes"
    inner = re.fullmatch(r"list\[(.*)\]", base)
    assert _is_map(field) is (base in ("dict[str, str]", "dict[str, float]"))
    assert field.is_repeated is (inner is not None or _is_map(field))
    element = inner[1] if inner else base
    if element in SCALARS:
        assert field.type == SCALARS[element]
        assert field.has_presence is (kind.endswith("| None") and inner is None)
    elif element in WELL_KNOWN:
        assert field.message_type.full_name == WELL_KNOWN[element]
    elif _is_map(field):
        value = field.message_type.fields_by_name["value"]
        assert value.type == SCALARS["str" if base == "dict[str, str]" else "float"]
    else:
        target = field.enum_type if element in ENUMS else field.message_type
        assert target.full_name == f"simulacra.v1.{element}"


@pytest.mark.parametrize(("cls", "number", "name", "kind", "default"), SCHEMA_FIELDS)
def test_schema_field_is_in_the_domain_class_with_its_default(
    cls: str, number: int, name: str, kind: str, default: str
) -> None:
    model: type[BaseModel] = getattr(domain, cls)
    field = model.model_fields[name]
    assert list(model.model_fields).index(name) == number - 1
    assert field.is_required() is (default == "required")
    if default != "required":
        assert str(field.default) in (default, f"{default}.0")
    if not issubclass(model, RootModel):
        assert (type(None) in get_args(field.annotation)) is kind.endswith("| None")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_additions_to_a_schema_class_are_numbered_from_100(name: str) -> None:
    schema = {field[0] for field in CLASSES[name]}
    additions = [field.number for field in MESSAGES[name].fields if field.name not in schema]
    assert sorted(additions) == list(range(100, 100 + len(additions)))


@pytest.mark.parametrize("name", sorted(name for name in MESSAGES if not TRANSPORT.search(name)))
def test_message_has_a_domain_class_with_the_same_fields(name: str) -> None:
    model: type[BaseModel] = getattr(domain, name)
    assert set(model.model_fields) == {field.name for field in MESSAGES[name].fields}


def test_every_domain_class_is_a_message() -> None:
    classes = (getattr(domain, name) for name in domain.__all__)
    models = {cls.__name__ for cls in classes if isinstance(cls, type) and issubclass(cls, BaseModel)}
    assert models - {"Model"} <= set(MESSAGES)


@pytest.mark.parametrize("name", sorted(CONTRACT_ENUMS))
def test_enum_has_the_members_of_the_domain_enumeration(name: str) -> None:
    enum = CONTRACT_ENUMS[name]
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
    assert enum.values[0].number == 0
    assert enum.values[0].name == f"{prefix}_UNSPECIFIED"
    members = list(enum_numbers(enum))
    assert members == list(getattr(domain, name).__members__)
    assert members == ENUMS.get(name, members)


def test_every_schema_enum_is_in_the_contract() -> None:
    assert set(ENUMS) <= set(CONTRACT_ENUMS)


@pytest.mark.parametrize("service", SERVICES)
def test_service_has_exactly_its_rpcs(service: str) -> None:
    (descriptor,) = [
        file.services_by_name[service] for file in _registry._FILES if service in file.services_by_name
    ]
    assert [method.name for method in descriptor.methods] == SERVICES[service]


def test_every_create_and_start_takes_a_request_id() -> None:
    # An API key is shown only once, so that a repeat has to make another.
    makes = re.compile(r"^(Create|Start|Clone|AddSourceTable|Evaluate)\w*Request$|^ImportGeneratorHeader$")
    names = {name for name in MESSAGES if makes.match(name)} - {"CreateApiKeyRequest"}
    assert len(names) >= 9
    assert {name for name in names if "request_id" not in MESSAGES[name].fields_by_name} == set()


PAGES = {name for name in MESSAGES if re.match(r"^List\w+Response$", name)} - SHORT_LISTS


@pytest.mark.parametrize("name", sorted(PAGES))
def test_list_answers_are_pages(name: str) -> None:
    request: Descriptor = MESSAGES[name.replace("Response", "Request")]
    assert {"results", "next_page_token", "total_count"} <= set(MESSAGES[name].fields_by_name)
    assert {"page_size", "page_token"} <= set(request.fields_by_name)


def test_error_reasons_are_those_of_the_error_classes() -> None:
    reasons = enum_numbers(error_reason_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"])
    classes = {
        cls.reason
        for name in errors.__all__
        if isinstance(cls := getattr(errors, name), type) and issubclass(cls, errors.SimulacraError)
    }
    assert set(reasons) == classes
    assert all(errors.error_class(reason).reason == reason for reason in reasons)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
