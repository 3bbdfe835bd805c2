"""The connector service's database schema, version by version."""
