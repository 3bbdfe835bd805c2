"""Makes Arrow file systems of connectors' parameters; TLS is used and verified unless a URL says http."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow.fs as pafs

from simulacra.errors import DriverMissing, InvalidArgument, SourceAuthenticationFailed, SourceUnreachable
from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.buckets.patience import Patience
from simulacra_connector.drivers.buckets.patient import patient
from simulacra_connector.drivers.buckets.regions import s3_endpoint
from simulacra_connector.net import allowed_addresses
from simulacra_connector.types import Connection

__all__ = ["azure", "google", "google_children", "s3"]

_GOOGLE_OAUTH = "https://oauth2.googleapis.com/token"
_GOOGLE_API = "https://storage.googleapis.com"
_GOOGLE_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_AZURE_NAMES = {
    "accountName": re.compile(r"[a-z0-9]{3,24}"),
    "tenantId": re.compile(r"[A-Za-z0-9.-]{1,255}"),
}


@contextmanager
def s3(
    connection: Connection, options: SessionOptions, scratch: Path, *, region: str = ""
) -> Iterator[pafs.S3FileSystem]:
    """Opens S3 in a region, by default the endpoint's own: there all buckets are listed."""
    config, endpoint = connection.config, s3_endpoint(connection.config)
    parameters: dict[str, Any] = {"scheme": endpoint.scheme, "region": region or endpoint.region}
    if config.get("endpointUrl"):
        allowed_addresses(endpoint.host, endpoint.port, denied_networks=options.denied_networks)
        parameters["endpoint_override"] = endpoint.authority
    if certificate := connection.ssl.get("caCertificate"):
        if endpoint.scheme == "http":
            raise InvalidArgument.of(
                "ssl.caCertificate",
                "has no effect, for the endpoint is reached by http; set config.sslEnabled to true, or leave "
                "the certificate out",
            )
        path = scratch / "ca.pem"
        try:
            path.write_bytes(base64.b64decode(certificate, validate=True))
        except ValueError:
            raise InvalidArgument.of("ssl.caCertificate", "is not base64") from None
        parameters["tls_ca_file_path"] = str(path)
    yield pafs.S3FileSystem(
        access_key=config["accessKey"],
        secret_key=connection.secrets["secretKey"],
        connect_timeout=options.connect_timeout,
        request_timeout=options.statement_timeout,
        allow_delayed_open=False,
        **parameters,
    )


@contextmanager
def azure(connection: Connection, options: SessionOptions, scratch: Path) -> Iterator[pafs.FileSystem]:
    """Opens Azure Blob Storage, by the account's key or by a service principal."""
    config, secrets = connection.config, connection.secrets
    parameters: dict[str, Any] = {}
    # These become parts of URLs: nothing in them may name another host.
    for name, allowed in _AZURE_NAMES.items():
        if config.get(name) and not allowed.fullmatch(str(config[name])):
            raise InvalidArgument.of(
                f"config.{name}", f"{config[name]!r} is none of Azure's: {allowed.pattern}"
            )
    if secrets.get("accountKey"):
        parameters["account_key"] = secrets["accountKey"]
    else:
        parameters["client_id"] = config["clientId"]
        parameters["tenant_id"] = config["tenantId"]
        parameters["client_secret"] = secrets["clientSecret"]
    if options.azure_endpoint:
        parts = urlsplit(options.azure_endpoint)
        for kind in ("blob", "dfs"):
            parameters[f"{kind}_storage_authority"] = parts.netloc
            parameters[f"{kind}_storage_scheme"] = parts.scheme
    patience = Patience(str(connection.type), first=options.connect_timeout, then=options.statement_timeout)
    yield patient(pafs.AzureFileSystem(config["accountName"], **parameters), patience)


@contextmanager
def google(connection: Connection, options: SessionOptions, scratch: Path) -> Iterator[pafs.FileSystem]:
    """Opens Google Cloud Storage with a token for the service account; a stand-in needs none."""
    key = _google_key(connection)
    patience = timedelta(seconds=options.statement_timeout)
    if options.google_endpoint:
        parts = urlsplit(options.google_endpoint)
        yield pafs.GcsFileSystem(
            anonymous=True,
            scheme=parts.scheme,
            endpoint_override=parts.netloc,
            project_id=key["project_id"],
            retry_time_limit=patience,
        )
        return
    with _google_errors():
        credentials = _google_credentials(key)
    yield pafs.GcsFileSystem(
        access_token=credentials.token,
        credential_token_expiration=credentials.expiry,
        project_id=key["project_id"],
        retry_time_limit=patience,
    )


def google_children(connection: Connection, options: SessionOptions, path: str) -> list[str]:
    """Lists the buckets of the service account's project, or the folders and files of a folder."""
    key = _google_key(connection)
    bucket, _, folder = path.partition("/")
    with _google_errors():
        import requests

        headers = {}
        if not options.google_endpoint:
            headers["Authorization"] = f"Bearer {_google_credentials(key).token}"
        url = f"{options.google_endpoint or _GOOGLE_API}/storage/v1/b"
        parameters = {"project": key["project_id"]}
        if bucket:
            url = f"{url}/{quote(bucket, safe='')}/o"
            parameters = {"delimiter": "/", "prefix": f"{folder}/" if folder else ""}
        found: list[str] = []
        while True:
            answer = requests.get(url, params=parameters, headers=headers, timeout=options.connect_timeout)
            if answer.status_code == requests.codes.not_found:
                return []
            answer.raise_for_status()
            page = answer.json()
            names = [item["name"] for item in page.get("items", [])] + page.get("prefixes", [])
            found += [
                f"{bucket}/{name}" if bucket else name for name in names if not _is_marker(name, folder)
            ]
            if not page.get("nextPageToken"):
                return found
            parameters["pageToken"] = page["nextPageToken"]


def _is_marker(name: str, folder: str) -> bool:
    """Tells an empty object that stands for the folder itself."""
    return bool(folder) and name == f"{folder}/"


def _google_key(connection: Connection) -> dict[str, Any]:
    try:
        key: dict[str, Any] = json.loads(connection.secrets["keyFile"])
        return key | {"project_id": str(key["project_id"])}
    except (ValueError, KeyError, TypeError):
        raise InvalidArgument.of("secrets.keyFile", "is not the JSON key of a service account") from None


def _google_credentials(key: dict[str, Any]) -> Any:
    from google.auth.transport.requests import Request
    from google.oauth2.service_account import Credentials

    # The key's own address of the token service is not trusted: the key comes from a user.
    make: Any = Credentials.from_service_account_info
    credentials = make(key | {"token_uri": _GOOGLE_OAUTH}, scopes=[_GOOGLE_SCOPE])
    credentials.refresh(Request())
    return credentials


@contextmanager
def _google_errors() -> Iterator[None]:
    try:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise DriverMissing(
            "the driver for GOOGLE_CLOUD_STORAGE is not installed; run `pip install 'simulacra[gcs]'` "
            "where the connector service runs",
            extra="gcs",
        ) from error
    try:
        yield
    except HTTPError as error:
        raise SourceAuthenticationFailed(f"Google refuses to list buckets: {error}") from None
    except (TransportError, RequestException):
        raise SourceUnreachable("Google's services do not answer") from None
    except (GoogleAuthError, ValueError):
        raise SourceAuthenticationFailed("Google refuses the service account's key") from None
