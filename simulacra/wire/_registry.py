"""Which message and which enum belongs to which domain class: the one of the same name."""

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf import descriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from pydantic import BaseModel

from simulacra import domain
from simulacra.v1 import (
    common_pb2,
    compute_pb2,
    connector_pb2,
    generator_pb2,
    job_pb2,
    metrics_pb2,
    model_pb2,
    notification_pb2,
    platform_pb2,
    probe_pb2,
    qa_pb2,
    sharing_pb2,
    source_table_pb2,
    synthetic_dataset_pb2,
    synthetic_table_pb2,
    upload_pb2,
    user_pb2,
)

__all__ = [
    "Descriptor",
    "EnumDescriptor",
    "FieldDescriptor",
    "domain_class",
    "enum_descriptor",
    "message_class",
]

if TYPE_CHECKING:
    from google._upb import _message

# The stubs know two classes of descriptors, in Python and in C; which one there is makes no difference here.
Descriptor: TypeAlias = "descriptor.Descriptor | _message.Descriptor"
EnumDescriptor: TypeAlias = "descriptor.EnumDescriptor | _message.EnumDescriptor"
FieldDescriptor: TypeAlias = "descriptor.FieldDescriptor | _message.FieldDescriptor"

_FILES = [
    module.DESCRIPTOR
    for module in (
        common_pb2,
        compute_pb2,
        connector_pb2,
        generator_pb2,
        job_pb2,
        metrics_pb2,
        model_pb2,
        notification_pb2,
        platform_pb2,
        probe_pb2,
        qa_pb2,
        sharing_pb2,
        source_table_pb2,
        synthetic_dataset_pb2,
        synthetic_table_pb2,
        upload_pb2,
        user_pb2,
    )
]
_MESSAGES: dict[str, Descriptor] = {
    name: message for file in _FILES for name, message in file.message_types_by_name.items()
}
_ENUMS: dict[str, EnumDescriptor] = {
    name: enum for file in _FILES for name, enum in file.enum_types_by_name.items()
}


@cache
def message_class(cls: type[BaseModel]) -> type[Message]:
    """Returns the message class of a domain class, or of the nearest one that it is derived from."""
    for base in cls.__mro__:
        if base.__name__ in _MESSAGES and base.__module__.startswith("simulacra.domain"):
            return GetMessageClass(_MESSAGES[base.__name__])  # type: ignore[arg-type]
    raise TypeError(f"{cls.__name__} is not a class of the contract")


def domain_class(message: Descriptor) -> type[BaseModel] | None:
    """Returns the domain class of a message; None if it has none, as requests and well-known types."""
    cls = getattr(domain, message.name, None)
    return cls if isinstance(cls, type) and issubclass(cls, BaseModel) else None


def enum_descriptor(cls: type[StrEnum]) -> EnumDescriptor:
    """Returns the enum of the contract that a domain enumeration stands for."""
    return _ENUMS[cls.__name__]
