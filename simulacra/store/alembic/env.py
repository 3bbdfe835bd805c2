"""Alembic's entry: one for all services, which keep only their `migrations/versions`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
