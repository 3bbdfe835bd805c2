"""PostgreSQL: catalog and rows are read through ADBC, which makes Arrow batches of a binary COPY."""

from simulacra_connector.drivers.postgres.session import PostgresSession

__all__ = ["PostgresSession"]
