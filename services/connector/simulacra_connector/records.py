"""Turns stored connectors into what callers see and what drivers need; the only place that opens secrets."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.domain import Connector, ConnectorUsage, Metadata, PermissionLevel
from simulacra.rpc import Principal
from simulacra_connector.store import ConnectorRow, ConnectorRows
from simulacra_connector.types import TYPES, Connection, StoredFile
from simulacra_connector.vault import SecretVault

__all__ = ["ConnectorRecords", "upload_artifact"]


def upload_artifact(connector_id: str) -> str:
    """Returns the name of the artifact that holds a FILE_UPLOAD's rows."""
    return f"uploads/{connector_id}"


class ConnectorRecords:
    """Reads and writes a connector's document: config and certificates in the open, all else sealed."""

    def __init__(self, rows: ConnectorRows, vault: SecretVault) -> None:
        self._rows = rows
        self._vault = vault

    def document(self, id: str, connection: Connection) -> dict[str, Any]:
        """Returns what is stored; private keys count as secrets."""
        private = {field.name for field in TYPES[connection.type].ssl if field.secret}
        sealed = {f"secrets/{name}": value for name, value in connection.secrets.items()}
        sealed |= {f"ssl/{name}": value for name, value in connection.ssl.items() if name in private}
        return {
            "config": connection.config,
            "ssl": {name: value for name, value in connection.ssl.items() if name not in private},
            "sealed": {
                path: self._vault.seal(value, context=_context(id, path)) for path, value in sealed.items()
            },
        }

    def connection(self, row: ConnectorRow) -> Connection:
        """Opens a stored connector's secrets.

        Raises:
            VaultError: If a key is gone or a ciphertext was changed.
        """
        opened: dict[str, dict[str, str]] = {"secrets": {}, "ssl": dict(row.ssl)}
        for path, value in row.sealed.items():
            part, _, name = path.partition("/")
            opened[part][name] = self._vault.open(value, context=_context(row.id, path))
        upload = StoredFile(row.file_name, upload_artifact(row.id)) if row.file_name else None
        return Connection(row.type, dict(row.config), opened["secrets"], opened["ssl"], upload)

    def is_current(self, row: ConnectorRow) -> bool:
        """Tells whether all of a connector's secrets are under the key that seals now."""
        return all(self._vault.is_current(value) for value in row.sealed.values())

    def fingerprint(self, secrets: Mapping[str, str] | None) -> str:
        """Returns a keyed hash of secrets, to compare requests by."""
        return self._vault.fingerprint(
            "\0".join(f"{key}={value}" for key, value in sorted((secrets or {}).items()))
        )

    async def described(
        self, connection: AsyncConnection, caller: Principal, rows: Sequence[ConnectorRow]
    ) -> list[Connector]:
        """Returns connectors as a caller sees them."""
        ids = [row.id for row in rows]
        usage = await self._rows.usage(connection, ids)
        levels, liked = await self._rows.permission(connection, ids, caller.user_id)
        return [
            Connector(
                id=row.id,
                name=row.name,
                type=row.type,
                access_type=row.access_type,
                config=dict(row.config),
                ssl=dict(row.ssl),
                metadata=Metadata(
                    created_at=row.created_at,
                    owner_id=row.owner_id,
                    owner_name=row.owner_name,
                    current_user_permission_level=_level(row, caller, levels),
                    current_user_like_status=row.id in liked,
                ),
                usage=ConnectorUsage(**usage[row.id]),
                table_id=row.table_id,
                secrets_set=sorted({path.partition("/")[2] for path in row.sealed} | set(row.ssl)),
                revision=row.revision,
            )
            for row in rows
        ]


def _context(id: str, path: str) -> str:
    return f"connectors/{id}/{path}"


def _level(row: ConnectorRow, caller: Principal, levels: Mapping[str, str]) -> PermissionLevel:
    if caller.service is not None or row.owner_id == caller.user_id:
        return PermissionLevel.ADMIN
    return PermissionLevel(levels.get(row.id, "VIEW"))
