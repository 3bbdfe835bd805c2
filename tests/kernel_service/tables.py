"""The table of the resource that tests make."""

import sqlalchemy as sa

from simulacra.store import Resources, resource_table

metadata = sa.MetaData()
things = resource_table(metadata, "things", sa.Column("status", sa.Text, nullable=False))
THINGS = Resources(things, noun="thing")
