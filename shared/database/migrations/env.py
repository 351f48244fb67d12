"""Alembic's entry: it migrates over the connection that ``shared.database.migrate`` hands it."""

from alembic import context

from shared.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
