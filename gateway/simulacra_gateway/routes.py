"""Which service owns which public RPCs: the whole routing table.

Services of internal.proto are missing on purpose: nobody outside may call them.
"""

from typing import Final

from google.protobuf.descriptor import ServiceDescriptor

from simulacra.v1 import (
    connector_pb2,
    generator_pb2,
    probe_pb2,
    qa_pb2,
    synthetic_dataset_pb2,
    upload_pb2,
)

__all__ = ["ROUTES"]

ROUTES: Final[dict[str, tuple[ServiceDescriptor, ...]]] = {
    "connector": (
        connector_pb2.DESCRIPTOR.services_by_name["ConnectorService"],
        upload_pb2.DESCRIPTOR.services_by_name["UploadService"],
    ),
    "trainer": (generator_pb2.DESCRIPTOR.services_by_name["GeneratorService"],),
    "generator": (
        synthetic_dataset_pb2.DESCRIPTOR.services_by_name["SyntheticDatasetService"],
        probe_pb2.DESCRIPTOR.services_by_name["ProbeService"],
    ),
    "qa": (qa_pb2.DESCRIPTOR.services_by_name["QaService"],),
}
