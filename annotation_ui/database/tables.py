"""Defines the tables. Their constraints alone forbid one vote too many, and two votes of one person on one item.

A person who is to vote on an item holds one of its slots, numbered from 1 to the number of votes asked: first under a
lease, then by the vote. So votes and leases together are never more than what is asked. A gold item, whose level is
known, asks everyone: its slots are numbered by the person.

Times are milliseconds since 1970, UTC.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Identity = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in INTEGER columns

Json = JSON(none_as_null=True)  # nothing is stored as SQL's null, not as the JSON text "null"

GOLD_ASKED = 2**31 - 1
"""Votes asked on a gold item: everyone's."""

# Roles of people.
ANNOTATOR, REVIEWER, LEAD = "annotator", "reviewer", "lead"
ROLES = (ANNOTATOR, REVIEWER, LEAD)

# Kinds of items.
IMAGE, GOLD = "image", "gold"

# Statuses of items. An item with all its votes is `closing` for a minute, in which a vote may still be changed.
OPEN, CLOSING, DECIDED, TIE, SAFETY_REVIEW = "open", "closing", "decided", "tie", "safety_review"
UNAVAILABLE, WITHDRAWN = "unavailable", "withdrawn"
STATUSES = (OPEN, CLOSING, DECIDED, TIE, SAFETY_REVIEW, UNAVAILABLE, WITHDRAWN)

# States of a person's part in an item. Only the first two hold a slot.
LEASED, VOTED, SKIPPED, RETURNED, RETRACTED = "leased", "voted", "skipped", "returned", "retracted"

projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task", String(40), nullable=False, unique=True),  # the name of a declaration in annotation_ui/tasks
    Column("asked", Integer, nullable=False),  # votes on each item
    Column("ordering", String(20), nullable=False, server_default="random"),
    Column("paused", Boolean, nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
    Column("synced", Text),  # state of the files of votes that are all here
    Column("ordered", Text),  # order and predictions by which the items' tiers were set
)

people = Table(
    "people",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("password_hash", Text),
    Column("preferences", JSON, nullable=False, default=dict),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    CheckConstraint(f"role in {ROLES}", name="role"),
)

links = Table(
    "links",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("person_id", ForeignKey(people.c.id), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("person_id", ForeignKey(people.c.id), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

shards = Table(
    "shards",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey(projects.c.id), nullable=False),
    Column("corpus", String(200), nullable=False),
    Column("shard", Text, nullable=False),
    Column("synced", Text),  # fingerprint of the selection whose images are all here
    UniqueConstraint("project_id", "corpus", "shard"),
)

items = Table(
    "items",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("project_id", ForeignKey(projects.c.id), nullable=False),
    Column("kind", String(10), nullable=False, server_default=IMAGE),
    Column("key", Text, nullable=False),  # the image's key; of a rating, the number of the group
    Column("shard_id", ForeignKey(shards.c.id)),
    Column("place", Json),  # of the image in the raw shard, as `Source.image` takes it, with width and height
    Column("content", Json),  # what the task shows beside the image
    Column("unsafe", Float),  # the signal, 0 to 1
    Column("known", SmallInteger),  # the level of a gold item
    Column("asked", Integer, nullable=False),
    Column("taken", Integer, nullable=False, server_default="0"),  # slots held, by a lease or a vote
    Column("voted", Integer, nullable=False, server_default="0"),  # slots held by a vote
    Column("status", String(20), nullable=False, server_default=OPEN),
    Column("reason", Text),  # why it is unavailable
    Column("level", SmallInteger),  # once decided
    Column("decide_at", BigInteger),  # when its votes can no longer be changed
    Column("tier", SmallInteger, nullable=False, server_default="0"),  # 0 is asked first
    Column("shuffle", Integer, nullable=False),  # a random number, 0 to 2^31 - 1
    UniqueConstraint("project_id", "kind", "key"),
    UniqueConstraint("id", "asked"),
    CheckConstraint(f"status in {STATUSES}", name="status"),
    CheckConstraint("kind = 'gold' or (0 <= voted and voted <= taken and taken <= asked)", name="counts"),
)
_NEEDED = "status = 'open' and kind = 'image' and taken < asked"
for _name, _columns, _where in (
    ("ix_items_fresh", ("project_id", "tier", "shuffle"), f"{_NEEDED} and taken = 0"),
    ("ix_items_started", ("project_id", "shuffle"), f"{_NEEDED} and taken > 0"),
    ("ix_items_gold", ("project_id", "shuffle"), "kind = 'gold'"),
    ("ix_items_closing", ("decide_at",), "status = 'closing'"),
):
    Index(_name, *(items.c[c] for c in _columns), sqlite_where=text(_where), postgresql_where=text(_where))
Index("ix_items_kind", items.c.project_id, items.c.kind, items.c.id)
Index("ix_items_status", items.c.project_id, items.c.kind, items.c.status, items.c.id)
Index("ix_items_level", items.c.project_id, items.c.kind, items.c.level, items.c.id)

slots = Table(
    "slots",
    metadata,
    Column("item_id", Identity, nullable=False, primary_key=True),
    Column("person_id", ForeignKey(people.c.id), nullable=False, primary_key=True),
    Column("slot", Integer),
    Column("asked", Integer, nullable=False),  # that of the item, by which the slot's number is checked
    Column("state", String(10), nullable=False),
    Column("lease", String(40), nullable=False),
    Column("expires_at", BigInteger),
    Column("changed_at", BigInteger, nullable=False),
    Column("level", SmallInteger),  # of the vote that stands
    Column("reason", Text),  # why it was skipped
    UniqueConstraint("item_id", "slot"),
    ForeignKeyConstraint(["item_id", "asked"], ["items.id", "items.asked"], onupdate="CASCADE"),
    CheckConstraint("slot is null or (1 <= slot and slot <= asked)", name="asked"),
    CheckConstraint(f"(state in ('{LEASED}', '{VOTED}')) = (slot is not null)", name="held"),
    CheckConstraint(f"(state = '{LEASED}') = (expires_at is not null)", name="lease"),
    sqlite_with_rowid=False,
)
# None of them fits for two of these questions: SQLite would else walk a person's history to find a few leases.
for _name, _columns, _where in (
    ("ix_slots_leases", ("expires_at",), "state = 'leased'"),
    ("ix_slots_own_leases", ("person_id", "changed_at", "item_id"), "state = 'leased'"),
    ("ix_slots_history", ("person_id", "changed_at", "item_id"), "state <> 'leased'"),
):
    Index(_name, *(slots.c[c] for c in _columns), sqlite_where=text(_where), postgresql_where=text(_where))

votes = Table(
    "votes",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("item_id", Identity, nullable=False),
    Column("person_id", Integer, nullable=False),
    Column("round", SmallInteger, nullable=False, server_default="1"),
    Column("revision", Integer, nullable=False),
    Column("level", SmallInteger),  # null in a withdrawal, and in tasks that ask no level
    Column("answer", Json),  # of tasks that ask more than a level
    Column("at", BigInteger),
    Column("shown_ms", Integer),
    Column("decided_ms", Integer),
    Column("hidden_ms", Integer),
    Column("device", String(20)),
    Column("request", String(64), unique=True),  # the key by which a repeated request is known
    UniqueConstraint("item_id", "person_id", "round", "revision"),
    ForeignKeyConstraint(["item_id", "person_id"], ["slots.item_id", "slots.person_id"]),
    CheckConstraint("level between 1 and 5", name="level"),
)
Index("ix_votes_person", votes.c.person_id, votes.c.id)

decisions = Table(
    "decisions",
    metadata,
    Column("item_id", ForeignKey(items.c.id), primary_key=True),
    Column("level", SmallInteger, nullable=False),
    Column("kind", String(20), nullable=False),  # adjudication, safety_review or gold
    Column("person_id", ForeignKey(people.c.id), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", Text),
    Column("request", String(64), unique=True),
    CheckConstraint("level between 1 and 5", name="level"),
)

qualifications = Table(
    "qualifications",
    metadata,
    Column("project_id", ForeignKey(projects.c.id), primary_key=True),
    Column("person_id", ForeignKey(people.c.id), primary_key=True),
    Column("state", String(10), nullable=False),  # testing, passed or failed
    Column("correct", Integer, nullable=False, server_default="0"),
    Column("answered", Integer, nullable=False, server_default="0"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("person_id", Integer),
    Column("action", String(40), nullable=False),
    Column("detail", Json),
    Column("address", String(60)),
)
