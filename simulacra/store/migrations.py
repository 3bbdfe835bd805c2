"""Runs a service package's Alembic migrations, `<package>/migrations/versions`, on one connection."""

from importlib import resources
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

__all__ = ["drift", "upgrade"]


def upgrade(connection: sa.Connection, package: str) -> None:
    """Applies all migrations that `connection`'s database does not have yet; the caller commits."""
    versions = resources.files(package) / "migrations" / "versions"
    if not isinstance(versions, Path):
        raise TypeError(f"the migrations of {package} must be files; it seems to be imported from an archive")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def drift(connection: sa.Connection, *metadata: sa.MetaData) -> list[Any]:
    """Returns how the database's tables differ from the code's: what a forgotten migration leaves."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, list(metadata)))  # type: ignore[arg-type]
