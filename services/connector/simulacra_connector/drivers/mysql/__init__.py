"""MySQL and MariaDB: rows come as the server's own text, and Arrow makes columns of it."""

from simulacra_connector.drivers.mysql.session import MySqlSession

__all__ = ["MySqlSession"]
