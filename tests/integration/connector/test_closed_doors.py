"""What a connector's parameters cannot be made to reach: the platform's own network, files, other hosts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulacra.errors import InvalidArgument, LocationNotFound, PermissionDenied
from simulacra.v1 import connector_pb2
from simulacra_connector.app import create
from tests.integration.connector.client import Client
from tests.integration.connector.conftest import Settings

POSTGRES = connector_pb2.CONNECTOR_TYPE_POSTGRES
S3 = connector_pb2.CONNECTOR_TYPE_S3_STORAGE
AZURE = connector_pb2.CONNECTOR_TYPE_AZURE_STORAGE
DATABASE = {"username": "u", "database": "d"}


@pytest.mark.parametrize(
    ("type", "config", "secrets", "field"),
    [
        (POSTGRES, DATABASE | {"host": "/var/run/postgresql"}, {}, "config.host"),
        (POSTGRES, DATABASE | {"host": "db,169.254.169.254"}, {}, "config.host"),
        (POSTGRES, DATABASE | {"host": "db?sslmode=disable"}, {}, "config.host"),
        (S3, {"accessKey": "a", "endpointUrl": "file:///etc/"}, {"secretKey": "s"}, "config.endpointUrl"),
        (S3, {"accessKey": "a", "endpointUrl": "http://a@b/c"}, {"secretKey": "s"}, "config.endpointUrl"),
        (AZURE, {"accountName": "evil.example/x"}, {"accountKey": "aw=="}, "config.accountName"),
        (
            AZURE,
            {"accountName": "abc", "clientId": "c", "tenantId": "../evil"},
            {"clientSecret": "s"},
            "config.tenantId",
        ),
    ],
)
async def test_what_would_lead_elsewhere_is_refused(
    ada: Client, type: Any, config: dict[str, Any], secrets: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await ada.create(config, type=type, secrets=secrets)
    assert caught.value.violations[0].field == field


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::ffff:127.0.0.1", "2130706433"])
async def test_networks_of_the_operator_are_closed(
    settings: Settings, connect: Callable[..., Client], host: str
) -> None:
    component = await create(settings(denied_networks=("127.0.0.0/8", "::1/128")))
    await component.start()
    try:
        client = connect(component)
        with pytest.raises(PermissionDenied, match="may not reach"):
            await client.create(DATABASE | {"host": host})
        bracketed = f"[{host}]" if ":" in host else host
        with pytest.raises(PermissionDenied, match="may not reach"):
            await client.create(
                {"accessKey": "a", "endpointUrl": f"http://{bracketed}:80"},
                type=S3,
                secrets={"secretKey": "s"},
            )
    finally:
        await component.stop()


async def test_files_of_the_machine_are_no_locations(ada: Client, tmp_path: Path) -> None:
    upload = await ada.upload(b"a\n1\n", "../../../escaped.csv")
    id = upload.connector.id
    for location in ("file:///etc/passwd", "/etc/passwd", "../../../../etc/passwd", "escaped.csv/../x"):
        with pytest.raises(LocationNotFound):
            await ada.read(id, location)
    assert (await ada.read(id)).to_pydict() == {"a": [1]}
    found = list(tmp_path.parent.rglob("*escaped*"))
    assert found == []
