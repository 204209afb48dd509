"""Schema `ops`: the outbox and its consumers, alerts, the audit log, the environment this database belongs to.

Also what was archived and backed up.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from src.shared.infra.database.tables.base import METADATA, Moment, one_of, recorded_at

outbox = Table(
    "outbox",
    METADATA,
    Column("event_id", Uuid, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("aggregate", String(32), nullable=False),
    Column("aggregate_id", Text, nullable=False),
    Column("aggregate_version", Integer, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    recorded_at(),
    Column("payload", JSONB, nullable=False),
    # Given by the one relay as it sees commits: a consumer can page by it, unlike by the order of inserts.
    Column("position", BigInteger, unique=True),
    Column("published_at", Moment),
    UniqueConstraint("aggregate", "aggregate_id", "aggregate_version"),
    schema="ops",
)

Index("ix_outbox_unpublished", outbox.c.recorded_at, postgresql_where="published_at IS NULL")

consumer_position = Table(
    "consumer_position",
    METADATA,
    Column("consumer", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("updated_at", Moment, nullable=False),
    schema="ops",
)

consumed_event = Table(
    "consumed_event",
    METADATA,
    Column("consumer", String(64), nullable=False),
    Column("event_id", Uuid, nullable=False),
    recorded_at(),
    PrimaryKeyConstraint("consumer", "event_id"),
    schema="ops",
)

alert = Table(
    "alert",
    METADATA,
    Column("alert_id", Uuid, primary_key=True),
    Column("severity", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    recorded_at(),
    one_of("severity", ["info", "warning", "error", "critical"]),
    schema="ops",
)

# What goes on from look to look, so that it is told when it begins and not each time it is seen.
alert_condition = Table(
    "alert_condition",
    METADATA,
    Column("scope", String(16), nullable=False),
    Column("about", Text, nullable=False),
    Column("is_so", Boolean, nullable=False),
    Column("times", Integer, nullable=False),
    Column("changed_at", Moment, nullable=False),
    PrimaryKeyConstraint("scope", "about"),
    CheckConstraint("times > 0", name="times_count"),
    schema="ops",
)

# Append-only: a trigger refuses UPDATE and DELETE.
audit_log = Table(
    "audit_log",
    METADATA,
    Column("audit_id", BigInteger, Identity(always=True), primary_key=True),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("numbers", JSONB, nullable=False, server_default="{}"),
    recorded_at(),
    schema="ops",
)

Index("ix_audit_log_what", audit_log.c.what)

environment = Table(
    "environment",
    METADATA,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("environment", String(8), nullable=False),
    Column("account", Text),
    # of the key that last opened the account, never the key itself
    Column("confirmed_key", String(64)),
    recorded_at(),
    CheckConstraint("id = 1", name="one_row"),
    CheckConstraint("confirmed_key ~ '^[0-9a-f]{64}$'", name="key_is_a_digest"),
    one_of("environment", ["twin", "paper", "live"]),
    schema="ops",
)

# A Parquet file that bars of one month went to; it was read back before they left the table.
archive_file = Table(
    "archive_file",
    METADATA,
    # below the archive folder
    Column("file", Text, primary_key=True),
    Column("month", Date, nullable=False),
    Column("vendor", String(16), nullable=False),
    Column("timeframe", String(8), nullable=False),
    Column("part", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("file_sha256", String(64), nullable=False),
    # of the rows themselves, whatever the file's encoding
    Column("content_sha256", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("verified_at", Moment, nullable=False),
    Column("restored_at", Moment),
    UniqueConstraint("month", "vendor", "timeframe", "part"),
    CheckConstraint("rows > 0 AND bytes > 0 AND part > 0", name="holds_rows"),
    schema="ops",
)

# A row without an end belongs to a backup that is being made, or whose process died.
backup_run = Table(
    "backup_run",
    METADATA,
    Column("backup_run_id", Uuid, primary_key=True),
    Column("what", String(16), nullable=False),
    Column("file", Text, nullable=False),
    Column("bytes", BigInteger),
    Column("sha256", String(64)),
    Column("drill", String(8), nullable=False, server_default="not_run"),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("error", Text, nullable=False, server_default=""),
    one_of("what", ["trading", "prefect"]),
    one_of("drill", ["not_run", "passed", "failed"]),
    schema="ops",
)

Index("ix_backup_run_started_at", backup_run.c.started_at)
