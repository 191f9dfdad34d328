"""Reference fruits and examples of the standard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "standard_examples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("standard_id", sa.Integer(), nullable=False),
        sa.Column("grade", sa.String(length=64), nullable=False),
        sa.Column("fruit_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["fruit_id"], ["fruits.id"], name=op.f("fk_standard_examples_fruit_id")
        ),
        sa.ForeignKeyConstraint(
            ["standard_id"], ["standards.id"], name=op.f("fk_standard_examples_standard_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_standard_examples")),
    )
    with op.batch_alter_table("standard_examples", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_standard_examples_standard_id"), ["standard_id"], unique=False
        )

    op.create_table(
        "reference_fruits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("grade", sa.String(length=64), nullable=True),
        sa.Column("picture", sa.String(length=80), nullable=True),
        sa.Column("fruit_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["fruit_id"], ["fruits.id"], name=op.f("fk_reference_fruits_fruit_id")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_reference_fruits_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_fruits")),
    )
    with op.batch_alter_table("reference_fruits", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_reference_fruits_fruit_id"), ["fruit_id"], unique=False
        )
        batch_op.create_index("reference_fruits_by_grade", ["run_id", "grade", "id"], unique=False)
