"""Apache Hive: over HiveServer2's Thrift protocol with impyla, by password or Kerberos."""

from simulacra_connector.drivers.hive.session import HiveSession

__all__ = ["HiveSession"]
