"""Lists of fruits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "watched_files",
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("fruit_id", sa.Integer(), nullable=True),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["fruit_id"], ["fruits.id"], name=op.f("fk_watched_files_fruit_id")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_watched_files")),
    )
    with op.batch_alter_table("fruits", schema=None) as batch_op:
        batch_op.add_column(sa.Column("grade", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("reliability", sa.Double(), nullable=True))
        batch_op.add_column(sa.Column("verdict", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("expert_grade", sa.String(length=64), nullable=True))
        batch_op.create_index("fruits_by_expert_grade", ["expert_grade", "id"], unique=False)
        batch_op.create_index("fruits_by_grade", ["grade", "id"], unique=False)
        batch_op.create_index("fruits_by_reliability", ["reliability"], unique=False)
        batch_op.create_index("fruits_by_verdict", ["verdict", "id"], unique=False)

    with op.batch_alter_table("gradings", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("likenesses", sa.Integer(), server_default="0", nullable=False)
        )
        batch_op.create_index(
            "gradings_by_run", ["run_id", "fruit_id", "id", "grade", "likenesses"], unique=False
        )

    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("light", sa.JSON(), nullable=True))

    _fill()


def _fill() -> None:
    """What the new columns repeat, from the gradings and verdicts that there are."""
    connection = op.get_bind()
    gradings = sa.table(
        "gradings", sa.column("id"), sa.column("result", sa.JSON), sa.column("likenesses")
    )
    for key, result in connection.execute(sa.select(gradings.c.id, gradings.c.result)).all():
        connection.execute(
            gradings.update()
            .where(gradings.c.id == key)
            .values(likenesses=len(result.get("resembles", [])))
        )
    newest = "SELECT max(id) FROM gradings WHERE fruit_id = fruits.id"
    current = (
        "FROM verdicts AS v WHERE NOT EXISTS (SELECT 1 FROM verdicts AS later "
        "WHERE later.grading_id = v.grading_id AND later.user_id = v.user_id "
        "AND later.revision > v.revision) AND v.grading_id"
    )
    all_of_them = "SELECT id FROM gradings WHERE fruit_id = fruits.id"
    for column, source in (
        ("grade", f"SELECT grade FROM gradings WHERE id = ({newest})"),
        ("reliability", f"SELECT reliability FROM gradings WHERE id = ({newest})"),
        (
            "verdict",
            f"SELECT answer {current} = ({newest}) AND answer IS NOT NULL ORDER BY id DESC LIMIT 1",
        ),
        (
            "expert_grade",
            f"SELECT coalesce(own_grade, blind_grade) {current} IN ({all_of_them}) "
            "AND (own_grade IS NOT NULL OR blind_grade IS NOT NULL) ORDER BY id DESC LIMIT 1",
        ),
    ):
        connection.execute(sa.text(f"UPDATE fruits SET {column} = ({source})"))
