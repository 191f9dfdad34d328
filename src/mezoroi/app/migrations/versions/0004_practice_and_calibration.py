"""Practice and calibration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "learners",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("arm", sa.String(length=32), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_learners_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_learners")),
    )
    op.create_table(
        "practice_rounds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_practice_rounds_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_practice_rounds")),
    )
    with op.batch_alter_table("practice_rounds", schema=None) as batch_op:
        batch_op.create_index("rounds_by_user", ["user_id", "phase", "id"], unique=False)

    op.create_table(
        "calibration_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=128), nullable=False),
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("leader_id", sa.Integer(), nullable=False),
        sa.Column("standard_id", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revealed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["leader_id"], ["users.id"], name=op.f("fk_calibration_sessions_leader_id")
        ),
        sa.ForeignKeyConstraint(
            ["standard_id"], ["standards.id"], name=op.f("fk_calibration_sessions_standard_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_sessions")),
    )
    op.create_table(
        "calibration_graders",
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["calibration_sessions.id"],
            name=op.f("fk_calibration_graders_session_id"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_calibration_graders_user_id")
        ),
        sa.PrimaryKeyConstraint("session_id", "user_id", name=op.f("pk_calibration_graders")),
    )
    op.create_table(
        "specimens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fruit_id", sa.Integer(), nullable=True),
        sa.Column("reference", sa.String(length=512), nullable=True),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("grade", sa.String(length=64), nullable=True),
        sa.Column("consensus", sa.String(length=64), nullable=True),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("similarity", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("alike", sa.JSON(), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["fruit_id"], ["fruits.id"], name=op.f("fk_specimens_fruit_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_specimens_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_specimens")),
        sa.UniqueConstraint("fruit_id", name=op.f("uq_specimens_fruit_id")),
        sa.UniqueConstraint("reference", name=op.f("uq_specimens_reference")),
    )
    with op.batch_alter_table("specimens", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_specimens_run_id"), ["run_id"], unique=False)

    op.create_table(
        "calibration_fruits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("is_repeat", sa.Boolean(), nullable=False),
        sa.Column("consensus", sa.String(length=64), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("decided_by_id", sa.Integer(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reference_job_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["decided_by_id"], ["users.id"], name=op.f("fk_calibration_fruits_decided_by_id")
        ),
        sa.ForeignKeyConstraint(
            ["reference_job_id"], ["jobs.id"], name=op.f("fk_calibration_fruits_reference_job_id")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["calibration_sessions.id"],
            name=op.f("fk_calibration_fruits_session_id"),
        ),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["specimens.id"], name=op.f("fk_calibration_fruits_specimen_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_fruits")),
        sa.UniqueConstraint(
            "session_id", "specimen_id", name=op.f("uq_calibration_fruits_session_id")
        ),
    )
    with op.batch_alter_table("calibration_fruits", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_calibration_fruits_specimen_id"), ["specimen_id"], unique=False
        )

    op.create_table(
        "questions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("grades", sa.JSON(), nullable=False),
        sa.Column("truth", sa.String(length=64), nullable=False),
        sa.Column("shown_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("given", sa.String(length=64), nullable=True),
        sa.Column("certainty", sa.String(length=16), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["round_id"], ["practice_rounds.id"], name=op.f("fk_questions_round_id")
        ),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["specimens.id"], name=op.f("fk_questions_specimen_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_questions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_questions")),
        sa.UniqueConstraint("round_id", "number", name=op.f("uq_questions_round_id")),
    )
    with op.batch_alter_table("questions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_questions_specimen_id"), ["specimen_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_questions_user_id"), ["user_id"], unique=False)

    op.create_table(
        "test_fruits",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("test", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("grade", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["specimens.id"], name=op.f("fk_test_fruits_specimen_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_fruits")),
        sa.UniqueConstraint("specimen_id", name=op.f("uq_test_fruits_specimen_id")),
        sa.UniqueConstraint("test", "number", name=op.f("uq_test_fruits_test")),
    )
    op.create_table(
        "calibration_grades",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fruit_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("grade", sa.String(length=64), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["fruit_id"], ["calibration_fruits.id"], name=op.f("fk_calibration_grades_fruit_id")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_calibration_grades_user_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_grades")),
        sa.UniqueConstraint("fruit_id", "user_id", name=op.f("uq_calibration_grades_fruit_id")),
    )
    with op.batch_alter_table("calibration_grades", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_calibration_grades_user_id"), ["user_id"], unique=False
        )
