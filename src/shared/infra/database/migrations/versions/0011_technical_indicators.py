"""Technical indicators of bars, the sets they were worked out by, and the newest row of each series."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SCHEMA = "analytics"
_MOMENT = sa.DateTime(timezone=True)
_SERIES = "symbol, timeframe, vendor, adjustment"
_COLUMNS = (
    "sma_short", "sma_medium", "sma_long", "ema_short", "ema_long", "rsi", "macd", "macd_signal", "macd_histogram",
    "bollinger_upper", "bollinger_middle", "bollinger_lower", "atr", "obv", "simple_return", "log_return",
    "realised_volatility",
)  # fmt: skip

# From one series to the next along the primary key, instead of through every row to find the newest.
_LATEST = f"""
CREATE VIEW analytics.latest_indicators AS
WITH RECURSIVE series AS (
    (SELECT {_SERIES} FROM analytics.technical_indicators ORDER BY {_SERIES} LIMIT 1)
    UNION ALL
    SELECT following.* FROM series AS s CROSS JOIN LATERAL (
        SELECT {_SERIES} FROM analytics.technical_indicators
        WHERE ({_SERIES}) > (s.symbol, s.timeframe, s.vendor, s.adjustment)
        ORDER BY {_SERIES} LIMIT 1
    ) AS following
)
SELECT newest.* FROM series AS s CROSS JOIN LATERAL (
    SELECT * FROM analytics.technical_indicators AS t
    WHERE t.symbol = s.symbol AND t.timeframe = s.timeframe AND t.vendor = s.vendor AND t.adjustment = s.adjustment
    ORDER BY t.bar_end DESC LIMIT 1
) AS newest
"""  # noqa: S608


def upgrade() -> None:
    """Create two tables and the view. Grants are renewed after every migration."""
    op.create_table(
        "indicator_set",
        sa.Column("set_id", sa.String(12), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("indicators", sa.dialects.postgresql.JSONB(), nullable=False),
        sa.Column("recorded_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("set_id", name=op.f("pk_indicator_set")),
        schema=_SCHEMA,
    )
    listed = ", ".join(_COLUMNS)
    op.create_table(
        "technical_indicators",
        sa.Column("symbol", sa.String(10), nullable=False),
        sa.Column("timeframe", sa.String(8), nullable=False),
        sa.Column("bar_end", _MOMENT, nullable=False),
        sa.Column("vendor", sa.String(16), nullable=False),
        sa.Column("adjustment", sa.String(8), nullable=False),
        sa.Column("set_id", sa.String(12), nullable=False),
        sa.Column("bar_recorded_at", _MOMENT, nullable=False),
        *(sa.Column(name, sa.Double()) for name in _COLUMNS),
        sa.PrimaryKeyConstraint(
            "symbol", "timeframe", "vendor", "adjustment", "bar_end", name=op.f("pk_technical_indicators")
        ),
        sa.CheckConstraint("symbol ~ '^[A-Z][A-Z0-9.]{0,9}$'", name=op.f("ck_technical_indicators_symbol_is_symbol")),
        sa.CheckConstraint(
            f"greatest({listed}) < 1e18 AND least({listed}) > -1e18",
            name=op.f("ck_technical_indicators_numbers_finite"),
        ),
        schema=_SCHEMA,
    )
    op.execute(_LATEST)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP VIEW analytics.latest_indicators")
    op.drop_table("technical_indicators", schema=_SCHEMA)
    op.drop_table("indicator_set", schema=_SCHEMA)
