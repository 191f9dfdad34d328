"""Arms of a study."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("learners", schema=None) as batch_op:
        batch_op.alter_column("arm", existing_type=sa.String(length=32), nullable=True)
    # Everyone had an arm; where all have the same one there is no study.
    op.execute(
        "UPDATE learners SET arm = NULL "
        "WHERE NOT EXISTS (SELECT 1 FROM learners AS other WHERE other.arm = 'random')"
    )
