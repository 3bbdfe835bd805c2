"""Microsoft SQL Server: over TDS with python-tds; dates and numbers as the server's own text, exactly."""

from simulacra_connector.drivers.mssql.session import MssqlSession

__all__ = ["MssqlSession"]
