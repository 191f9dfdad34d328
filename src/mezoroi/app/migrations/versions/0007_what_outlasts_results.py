"""What outlasts results: who gave a fruit of a session which grade, tests taken, certificates."""

from __future__ import annotations

from datetime import timezone
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FRUITS = sa.table("calibration_fruits", sa.column("id", sa.Integer), sa.column("given", sa.JSON))
_GRADES = sa.table(
    "calibration_grades",
    sa.column("fruit_id", sa.Integer),
    sa.column("user_id", sa.Integer),
    sa.column("grade", sa.String),
    sa.column("given_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("calibration_fruits", schema=None) as batch_op:
        batch_op.add_column(sa.Column("given", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("learners", schema=None) as batch_op:
        batch_op.add_column(sa.Column("taken", sa.JSON(), nullable=False, server_default="{}"))
        batch_op.add_column(sa.Column("certified_at", sa.DateTime(timezone=True), nullable=True))
    connection = op.get_bind()
    given: dict[int, dict[str, Any]] = {}
    for fruit_id, user_id, grade, moment in connection.execute(sa.select(*_GRADES.c)):
        at = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
        given.setdefault(fruit_id, {})[str(user_id)] = [grade, at.isoformat()]
    for fruit_id, content in given.items():
        own = _FRUITS.c.id == fruit_id
        connection.execute(sa.update(_FRUITS).where(own).values(given=content))
