"""Between the domain and the contract: domain objects to messages of the same name, and back.

    message = to_proto(generator)  # a generator_pb2.Generator
    config = from_proto(request.config, GeneratorConfig)  # or InvalidArgument with each wrong field's path

Absent fields are None or the domain's default; timestamps are aware datetimes in UTC; a Struct is a dict;
enums go by name. One general mapper does it for every class (`mapper`); single values are in `values`, update
masks in `masks`.
"""

from simulacra.wire.mapper import from_proto, to_proto
from simulacra.wire.masks import masked_fields
from simulacra.wire.values import (
    enum_from_proto,
    enum_to_proto,
    struct_from_proto,
    struct_to_proto,
    timestamp_from_proto,
    timestamp_to_proto,
)

__all__ = [
    "enum_from_proto",
    "enum_to_proto",
    "from_proto",
    "masked_fields",
    "struct_from_proto",
    "struct_to_proto",
    "timestamp_from_proto",
    "timestamp_to_proto",
    "to_proto",
]
