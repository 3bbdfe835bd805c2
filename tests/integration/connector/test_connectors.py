"""Connectors as resources: created after a test, private, idempotent, encrypted, guarded against deletion."""

import base64
import json
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulacra.domain import ConnectorType
from simulacra.errors import (
    InvalidArgument,
    MethodUnimplemented,
    PermissionDenied,
    RequestIdReused,
    ResourceInUse,
    ResourceNotFound,
    SourceUnreachable,
)
from simulacra.store import Database, tables
from simulacra.store.migrations import drift
from simulacra.v1 import connector_pb2, internal_pb2, sharing_pb2
from simulacra_connector.app import create
from simulacra_connector.store import metadata
from tests.certificates import self_signed, service_account_key
from tests.integration.connector.client import Client, struct
from tests.integration.connector.conftest import Settings

CONFIG = {"host": "127.0.0.1", "port": 1, "username": "u", "database": "d"}
PASSWORD = "planted-password"
GET = connector_pb2.GetConnectorRequest
DELETE = connector_pb2.DeleteConnectorRequest


async def untested(client: Client, **fields: Any) -> connector_pb2.Connector:
    return await client.create(fields.pop("config", CONFIG), test_connection=False, **fields)


async def test_create_get_list_update_delete(ada: Client) -> None:
    made = await untested(ada, name="crm", secrets={"password": PASSWORD})
    assert made.metadata.owner_id == "ada"
    assert made.config["port"] == 1
    assert made.config["sslEnabled"] is False
    assert (list(made.secrets_set), dict(made.secrets)) == (["password"], {})
    assert await ada.connectors.GetConnector(GET(id=made.id)) == made
    update = connector_pb2.UpdateConnectorRequest(
        id=made.id, name="crm 2", config=struct(CONFIG | {"port": 2})
    )
    update.update_mask.paths.append("name")
    renamed = await ada.connectors.UpdateConnector(update)
    assert (renamed.name, renamed.config["port"]) == ("crm 2", 1)
    assert renamed.revision > made.revision
    page = await ada.connectors.ListConnectors(connector_pb2.ListConnectorsRequest(search_term="CRM"))
    assert [item.name for item in page.results] == ["crm 2"]
    await ada.connectors.DeleteConnector(DELETE(id=made.id))
    with pytest.raises(ResourceNotFound):
        await ada.connectors.GetConnector(GET(id=made.id))


async def test_nothing_is_made_when_the_test_fails(ada: Client) -> None:
    with pytest.raises(SourceUnreachable):
        await ada.create(CONFIG)
    made = await untested(ada)
    update = connector_pb2.UpdateConnectorRequest(id=made.id, config=struct(CONFIG | {"port": 2}))
    with pytest.raises(SourceUnreachable):
        await ada.connectors.UpdateConnector(update)
    assert (await ada.connectors.GetConnector(GET(id=made.id))).config["port"] == 1
    with pytest.raises(SourceUnreachable):
        await ada.connectors.TestConnection(connector_pb2.TestConnectionRequest(id=made.id))


async def test_repeated_request_makes_one_connector(ada: Client) -> None:
    first = await untested(ada, secrets={"password": PASSWORD}, request_id="r")
    again = await untested(ada, secrets={"password": PASSWORD}, request_id="r")
    assert again.id == first.id
    with pytest.raises(RequestIdReused):
        await untested(ada, secrets={"password": "another one"}, request_id="r")


@pytest.mark.parametrize(
    ("config", "fields", "path"),
    [
        ({"host": "h", "username": "u"}, {}, "config.database"),
        (CONFIG | {"prot": 1}, {}, "config.prot"),
        (CONFIG | {"port": "many"}, {}, "config.port"),
        (CONFIG | {"port": 1.5}, {}, "config.port"),
        (CONFIG, {"secrets": {"passwort": "x"}}, "secrets.passwort"),
        (CONFIG, {"ssl": {"key": "x"}}, "ssl.key"),
        (CONFIG, {"ssl": {"rootCertificate": "x"}}, "ssl.rootCertificate"),
        (CONFIG | {"port": 70000}, {}, "config.port"),
        (CONFIG | {"host": "https://host"}, {}, "config.host"),
        ({"accountName": "a"}, {"type": connector_pb2.CONNECTOR_TYPE_AZURE_STORAGE}, "config"),
        ({}, {"type": connector_pb2.CONNECTOR_TYPE_FILE_UPLOAD}, "config.type"),
        ({}, {"type": connector_pb2.CONNECTOR_TYPE_UNSPECIFIED}, "config.type"),
        (CONFIG, {"name": "x" * 257}, "config.name"),
    ],
)
async def test_wrong_config_names_the_field(
    ada: Client, config: dict[str, Any], fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await untested(ada, config=config, **fields)
    assert path in [violation.field for violation in caught.value.violations]


async def test_all_types_are_described(ada: Client) -> None:
    answer = await ada.connectors.ListConnectorTypes(connector_pb2.ListConnectorTypesRequest())
    types = {
        connector_pb2.ConnectorType.Name(item.type).removeprefix("CONNECTOR_TYPE_"): item
        for item in answer.results
    }
    assert list(types) == [type.value for type in ConnectorType]
    port = next(field for field in types["HIVE"].config if field.name == "port")
    assert (port.type, port.required, port.default_value) == (
        connector_pb2.CONNECTOR_FIELD_TYPE_INTEGER,
        False,
        "10000",
    )
    choice = next(field for field in types["ORACLE"].config if field.name == "connectionType")
    assert list(choice.allowed_values) == ["SID", "SERVICE_NAME"]
    assert types["POSTGRES"].available
    [key, principal] = types["DATABRICKS"].logins
    assert (key.display_name, list(key.required_fields)) == ("access token", ["secrets.accessToken"])
    assert list(principal.required_fields) == ["config.clientId", "config.tenantId", "secrets.clientSecret"]
    [_, kerberos] = types["HIVE"].logins
    assert (kerberos.only_if.field, kerberos.only_if.value) == ("config.kerberosEnabled", "true")
    keytab = next(field for field in types["HIVE"].secrets if field.name == "kerberosKeytab")
    assert (keytab.secret, keytab.only_if) == (True, kerberos.only_if)
    assert keytab.content == connector_pb2.CONNECTOR_FIELD_CONTENT_KEYTAB
    assert (port.minimum, port.maximum, port.HasField("pattern"), port.secret) == (1, 65535, False, False)


async def test_a_form_drawn_from_the_description_makes_a_connector(ada: Client, tmp_path: Path) -> None:
    certificate, key = (
        base64.b64encode(file.read_bytes()).decode() for file in self_signed(tmp_path, "client")
    )
    contents = {
        connector_pb2.CONNECTOR_FIELD_CONTENT_CERTIFICATES: certificate,
        connector_pb2.CONNECTOR_FIELD_CONTENT_PRIVATE_KEY: key,
        connector_pb2.CONNECTOR_FIELD_CONTENT_KEYTAB: base64.b64encode(b"\x05\x02").decode(),
        connector_pb2.CONNECTOR_FIELD_CONTENT_KRB5_CONF: "[libdefaults]",
        connector_pb2.CONNECTOR_FIELD_CONTENT_SERVICE_ACCOUNT_KEY: service_account_key(),
    }
    answer = await ada.connectors.ListConnectorTypes(connector_pb2.ListConnectorTypesRequest())
    for item in answer.results[:-1]:
        for login in item.logins or [connector_pb2.ConnectorLogin()]:
            form = drawn(item, login, contents)
            fields = {"type": item.type, "secrets": form["secrets"], "ssl": form["ssl"]}
            made = await untested(ada, config=form["config"], **fields) if item.available else None
            assert made is None or {*made.secrets_set} == {*form["secrets"], *form["ssl"]}
            for path in login.required_fields or ["config.host"] * (item.type == 2):
                part, _, name = path.partition(".")
                lacking = form | {part: {k: v for k, v in form[part].items() if k != name}}
                fields = {"type": item.type, "secrets": lacking["secrets"], "ssl": lacking["ssl"]}
                with pytest.raises(InvalidArgument):
                    await untested(ada, config=lacking["config"], **fields)


def drawn(
    item: connector_pb2.ConnectorTypeDescription,
    login: connector_pb2.ConnectorLogin,
    contents: dict[Any, str],
) -> dict[str, dict[str, Any]]:
    """Fills in all fields that go with a way to log in, and with TLS, by nothing but the description."""
    chosen = {login.only_if.field: login.only_if.value} if login.HasField("only_if") else {}
    chosen.setdefault("config.sslEnabled", "true")
    ours = {*login.required_fields, *login.optional_fields}
    others = {p for way in item.logins for p in (*way.required_fields, *way.optional_fields)} - ours
    form: dict[str, dict[str, Any]] = {"config": {}, "secrets": {}, "ssl": {}}
    for part, values in form.items():
        for field in getattr(item, part):
            path = f"{part}.{field.name}"
            condition = field.only_if
            if path in others or (
                field.HasField("only_if") and chosen.get(condition.field, "false") != condition.value
            ):
                continue
            if field.type == connector_pb2.CONNECTOR_FIELD_TYPE_BOOLEAN:
                values[field.name] = chosen.get(path, "false") == "true"
            elif field.type == connector_pb2.CONNECTOR_FIELD_TYPE_INTEGER:
                values[field.name] = field.minimum
            elif field.allowed_values:
                values[field.name] = field.allowed_values[0]
            else:
                values[field.name] = contents.get(field.content, "abc")
    return form


async def test_access_type_is_enforced(ada: Client) -> None:
    made = await untested(ada, access_type=connector_pb2.CONNECTOR_ACCESS_TYPE_DESTINATION)
    with pytest.raises(PermissionDenied, match="DESTINATION"):
        await ada.read(made.id, "public.t")
    with pytest.raises(PermissionDenied, match="DESTINATION"):
        await ada.query(made.id, "SELECT 1")
    with pytest.raises(PermissionDenied, match="DESTINATION"):
        await ada.pull(made.id, "a/b", "public.t")


async def test_others_see_nothing(ada: Client, bob: Client) -> None:
    made = await untested(ada)
    for call in (
        bob.connectors.GetConnector(GET(id=made.id)),
        bob.connectors.DeleteConnector(DELETE(id=made.id)),
        bob.connectors.ListLocations(connector_pb2.ListLocationsRequest(id=made.id)),
    ):
        with pytest.raises(ResourceNotFound):
            await call
    assert (await bob.connectors.ListConnectors(connector_pb2.ListConnectorsRequest())).total_count == 0


async def test_connector_in_use_is_not_deleted(ada: Client) -> None:
    made = await untested(ada)
    use = {"resource_id": made.id, "user_uri": "generators/g1"}
    await ada.internal.AddReference(internal_pb2.AddReferenceRequest(**use, user_name="churn model"))
    await ada.internal.AddReference(internal_pb2.AddReferenceRequest(**use, user_name="churn model"))
    assert (await ada.connectors.GetConnector(GET(id=made.id))).usage.no_of_generators == 1
    with pytest.raises(ResourceInUse, match="churn model") as caught:
        await ada.connectors.DeleteConnector(DELETE(id=made.id))
    assert caught.value.metadata["used_by"] == "generators/g1"
    await ada.internal.RemoveReference(internal_pb2.RemoveReferenceRequest(**use))
    await ada.internal.RemoveReference(internal_pb2.RemoveReferenceRequest(**use))
    await ada.connectors.DeleteConnector(DELETE(id=made.id))


async def test_inline_data_of_no_known_format_is_refused_by_the_tables_name(ada: Client) -> None:
    store = internal_pb2.StoreTableDataRequest(data=b"\x00garbage", table_id="t1", name="people")
    with pytest.raises(InvalidArgument, match="'people' is neither Parquet nor JSON lines"):
        await ada.internal.StoreTableData(store)


async def test_inline_data_of_a_table_lives_with_its_last_user(ada: Client) -> None:
    store = internal_pb2.StoreTableDataRequest(data=b'{"a": 1}\n{"a": 2}\n', table_id="t1", name="people")
    made = await ada.internal.StoreTableData(store)
    assert (made.table_id, made.name) == ("t1", "people")
    assert (await ada.internal.StoreTableData(store)).id == made.id
    assert (await ada.read(made.id)).to_pydict() == {"a": [1, 2]}
    assert (await ada.connectors.ListConnectors(connector_pb2.ListConnectorsRequest())).total_count == 0
    use = {"resource_id": made.id, "user_uri": "generators/g1"}
    await ada.internal.AddReference(internal_pb2.AddReferenceRequest(**use, user_name="g"))
    await ada.internal.RemoveReference(internal_pb2.RemoveReferenceRequest(**use))
    with pytest.raises(ResourceNotFound):
        await ada.connectors.GetConnector(GET(id=made.id))


async def test_later_methods_say_that_they_are_not_there(ada: Client) -> None:
    with pytest.raises(MethodUnimplemented):
        await ada.connectors.Share(sharing_pb2.ShareRequest(id="x", user_id="y"))


def stored(folder: Path) -> list[dict[str, Any]]:
    with sqlite3.connect(folder / "connector.db") as database:
        rows = database.execute("SELECT document FROM connectors").fetchall()
    database.close()
    return [json.loads(row[0]) for row in rows]


async def test_secrets_are_encrypted_at_rest_and_keys_rotate(
    settings: Settings, connect: Callable[..., Client], tmp_path: Path
) -> None:
    old, new = (f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}" for name in ("old", "new"))
    folder = settings().data_dir
    certificate, key = (
        base64.b64encode(file.read_bytes()).decode() for file in self_signed(tmp_path, "client")
    )
    public = {"rootCertificate": certificate, "sslCertificate": certificate}
    fields: dict[str, Any] = {
        "config": CONFIG | {"sslEnabled": True},
        "secrets": {"password": PASSWORD},
        "ssl": public | {"sslCertificateKey": key},
    }
    first = await create(settings(secret_keys=old))
    await first.start()
    made = await untested(connect(first), **fields)
    await first.stop()
    assert dict(made.ssl) == public
    assert list(made.secrets_set) == ["password", "rootCertificate", "sslCertificate", "sslCertificateKey"]
    everything = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert PASSWORD.encode() not in everything
    assert key.encode() not in everything
    second = await create(settings(secret_keys=f"{new},{old}"))
    await second.start()
    await second.stop()
    assert all(value.startswith("v1.new.") for value in stored(folder)[0]["sealed"].values())
    third = await create(settings(secret_keys=new))
    await third.start()
    connection = await third.service.connection(_principal(), made.id)
    await third.stop()
    assert connection.secrets == {"password": PASSWORD}
    assert connection.ssl["sslCertificateKey"] == key


def _principal() -> Any:
    from simulacra.rpc import Principal

    return Principal("ada", "Ada")


async def test_migrations_make_the_tables_of_the_code(database_url: str) -> None:
    database = Database(database_url, schema="connector")
    await database.migrate("simulacra_connector")
    async with database.begin() as tx:
        assert await tx.connection.run_sync(drift, tables.metadata, metadata) == []
    await database.close()


async def test_embedded_key_file_is_private(settings: Settings) -> None:
    component = await create(settings())
    path = settings().data_dir / "secrets.key"
    assert path.stat().st_mode & 0o777 == 0o600
    await component.start()
    await component.stop()
    path.chmod(0o644)
    with pytest.raises(RuntimeError, match="chmod 600"):
        await create(settings())


async def test_secrets_do_not_follow_to_another_server(ada: Client, bob: Client, component: Any) -> None:
    import sqlalchemy as sa

    from simulacra.store.database import utc_now
    from simulacra.store.tables import grants

    made = await untested(ada, config=CONFIG | {"sslEnabled": True}, secrets={"password": PASSWORD})
    async with component._database.begin() as tx:
        grant = {
            "resource_id": made.id,
            "user_id": "bob",
            "user_name": "Bob",
            "level": "ADMIN",
            "created_at": utc_now(),
        }
        await tx.execute(sa.insert(grants).values(grant))
    elsewhere = connector_pb2.UpdateConnectorRequest(
        id=made.id, config=struct(CONFIG | {"host": "127.0.0.2"}), test_connection=False
    )
    unverified = connector_pb2.UpdateConnectorRequest(
        id=made.id, config=struct(CONFIG | {"sslEnabled": False}), test_connection=False
    )
    for change in (elsewhere, unverified):
        with pytest.raises(InvalidArgument, match="another server"):
            await bob.connectors.UpdateConnector(change)
    assert (await ada.connectors.UpdateConnector(elsewhere)).config["host"] == "127.0.0.2"
