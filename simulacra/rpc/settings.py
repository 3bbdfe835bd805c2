"""What every service process is told: where to listen, where data lives, who its neighbours are.

Settings come from arguments, then `SIMULACRA_<SERVICE>__<NAME>`, then `SIMULACRA_<NAME>` in the environment.
"""

import ipaddress
import os
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

import grpc
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from simulacra.errors import FieldViolation, InvalidArgument
from simulacra.logs import LogFormat, LogLevel
from simulacra.rpc.auth import PrincipalSigner
from simulacra.rpc.channel import channel_credentials

__all__ = ["ServiceSettings", "is_loopback", "read_settings"]

DATABASES: Final = ("postgresql", "postgres", "sqlite")
ARTIFACT_SCHEMES: Final = ("file", "s3", "gs", "gcs", "abfs", "abfss")


class ServiceSettings(BaseSettings):
    """The settings that all services share; each service has a subclass that names it."""

    service: ClassVar[str] = "service"

    model_config = SettingsConfigDict(
        env_prefix="SIMULACRA_",
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        hide_input_in_errors=True,  # the input holds keys
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(0, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    ops_port: int | None = Field(
        None, ge=0, le=65535, description="Port of /metrics, /livez and /readyz; none by default."
    )
    internal_key: SecretStr = Field(
        description="The key that all services of one platform share to sign callers; at least 16 characters."
    )
    tls_certificate: Path | None = Field(None, description="PEM file with this server's certificate chain.")
    tls_key: Path | None = Field(None, description="PEM file with the certificate's private key.")
    tls_client_ca: Path | None = Field(
        None, description="PEM file with the authority that callers' certificates need (mutual TLS)."
    )
    tls_ca: Path | None = Field(
        None,
        description="PEM file with the authority of the other services' certificates; calls to them use TLS.",
    )
    allow_plaintext: bool = Field(
        False, description="Listen beyond loopback without TLS, because a service mesh encrypts."
    )
    grace: float = Field(
        10.0, ge=0, description="Seconds that calls in flight may take when the process ends."
    )

    data_dir: Path = Field(Path("~/.simulacra"), description="Folder of local databases and artifacts.")
    database_url: str = Field("", description="SQLAlchemy URL; default: a SQLite file in data_dir.")
    artifacts_url: str = Field("", description="Where artifacts live; default: a folder in data_dir.")

    connector_target: str = Field("", description="host:port of the connector service.")
    trainer_target: str = Field("", description="host:port of the trainer service.")
    generator_target: str = Field("", description="host:port of the generator service.")
    qa_target: str = Field("", description="host:port of the qa service.")

    executor: Literal["process", "ray"] = Field("process", description="What runs the work of jobs.")
    ray_address: str = Field("", description="Ray cluster to join; empty starts one on this machine.")
    worker_slots: int | None = Field(
        None, ge=1, description="Steps that run at once; default: one per processor."
    )

    log_format: LogFormat = Field(
        "auto", description="json, console, or auto: json unless stderr is a terminal."
    )
    log_level: LogLevel = Field("info", description="Least level that is logged.")

    @property
    def slots(self) -> int:
        """How many steps run at once."""
        return self.worker_slots or os.cpu_count() or 1

    @model_validator(mode="before")
    @classmethod
    def _fill_locations(cls, values: dict[str, Any]) -> dict[str, Any]:
        data_dir = (
            Path(values.get("data_dir") or cls.model_fields["data_dir"].default).expanduser().absolute()
        )
        values["data_dir"] = data_dir
        values["database_url"] = (
            values.get("database_url") or f"sqlite+aiosqlite:///{data_dir / cls.service}.db"
        )
        values["artifacts_url"] = values.get("artifacts_url") or (data_dir / "artifacts").as_uri()
        return values

    @field_validator("internal_key")
    @classmethod
    def _check_key(cls, key: SecretStr) -> SecretStr:
        if len(key.get_secret_value()) < 16:
            raise ValueError("needs at least 16 characters; make one with `openssl rand -hex 32`")
        return key

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: str) -> str:
        backend, _, _ = url.partition(":")[0].partition("+")
        if backend not in DATABASES or "://" not in url:
            raise ValueError(
                "is not the URL of a database that state can be kept in, such as "
                "postgresql://user:password@host/database or sqlite:////path/to/file.db"
            )
        return url

    @field_validator("artifacts_url")
    @classmethod
    def _check_artifacts(cls, url: str) -> str:
        scheme = urlsplit(url).scheme
        if scheme not in ARTIFACT_SCHEMES:
            raise ValueError(f"begins with {scheme or 'no scheme'}; use one of {', '.join(ARTIFACT_SCHEMES)}")
        return url

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("SIMULACRA_TLS_CERTIFICATE and SIMULACRA_TLS_KEY go together")
        if not is_loopback(self.host) and not self.tls_certificate and not self.allow_plaintext:
            raise ValueError(
                f"host {self.host} can be reached by other machines, and there is no TLS: set "
                "SIMULACRA_TLS_CERTIFICATE and SIMULACRA_TLS_KEY, listen on 127.0.0.1, or set "
                "SIMULACRA_ALLOW_PLAINTEXT=true if a mesh encrypts"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Puts this service's own variables before the shared ones."""
        own = EnvSettingsSource(
            settings_cls, env_prefix=f"SIMULACRA_{cls.service.upper()}__", env_ignore_empty=True
        )
        return init_settings, own, env_settings, file_secret_settings

    def signer(self) -> PrincipalSigner:
        """Returns the signer with the platform's internal key."""
        return PrincipalSigner(self.internal_key.get_secret_value().encode())

    def server_credentials(self) -> grpc.ServerCredentials | None:
        """Returns this server's TLS credentials, or None."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        ca = self.tls_client_ca.read_bytes() if self.tls_client_ca else None
        pair = (self.tls_key.read_bytes(), self.tls_certificate.read_bytes())
        return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=ca is not None)

    def peer_credentials(self) -> grpc.ChannelCredentials | None:
        """Returns the TLS credentials for calls to other services, or None."""
        if self.tls_ca is None:
            return None
        return channel_credentials(ca=self.tls_ca, certificate=self.tls_certificate, key=self.tls_key)


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def read_settings(settings_class: type[SettingsT], **values: Any) -> SettingsT:
    """Reads a service's settings from `values` and the environment.

    Raises:
        InvalidArgument: Some are missing or wrong; each violation names its variable. No value is repeated,
            because it may be a secret.
    """
    try:
        return settings_class(**values)
    except ValidationError as error:
        violations = [
            FieldViolation(_variable(item["loc"]), _in_words(item["type"], item["msg"]))
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    told = [f"{each.field}: {each.description}" if each.field else each.description for each in violations]
    raise InvalidArgument("; ".join(told), violations=[each for each in violations if each.field])


def _variable(location: tuple[str | int, ...]) -> str:
    name = "_".join(str(part) for part in location)
    return f"SIMULACRA_{name.upper()}" if name else ""


def _in_words(kind: str, message: str) -> str:
    if kind == "missing":
        return "is required; docs/operations.md says what it is"
    return message.removeprefix("Value error, ")


def is_loopback(host: str) -> bool:
    """Tells whether an address to listen on can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
