"""The connector service's settings."""

import ipaddress
import ssl
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator

from simulacra.rpc import ServiceSettings

__all__ = ["ConnectorSettings"]

# Addresses of a machine's own link: what clouds use to give a machine its credentials.
_LINK_LOCAL = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")
_LOOPBACK = ("127.0.0.0/8", "::1/128")


class ConnectorSettings(ServiceSettings):
    """Owns connectors: reads, writes and introspects databases, buckets and uploaded files."""

    service: ClassVar[str] = "connector"

    secret_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys that encrypt connectors' secrets, `id:base64 of 32 bytes`, separated by commas. "
        "The first encrypts, all decrypt: to rotate, put a new one in front. Empty, secret_key_file is used.",
    )
    secret_key_file: Path | None = Field(
        None,
        description="File with such keys, a line each, readable by its owner only; "
        "default: secrets.key in data_dir, which is made when it is not there.",
    )
    denied_networks: tuple[str, ...] = Field(
        _LINK_LOCAL,
        description="Networks that no connector may reach; add 127.0.0.0/8 and the platform's own "
        "where people share it.",
    )
    azure_endpoint: str = Field(
        "", description="URL of Azure's blob service, where it is not the public one."
    )
    google_endpoint: str = Field(
        "", description="URL of a stand-in for Google Cloud Storage, used without keys."
    )
    endpoints: dict[str, str] = Field(
        {},
        description="URLs of stand-ins for warehouses, a JSON object by connector type; credentials go there "
        "as they are.",
    )
    mssql_tls: bool = Field(
        True,
        description="Whether connections to SQL Server must be TLS, with a certificate that this machine "
        "trusts; off, passwords and rows travel in the clear.",
    )
    tls_optional_networks: tuple[str, ...] = Field(
        _LOOPBACK,
        description="Networks in which MySQL, MariaDB and Oracle are reached as they are, by unverified TLS "
        "or in the clear. Anywhere else a server needs a certificate for its host name, of a trusted "
        "authority.",
    )
    source_ca_file: Path | None = Field(
        None,
        description="PEM file of authorities whose certificates MySQL, MariaDB, Oracle and SQL Server may "
        "have, besides those that this machine trusts.",
    )
    driver_threads: int = Field(16, ge=1, le=256, description="Connections to sources that are busy at once.")
    connect_timeout: int = Field(8, ge=1, description="Seconds to connect to a source.")
    statement_timeout: int = Field(
        60, ge=1, description="Seconds for a Query, or for a statement that looks something up."
    )
    read_timeout: int = Field(6 * 3600, ge=1, description="Seconds to read one table.")
    retry_seconds: float = Field(
        20.0, ge=0, description="Seconds that a job keeps trying to reach a source that does not answer."
    )
    connections_per_source: int = Field(
        16, ge=1, description="Connections to one source that are open at once; further calls wait."
    )
    max_upload_bytes: int = Field(20 * 2**30, ge=1, description="Largest file that can be uploaded.")
    max_expanded_bytes: int = Field(50 * 2**30, ge=1, description="Most bytes that a file may unpack to.")
    upload_retention: float = Field(
        24.0, gt=0, description="Hours after its last byte that an unfinished upload is kept."
    )
    sweep_interval: float = Field(
        600.0, gt=0, description="Seconds between looks for uploads that have expired."
    )

    @field_validator("denied_networks", "tls_optional_networks")
    @classmethod
    def _check_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @field_validator("source_ca_file")
    @classmethod
    def _check_authorities(cls, file: Path | None) -> Path | None:
        if file is not None:
            try:
                ssl.create_default_context(cafile=file)
            except OSError as error:  # which includes what OpenSSL says of other files
                raise ValueError(f"{file} is no file of certificates in PEM: {error}") from None
        return file
