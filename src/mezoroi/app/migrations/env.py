"""Alembic's entry: runs the migrations on the connection it is given."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from mezoroi.app.tables import Base, UtcDateTime


def _render(kind: str, item: Any, autogenerate: Any) -> str | Literal[False]:
    """A migration must not change when our own types do."""
    is_moment = kind == "type" and isinstance(item, UtcDateTime)
    return "sa.DateTime(timezone=True)" if is_moment else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
