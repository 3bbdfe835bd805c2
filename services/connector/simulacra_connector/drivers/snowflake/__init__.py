"""Snowflake: results arrive as Arrow from the vendor's connector."""

from simulacra_connector.drivers.snowflake.session import SnowflakeSession

__all__ = ["SnowflakeSession"]
