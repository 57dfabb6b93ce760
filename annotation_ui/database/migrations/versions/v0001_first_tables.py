"""Makes the first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=True),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("address", sa.String(length=60), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "people",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("preferences", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role in ('annotator', 'reviewer', 'lead')", name=op.f("ck_people_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("name", name=op.f("uq_people_name")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=40), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("ordering", sa.String(length=20), server_default="random", nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("synced", sa.Text(), nullable=True),
        sa.Column("ordered", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("task", name=op.f("uq_projects_task")),
    )
    op.create_table(
        "links",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_links_person_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_links")),
    )
    with op.batch_alter_table("links", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_links_person_id"), ["person_id"], unique=False)

    op.create_table(
        "qualifications",
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("correct", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answered", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_qualifications_person_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_qualifications_project_id")),
        sa.PrimaryKeyConstraint("project_id", "person_id", name=op.f("pk_qualifications")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_sessions_person_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sessions_person_id"), ["person_id"], unique=False)

    op.create_table(
        "shards",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("corpus", sa.String(length=200), nullable=False),
        sa.Column("shard", sa.Text(), nullable=False),
        sa.Column("synced", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_shards_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shards")),
        sa.UniqueConstraint("project_id", "corpus", "shard", name=op.f("uq_shards_project_id_corpus_shard")),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), server_default="image", nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("shard_id", sa.Integer(), nullable=True),
        sa.Column("place", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("unsafe", sa.Float(), nullable=True),
        sa.Column("known", sa.SmallInteger(), nullable=True),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("taken", sa.Integer(), server_default="0", nullable=False),
        sa.Column("voted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("status", sa.String(length=20), server_default="open", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("level", sa.SmallInteger(), nullable=True),
        sa.Column("decide_at", sa.BigInteger(), nullable=True),
        sa.Column("tier", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("shuffle", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "kind = 'gold' or (0 <= voted and voted <= taken and taken <= asked)", name=op.f("ck_items_counts")
        ),
        sa.CheckConstraint(
            "status in ('open', 'closing', 'decided', 'tie', 'safety_review', 'unavailable', 'withdrawn')",
            name=op.f("ck_items_status"),
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_items_project_id")),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name=op.f("fk_items_shard_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
        sa.UniqueConstraint("id", "asked", name=op.f("uq_items_id_asked")),
        sa.UniqueConstraint("project_id", "kind", "key", name=op.f("uq_items_project_id_kind_key")),
    )
    with op.batch_alter_table("items", schema=None) as batch_op:
        batch_op.create_index(
            "ix_items_closing",
            ["decide_at"],
            unique=False,
            sqlite_where=sa.text("status = 'closing'"),
            postgresql_where=sa.text("status = 'closing'"),
        )
        batch_op.create_index(
            "ix_items_fresh",
            ["project_id", "tier", "shuffle"],
            unique=False,
            sqlite_where=sa.text("status = 'open' and kind = 'image' and taken < asked and taken = 0"),
            postgresql_where=sa.text("status = 'open' and kind = 'image' and taken < asked and taken = 0"),
        )
        batch_op.create_index(
            "ix_items_gold",
            ["project_id", "shuffle"],
            unique=False,
            sqlite_where=sa.text("kind = 'gold'"),
            postgresql_where=sa.text("kind = 'gold'"),
        )
        batch_op.create_index("ix_items_kind", ["project_id", "kind", "id"], unique=False)
        batch_op.create_index("ix_items_level", ["project_id", "kind", "level", "id"], unique=False)
        batch_op.create_index(
            "ix_items_started",
            ["project_id", "shuffle"],
            unique=False,
            sqlite_where=sa.text("status = 'open' and kind = 'image' and taken < asked and taken > 0"),
            postgresql_where=sa.text("status = 'open' and kind = 'image' and taken < asked and taken > 0"),
        )
        batch_op.create_index("ix_items_status", ["project_id", "kind", "status", "id"], unique=False)

    op.create_table(
        "decisions",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("request", sa.String(length=64), nullable=True),
        sa.CheckConstraint("level between 1 and 5", name=op.f("ck_decisions_level")),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_decisions_item_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_decisions_person_id")),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("request", name=op.f("uq_decisions_request")),
    )
    op.create_table(
        "slots",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("lease", sa.String(length=40), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'leased') = (expires_at is not null)", name=op.f("ck_slots_lease")),
        sa.CheckConstraint("(state in ('leased', 'voted')) = (slot is not null)", name=op.f("ck_slots_held")),
        sa.CheckConstraint("slot is null or (1 <= slot and slot <= asked)", name=op.f("ck_slots_asked")),
        sa.ForeignKeyConstraint(
            ["item_id", "asked"], ["items.id", "items.asked"], name=op.f("fk_slots_item_id_asked"), onupdate="CASCADE"
        ),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_slots_person_id")),
        sa.PrimaryKeyConstraint("item_id", "person_id", name=op.f("pk_slots")),
        sa.UniqueConstraint("item_id", "slot", name=op.f("uq_slots_item_id_slot")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("slots", schema=None) as batch_op:
        batch_op.create_index(
            "ix_slots_history",
            ["person_id", "changed_at", "item_id"],
            unique=False,
            sqlite_where=sa.text("state <> 'leased'"),
            postgresql_where=sa.text("state <> 'leased'"),
        )
        batch_op.create_index(
            "ix_slots_leases",
            ["expires_at"],
            unique=False,
            sqlite_where=sa.text("state = 'leased'"),
            postgresql_where=sa.text("state = 'leased'"),
        )
        batch_op.create_index(
            "ix_slots_own_leases",
            ["person_id", "changed_at", "item_id"],
            unique=False,
            sqlite_where=sa.text("state = 'leased'"),
            postgresql_where=sa.text("state = 'leased'"),
        )

    op.create_table(
        "votes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("round", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=True),
        sa.Column("answer", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.Column("shown_ms", sa.Integer(), nullable=True),
        sa.Column("decided_ms", sa.Integer(), nullable=True),
        sa.Column("hidden_ms", sa.Integer(), nullable=True),
        sa.Column("device", sa.String(length=20), nullable=True),
        sa.Column("request", sa.String(length=64), nullable=True),
        sa.CheckConstraint("level between 1 and 5", name=op.f("ck_votes_level")),
        sa.ForeignKeyConstraint(
            ["item_id", "person_id"], ["slots.item_id", "slots.person_id"], name=op.f("fk_votes_item_id_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_votes")),
        sa.UniqueConstraint(
            "item_id", "person_id", "round", "revision", name=op.f("uq_votes_item_id_person_id_round_revision")
        ),
        sa.UniqueConstraint("request", name=op.f("uq_votes_request")),
    )
    with op.batch_alter_table("votes", schema=None) as batch_op:
        batch_op.create_index("ix_votes_person", ["person_id", "id"], unique=False)
