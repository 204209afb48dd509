"""Schema `strategy`: the registry of pairs, verdicts of the gate, spreads and signals, and searches for pairs."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from src.shared.domain.pairs import FoundBy, PairMode
from src.shared.domain.signals import SignalAction
from src.shared.infra.database.tables.base import (
    METADATA,
    Moment,
    finite,
    one_of,
    recorded_at,
    registered_pair,
    symbol_check,
    symbol_column,
)

# By what a pair is judged when pairs are looked for, in the order of the steps.
DISCOVERY_NUMBERS = (
    "correlation",
    "t_statistic",
    "p_value",
    "lags",
    "reverse_p_value",
    "p_adjusted",
    "alpha",
    "beta",
    "half_life_bars",
    "mean_abs_z",
    "sharpe",
    "win_rate",
    "max_drawdown",
    "round_trips",
    "net_return",
    "score",
)

_FIT_OF_VERDICT = (
    "gate_id",
    "pair_id",
    "alpha",
    "beta",
    "half_life_bars",
    "z_window_bars",
    "time_stop_bars",
)

# What the gate said of one fit. Append-only: a trigger refuses UPDATE and DELETE. Nobody writes `passed`: it follows
# from the numbers and the bounds beside them.
gate_verdict = Table(
    "gate_verdict",
    METADATA,
    Column("gate_id", Uuid, primary_key=True),
    Column("pair_id", String(21), nullable=False),
    Column("alpha", Double, nullable=False),
    Column("beta", Double, nullable=False),
    Column("half_life_bars", Double, nullable=False),
    Column("z_window_bars", Integer, nullable=False),
    Column("time_stop_bars", Integer, nullable=False),
    Column("correlation", Double, nullable=False),
    # The fit saw the bars up to `fitted_to`, the trial those after it up to `judged_to`.
    Column("fitted_from", Moment, nullable=False),
    Column("fitted_to", Moment, nullable=False),
    Column("judged_to", Moment, nullable=False),
    Column("unseen_bars", Integer, nullable=False),
    Column("unseen_sessions", Integer, nullable=False),
    # What speaks against the fit itself, whatever its trial was like.
    Column("objections", JSONB, nullable=False),
    Column("sharpe", Double, nullable=False),
    Column("win_rate", Double, nullable=False),
    Column("max_drawdown", Double, nullable=False),
    Column("net_return", Double, nullable=False),
    Column("round_trips", Integer, nullable=False),
    Column("least_sharpe", Double, nullable=False),
    Column("least_win_rate", Double, nullable=False),
    Column("most_drawdown", Double, nullable=False),
    Column("least_round_trips", Integer, nullable=False),
    Column("numbers", JSONB, nullable=False),
    Column(
        "passed",
        Boolean,
        Computed(
            "objections = '[]'::jsonb AND sharpe > least_sharpe AND win_rate > least_win_rate"
            " AND max_drawdown < most_drawdown AND round_trips >= least_round_trips",
            persisted=True,
        ),
        nullable=False,
    ),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    recorded_at(),
    finite("alpha", "beta", "half_life_bars", "correlation", "sharpe", "win_rate", "max_drawdown", "net_return"),
    CheckConstraint("fitted_from < fitted_to AND fitted_to < judged_to", name="unseen_part_is_later"),
    CheckConstraint("jsonb_typeof(objections) = 'array'", name="objections_listed"),
    CheckConstraint("win_rate BETWEEN 0 AND 1 AND max_drawdown >= 0 AND round_trips >= 0", name="trial_sane"),
    # No setting opens the gate.
    CheckConstraint(
        "least_sharpe BETWEEN 0 AND 100 AND least_win_rate BETWEEN 0 AND 1"
        " AND most_drawdown BETWEEN 0 AND 0.5 AND least_round_trips BETWEEN 5 AND 1000",
        name="bounds_sane",
    ),
    # What the registry's foreign key points at.
    UniqueConstraint(*_FIT_OF_VERDICT, "passed", name="uq_gate_verdict_fit"),
    schema="strategy",
)

Index("ix_gate_verdict_pair", gate_verdict.c.pair_id, gate_verdict.c.recorded_at)

pair_registry = Table(
    "pair_registry",
    METADATA,
    Column("pair_id", String(21), primary_key=True),
    symbol_column("symbol_1"),
    symbol_column("symbol_2"),
    Column("alpha", Double, nullable=False),
    Column("beta", Double, nullable=False),
    Column("half_life_bars", Double, nullable=False),
    Column("z_window_bars", Integer, nullable=False),
    Column("time_stop_bars", Integer, nullable=False),
    Column("correlation", Double, nullable=False),
    # The bars that were looked at, by the fit and by its trial.
    Column("fitted_from", Moment, nullable=False),
    Column("fitted_to", Moment, nullable=False),
    Column("gate_id", Uuid),
    Column("gate_passed", Boolean, nullable=False, server_default="false"),
    Column("found_by", String(16), nullable=False, server_default="person"),
    Column("mode", String(16), nullable=False),
    # When the mode last changed and when the pair was last demoted, by the database's clock: what was watched, traded
    # or judged before says nothing of it now.
    Column("mode_since", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("demoted_at", Moment),
    # What a closing pair becomes once its trade is over.
    Column("after_closing", String(16)),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("source", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
    recorded_at(),
    symbol_check("symbol_1"),
    symbol_check("symbol_2"),
    CheckConstraint("symbol_1 <> symbol_2", name="two_symbols"),
    CheckConstraint("pair_id = symbol_1 || '/' || symbol_2", name="named_after_legs"),
    CheckConstraint("abs(alpha) < 1e6 AND beta > 0 AND beta < 100", name="fit_sane"),
    CheckConstraint("half_life_bars > 0 AND half_life_bars < 1e4", name="half_life_sane"),
    CheckConstraint("z_window_bars BETWEEN 3 AND 5000 AND time_stop_bars BETWEEN 1 AND 50000", name="windows_sane"),
    CheckConstraint("correlation BETWEEN -1 AND 1", name="correlation_sane"),
    one_of("mode", PairMode),
    one_of("found_by", FoundBy),
    CheckConstraint(
        "after_closing IS NULL OR (mode = 'closing' AND after_closing IN ('observe', 'retired'))",
        name="after_closing_known",
    ),
    # The verdict is one about this pair and this very fit, and `gate_passed` is what it says.
    ForeignKeyConstraint(
        [*_FIT_OF_VERDICT, "gate_passed"],
        [f"strategy.gate_verdict.{column}" for column in (*_FIT_OF_VERDICT, "passed")],
        name="fk_pair_registry_gate_verdict",
    ),
    CheckConstraint("gate_id IS NOT NULL OR NOT gate_passed", name="gate_named"),
    CheckConstraint("mode <> 'active' OR gate_passed", name="active_passed_the_gate"),
    schema="strategy",
)

pair_spread = Table(
    "pair_spread",
    METADATA,
    Column("pair_id", String(21), ForeignKey("strategy.pair_registry.pair_id"), nullable=False),
    Column("slot", Moment, nullable=False),
    Column("price_1", Double, nullable=False),
    Column("price_2", Double, nullable=False),
    Column("spread", Double, nullable=False),
    Column("mean", Double, nullable=False),
    Column("sd", Double, nullable=False),
    Column("z", Double, nullable=False),
    Column("window_bars", Integer, nullable=False),
    recorded_at(),
    PrimaryKeyConstraint("pair_id", "slot"),
    finite("price_1", "price_2", "spread", "mean", "sd", "z"),
    CheckConstraint("price_1 > 0 AND price_2 > 0 AND sd >= 0", name="reading_sane"),
    schema="strategy",
)

# What was decided about a pair in a slot or, where an instance trades symbols, about one of these: then `pair_id` is
# `instance:SYMBOL`, and `pair_mode` the mode of the instance.
pair_signal = Table(
    "pair_signal",
    METADATA,
    Column("signal_id", Uuid, primary_key=True),
    Column("pair_id", String(59), nullable=False),
    Column("instance_id", String(48), ForeignKey("strategy.instance.instance_id")),
    Column("symbol", String(10)),
    registered_pair(),
    Column("slot", Moment, nullable=False),
    Column("action", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("pair_mode", String(16), nullable=False),
    Column("held_bars", Integer),
    Column("numbers", JSONB, nullable=False),
    recorded_at(),
    UniqueConstraint("pair_id", "slot"),
    one_of("action", SignalAction),
    symbol_check(),
    CheckConstraint(
        "(instance_id IS NULL) = (symbol IS NULL)"
        " AND (instance_id IS NULL OR pair_id = instance_id || ':' || symbol)",
        name="named_after_symbol",
    ),
    schema="strategy",
)

Index("ix_pair_signal_slot", pair_signal.c.slot)

# A pair's last stop is asked for in every slot.
Index("ix_pair_signal_stop", pair_signal.c.pair_id, pair_signal.c.slot, postgresql_where="action = 'stop'")

# One search for pairs. `symbols` is the universe that was searched, in the order that `discovery_scan` counts by;
# `excluded` holds those that were looked at and left out, with the reason; `counts` says how many fell at each step.
discovery_run = Table(
    "discovery_run",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    Column("window_start", Moment, nullable=False),
    Column("window_end", Moment, nullable=False),
    Column("symbols", ARRAY(String(10)), nullable=False),
    Column("excluded", JSONB, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    Column("counts", JSONB, nullable=False, server_default="{}"),
    Column("state", String(16), nullable=False),
    Column("who", Text, nullable=False),
    Column("started_at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("finished_at", Moment),
    one_of("state", ["running", "stored", "complete"]),
    CheckConstraint("window_start < window_end", name="window_ordered"),
    CheckConstraint("(state = 'complete') = (finished_at IS NOT NULL)", name="finished_if_complete"),
    schema="strategy",
)

Index("ix_discovery_run_window_end", discovery_run.c.window_end)

# Every pair that was tested, packed: nearly all fall at the correlation or before. The row of the symbol at
# `position` has, for the symbols after it, the correlation, the p-value of the better direction (NaN where there is
# none) and in a byte each the place of the reason in the run's `reasons` (255: it went on to `discovery_result`).
discovery_scan = Table(
    "discovery_scan",
    METADATA,
    Column("run_id", Uuid, ForeignKey("strategy.discovery_run.run_id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    symbol_column(),
    Column("correlations", ARRAY(Double), nullable=False),
    Column("p_values", ARRAY(Double), nullable=False),
    Column("codes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("run_id", "position"),
    symbol_check(),
    schema="strategy",
)

# What became of every pair that passed the correlation: the step it came to, why it fell there, and all that it was
# judged by; what comes after that step is NULL. `symbol_1` is the leg that is regressed.
discovery_result = Table(
    "discovery_result",
    METADATA,
    Column("run_id", Uuid, ForeignKey("strategy.discovery_run.run_id", ondelete="CASCADE"), nullable=False),
    symbol_column("symbol_1"),
    symbol_column("symbol_2"),
    Column("step", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", Text),
    Column("events", Text),
    Column("bars", Integer, nullable=False),
    *(Column(name, Double) for name in DISCOVERY_NUMBERS),
    PrimaryKeyConstraint("run_id", "symbol_1", "symbol_2"),
    symbol_check("symbol_1"),
    symbol_check("symbol_2"),
    CheckConstraint("symbol_1 <> symbol_2", name="two_symbols"),
    one_of("outcome", ["rejected", "candidate", "chosen", "observe", "known", "refused"]),
    schema="strategy",
)

Index("ix_discovery_result_outcome", discovery_result.c.run_id, discovery_result.c.outcome)
