"""Oracle: over its own protocol with python-oracledb, without a client library of Oracle's."""

from simulacra_connector.drivers.oracle.session import OracleSession

__all__ = ["OracleSession"]
