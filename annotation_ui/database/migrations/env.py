"""Runs migrations on the connection that `annotation_ui.database.migrate` gives."""

from alembic import context

from annotation_ui.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
