"""What several resources share: permission, metadata and provenance."""

from pydantic import RootModel

from simulacra.domain.base import Count, Enumeration, Integer, Model, Timestamp
from simulacra.domain.model import ModelType

__all__ = [
    "BaseResource",
    "Metadata",
    "PaginatedTotalCount",
    "PermissionLevel",
    "Provenance",
    "ProvenanceBundle",
    "ProvenanceSource",
    "ReportFormat",
]


class PermissionLevel(Enumeration):
    """What a user may do with a resource."""

    VIEW = "VIEW"
    ADMIN = "ADMIN"


class ReportFormat(Enumeration):
    """The form of a quality report: a page for people, or JSON for programs."""

    HTML = "HTML"
    JSON = "JSON"


class BaseResource(Model):
    """A reference to another resource."""

    id: str | None = None
    name: str | None = None
    uri: str | None = None
    current_user_permission_level: PermissionLevel | None = None
    current_user_like_status: bool | None = None


class Metadata(Model):
    """When and by whom a resource was made, and what the caller may do with it."""

    created_at: Timestamp | None = None
    owner_id: str | None = None
    owner_name: str | None = None
    current_user_permission_level: PermissionLevel | None = None
    current_user_like_status: bool | None = None
    short_lived_file_token: str | None = None


class PaginatedTotalCount(RootModel[Count]):
    """The number of entities in a whole list, of which a page shows a part."""


class ProvenanceSource(Model):
    """The data that one table was read from."""

    table_name: str
    connector_id: str | None = None
    location: str | None = None
    rows: Count | None = None
    content_sha256: str | None = None


class ProvenanceBundle(Model):
    """One trained model."""

    table_name: str
    model_type: ModelType
    sha256: str


class Provenance(Model):
    """What exactly a resource was made from, so that it can be made again and audited."""

    sources: list[ProvenanceSource] | None = None
    configuration_sha256: str | None = None
    bundles: list[ProvenanceBundle] | None = None
    seed: Integer | None = None
    versions: dict[str, str] | None = None
