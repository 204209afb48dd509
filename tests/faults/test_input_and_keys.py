"""What people and vendors must not be able to do by what they write: rows 44 to 46 and 48."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
import yaml
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, text

from src.config.settings import load_settings
from src.services.execution.domain.reconciliation import Blocks, Kind
from src.shared.domain.errors import InputInvalid, Refused, SettingsInvalid
from src.shared.domain.ids import parse_pair_id, parse_symbol
from src.shared.domain.risk_limits import LIMIT_BOUNDS
from src.shared.infra.database.tables import limit_change, pair_registry
from src.shared.infra.database.tables.base import METADATA
from src.shared.infra.logging import configure_logging
from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.tasks.wiring import services
from tests.fakes.desk import FIRST, NEXT_OPEN, PAIR, SLOT, Installation
from tests.fakes.pairs import registered_pair
from tests.faults.scene import ELSEWHERE, ENTER, EXIT, ORDERS, Scene
from tests.faults.scene import PAIR as SCENE_PAIR
from tests.faults.scene import A as HELD_A
from tests.faults.scene import B as HELD_B
from tests.polling import eventually


def _requests(desk: Installation) -> int:
    """Count what has reached the broker since the first call."""
    faults = desk.twin.admin.faults()
    if not faults:
        desk.twin.admin.fault(kind="latency", endpoint="*", seconds=0)
        return 0
    return int(faults[0]["matched"])


def _rewire(desk: Installation) -> None:
    """Do as a new process does: wire the services anew."""
    desk.services.engine.dispose()
    services.cache_clear()


# Poison

NOT_A_NUMBER = ["nan", "NaN", "inf", "-inf", "1e999", "", " ", "two", "0x10", "1,5", "--1", "None"]
POISON = {
    "TRADEWINDS_STRATEGY_ENTRY_Z": ["0", "-2", "nan", "inf", "9"],
    "TRADEWINDS_STRATEGY_EXIT_Z": ["0", "nan", "2.5"],
    "TRADEWINDS_STRATEGY_STOP_Z": ["0", "inf", "1"],
    "TRADEWINDS_STRATEGY_HISTORY_BARS": ["0", "-1", "1e9", "nan"],
    "TRADEWINDS_RISK_KELLY_MAX_FRACTION": ["-0.1", "nan", "1.5", "1e9"],
    "TRADEWINDS_RISK_BOOTSTRAP_FRACTION": ["-0.02", "inf"],
    "TRADEWINDS_RISK_MAX_GROSS_FRACTION": ["0", "-1", "1e9", "nan"],
    "TRADEWINDS_RISK_MAX_OPEN_PAIRS": ["0", "-5", "1.5"],
    "TRADEWINDS_EXECUTION_UNKNOWN_LOOKUPS": ["0", "2", "-3"],
    "TRADEWINDS_EXECUTION_LEG_TOLERANCE": ["-0.1", "2", "nan"],
    "TRADEWINDS_ALPACA_REQUESTS_PER_MINUTE": ["0", "-1", "1e9"],
}


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name in POISON for value in POISON[name]])
def test_fault_44_a_poisoned_setting_is_refused_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsInvalid) as refused:
        load_settings()

    component = variable.split("_")[1]
    assert f"TRADEWINDS_{component}_" in str(refused.value)
    assert "\n" not in str(refused.value)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(list(LIMIT_BOUNDS)), value=st.floats() | st.text(max_size=12))
@example(name="max_leg_fraction", value="snan%")
@example(name="max_leg_fraction", value="1e1000005%")
@example(name="max_leg_fraction", value="snan")
@example(name="max_open_pairs", value="1e1000005")
def test_fault_44_whatever_is_written_for_a_limit_it_is_refused_in_one_line_or_within_its_bounds(
    name: str, value: float | str
) -> None:
    bounds = LIMIT_BOUNDS[name]

    try:
        read = bounds.parse(str(value))
    except InputInvalid as refused:
        assert name in str(refused)
    else:
        assert read.is_finite()
        assert bounds.least <= read <= bounds.most


def test_fault_44_a_poisoned_limit_leaves_the_last_good_one_in_force(desk: Installation) -> None:
    assert desk.tradewinds("risk", "set", "max_gross_fraction", "1.2", "--why", "less").code == 0

    for value in ("1e9", "0", "-1", "NaN", "inf", "lots", "1.2; DROP TABLE risk.limit_change", "0.0000000001"):
        said = desk.tradewinds("risk", "set", "max_gross_fraction", "--why", "more", "--", value)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1

    (line,) = (each for each in _json(desk, "risk", "show") if each["name"] == "max_gross_fraction")
    assert Decimal(line["value"]) == Decimal("1.2")


@pytest.mark.parametrize(
    ("name", "value"),
    [("kelly_max_fraction", "-0.1"), ("max_gross_fraction", "1e9"), ("max_gross_fraction", "NaN"), ("entry_z", "0")],
)
def test_fault_44_the_database_refuses_a_limit_that_comes_past_the_command(
    scene: Scene, name: str, value: str
) -> None:
    row = {"name": name, "value": Decimal(value), "who": "ann", "why": "past the command", "version": 9}

    with pytest.raises(sqlalchemy.exc.IntegrityError), scene.engine.begin() as connection:
        connection.execute(insert(limit_change).values(**row))


@pytest.mark.parametrize(
    "poison",
    [
        {"symbol_2": "ABC", "pair_id": "ABC/ABC"},
        {"pair_id": "ABC/XYZ"},
        {"beta": float("nan")},
        {"beta": -1.0},
        {"half_life_bars": 0.0},
        {"z_window_bars": 0},
        {"symbol_1": "A'; DROP", "pair_id": "A'; DROP/DEF"},
        {"mode": "yolo"},
    ],
)
def test_fault_44_the_database_refuses_a_pair_that_makes_no_sense(scene: Scene, poison: dict[str, Any]) -> None:
    row = {**registered_pair("ABC/DEF", NEXT_OPEN), "mode": "observe", **poison}

    with pytest.raises((sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError)), scene.engine.begin() as connection:
        connection.execute(insert(pair_registry).values(**row))


# Injection

NASTY = [
    "../orders",
    "..%2Forders",
    "A'; DROP TABLE ops.outbox; --",
    "<script>alert(1)</script>",
    "A B",
    "A\nB",
    "A\x00B",
    "[red]A",
    "${HOME}",
    "A?x=1",
]
TEXT = "it's <script>alert(1)</script> [red] [/bold]'); DROP TABLE ops.audit_log; -- ../orders"


@given(st.text(max_size=20))
def test_fault_45_what_passes_for_a_symbol_can_be_put_into_an_address_and_a_page(name: str) -> None:
    try:
        symbol = parse_symbol(name)
    except InputInvalid:
        return
    assert re.fullmatch(r"[A-Z][A-Z0-9.]{0,9}", symbol, re.ASCII)


@pytest.mark.parametrize("nasty", NASTY)
def test_fault_45_an_injection_in_a_symbol_never_reaches_the_broker(scene: Scene, nasty: str) -> None:
    every = scene.lie("latency", endpoint="*", seconds=0)
    ingestion = services_of(scene).fetch_bars

    for refused in (
        lambda: scene.broker.submit_market_order("tw-twin-1", nasty, Decimal(1)),
        lambda: scene.broker.cancel_order(nasty),
        lambda: scene.broker.assets([nasty]),
        lambda: scene.broker.bars([nasty], scene.slot, scene.slot),
        lambda: ingestion([nasty, "SPY"], scene.slot, 20),
        lambda: parse_pair_id(f"{nasty}/SPY"),
    ):
        with pytest.raises(InputInvalid):
            refused()

    assert scene.times_told(every) == 0


def services_of(scene: Scene) -> Any:
    from src.services.data_ingestion.bootstrap import build

    return build(load_settings(), scene.engine, scene.broker)


def test_fault_45_an_injection_in_a_name_is_refused_in_one_line_and_no_order_is_sent(desk: Installation) -> None:
    desk.open_trade()
    before, tables = desk.orders(), _counts(desk.services.engine)
    assert _requests(desk) == 0

    # No shell passes a zero byte.
    for nasty in (each for each in NASTY if "\x00" not in each):
        for words in (
            ("pairs", "add", f"{nasty}/{FIRST}"),
            ("close", nasty, "--why", "x"),
            ("close", f"{nasty}/{FIRST}", "--why", "x"),
            ("orders", nasty),
            ("risk", "set", nasty, "1", "--why", "x"),
            ("risk", "show", "--history", nasty),
            ("halt", nasty, "--why", "x"),
        ):
            said = desk.tradewinds(*words)
            assert (said.code, said.err.count("\n")) == (2, 1), (words, said)
            assert "Traceback" not in said.err

    assert _requests(desk) == 0
    assert desk.orders() == before
    assert _counts(desk.services.engine) == tables


def test_fault_45_a_reason_is_kept_and_shown_as_the_text_it_is(desk: Installation) -> None:
    desk.open_trade()

    assert desk.tradewinds("risk", "set", "max_open_pairs", "7", "--why", TEXT, "--who", TEXT).code == 0
    assert desk.tradewinds("close", PAIR, "--why", TEXT, "--who", TEXT).code == 0

    assert (TEXT, TEXT) in [(who, why) for who, _, _, why in desk.audits()]
    shown = "".join(desk.tradewinds("trades", PAIR, "--why").out.split())
    assert "".join(TEXT.split()) in shown
    (line,) = (each for each in _json(desk, "risk", "show") if each["name"] == "max_open_pairs")
    assert (line["who"], line["why"]) == (TEXT, TEXT)


# Secrets

KEY, SECRET, PASSWORD = "PKCANARY9CANARY9CANR", "c4n4ry/s3cret+1", "p4ss-c4n4ry"
CANARIES = (KEY, SECRET, PASSWORD)


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_ALPACA_ENVIRONMENT", "twin")
    monkeypatch.setenv("TRADEWINDS_ALPACA_API_KEY", KEY)
    monkeypatch.setenv("TRADEWINDS_ALPACA_SECRET_KEY", SECRET)
    monkeypatch.setenv("TRADEWINDS_REDIS_URL", f"redis://:{PASSWORD}@127.0.0.1:1/0")


def test_fault_46_a_broker_that_says_our_keys_aloud_puts_them_nowhere(
    canaries: None, desk: Installation, tmp_path: Path
) -> None:
    configure_logging(load_settings(), "cli")
    desk.open_trade()
    aloud = f"not with {KEY} and {SECRET}"
    said = [desk.tradewinds(*words) for words in (("doctor",), ("doctor", "--json"), ("positions",))]

    desk.twin.admin.fault(kind="reject", endpoint=ORDERS, message=aloud)
    desk.twin.admin.fault(kind="extra", endpoint="GET /v2/positions", set={"qty": aloud})
    desk.move_to(NEXT_OPEN)
    said.append(desk.tradewinds("close", PAIR, "--why", "enough"))
    said.append(desk.tradewinds("reconcile", "--explain"))
    desk.twin.admin.clear_faults()
    desk.twin.admin.fault(kind="status", endpoint="*", status=401, message=aloud)
    said += [desk.tradewinds(*words) for words in (("reconcile",), ("doctor",), ("positions",), ("status",))]
    desk.twin.admin.clear_faults()
    said += [desk.tradewinds(*words) for words in (("orders", "--all"), ("trades", PAIR, "--why"), ("verify",))]

    printed = "".join(each.out + each.err for each in said)
    logged = "".join(file.read_text() for file in (tmp_path / "logs").glob("*.jsonl"))
    kept = _rows(desk.services.engine)
    assert [c for c in CANARIES for place in (printed, logged, kept) if c in place] == []
    # All three were there to be read: the refusal, the alert and the row that could not be read.
    assert "not with ***" in kept
    assert "not with ***" in logged
    assert "execution.quarantine" in kept


def test_fault_46_no_flow_takes_a_secret_as_a_parameter() -> None:
    listed = yaml.safe_load((SOURCE_ROOT / "prefect.yaml").read_text())["deployments"]
    named = [name for each in listed for name in each.get("parameters") or {}]
    taken = [
        name
        for file in (SOURCE_ROOT / "src/shared/prefect/flows").rglob("*_flow.py")
        for name in re.findall(r"^\s*(?:async )?def \w+\(([^)]*)\)", file.read_text(), re.MULTILINE)
    ]

    assert taken
    assert [name for name in [*named, *taken] if re.search(r"key|secret|password|token|url", name, re.I)] == []


# Keys and switches

UNTOLD: list[dict[str, Any]] = [
    {"kind": "extra", "set": {"last_equity": None}},
    {"kind": "extra", "null": ["equity", "cash", "buying_power"], "remove": ["shorting_enabled"]},
    {"kind": "status", "status": 500},
]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"ENVIRONMENT": "paper", "API_KEY": "AK" + "X" * 18}, "does not begin with PK"),
        ({"ENVIRONMENT": "live", "API_KEY": "PK" + "X" * 18, "LIVE_ARMED": "trade-real-money"}, "begin with AK"),
        ({"ENVIRONMENT": "live", "API_KEY": "AK" + "X" * 18, "LIVE_ARMED": "trade-real-money"}, "BASE_URL names"),
        ({"ENVIRONMENT": "live", "API_KEY": "AK" + "X" * 18, "BASE_URL": "https://api.alpaca.markets"}, "not armed"),
        ({"ENVIRONMENT": "paper", "API_KEY": "PK" + "X" * 18}, "belongs to 'twin'"),
    ],
)
def test_fault_48_keys_address_and_database_that_disagree_start_nothing(
    desk: Installation, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    desk.open_trade()
    assert _requests(desk) == 0
    _rewire(desk)
    for name, value in {"SECRET_KEY": "s3cret-s3cret", **environment}.items():
        monkeypatch.setenv(f"TRADEWINDS_ALPACA_{name}", value)

    for command in (("reconcile",), ("close", PAIR, "--why", "x"), ("pairs", "add", PAIR)):
        said = desk.tradewinds(*command)
        assert (said.code, said.err.count("\n")) == (2, 1), said
        assert words in said.err

    assert _requests(desk) == 0


def test_fault_48_keys_that_are_revoked_between_slots_are_told_and_the_exit_comes_when_they_are_back(
    scene: Scene,
) -> None:
    scene.open_pair()
    scene.approve(EXIT)
    sent = scene.posts
    scene.lie("status", endpoint="*", status=401, message="unauthorized.")

    with pytest.raises(Refused):
        scene.run()

    assert scene.posts == sent
    assert ("critical", "the broker refuses us") in scene.alerts()
    scene.comes_to_rest(["closed"], {})


def test_fault_48_keys_that_are_revoked_between_the_legs_leave_no_leg_alone(scene: Scene) -> None:
    scene.lie("status", endpoint=ORDERS, status=401, message="unauthorized.", nth=2)

    scene.enter()

    assert scene.states() == ["unwound"]
    scene.comes_to_rest(["unwound"], {})


def test_fault_48_a_blocked_account_takes_no_entry_and_says_so(scene: Scene) -> None:
    scene.open_pair()
    scene.approve(EXIT)
    scene.approve(ENTER, ELSEWHERE)
    scene.lie("extra", endpoint="GET /v2/account", set={"trading_blocked": True})

    scene.run()

    assert (scene.state_of(SCENE_PAIR), scene.state_of(ELSEWHERE)) == ("closed", "abandoned")
    assert ("critical", "the broker does not let the account trade") in scene.alerts()
    scene.comes_to_rest(["closed", "abandoned"], {})


@pytest.mark.parametrize("lie", UNTOLD, ids=["money", "money and flags", "nothing"])
def test_fault_48_an_account_that_can_not_be_read_takes_no_entry_and_keeps_no_exit(
    desk: Installation, lie: dict[str, Any]
) -> None:
    """Each run begins with a look whose account the keys open."""
    desk.open_trade()
    _rewire(desk)
    desk.twin.admin.fault(endpoint="GET /v2/account", times=99, **lie)
    slot = SLOT + timedelta(hours=1)
    desk.move_to(slot + timedelta(seconds=5))
    desk.approve(EXIT, slot)

    gate = desk.services.execution.cycle.open_gate()
    desk.services.execution.cycle.execute_slot(gate)
    desk.move_to(slot + timedelta(minutes=1))
    gate = desk.services.execution.cycle.open_gate()

    assert (Kind.ACCOUNT, Blocks.ALL_ENTRIES) in {(each.kind, each.blocks) for each in gate.findings}
    assert desk.states() == ["closed"]
    assert desk.held() == {}


@pytest.mark.parametrize("rests", [False, True], ids=["the order fills", "the order rests and is cancelled"])
def test_fault_48_a_halt_while_an_order_is_on_its_way_sends_nothing_further_and_lets_cancels_pass(
    scene: Scene, rests: bool
) -> None:
    scene.approve(ENTER)
    scene.lie("latency", endpoint=ORDERS, seconds=1.0, first=1)
    if rests:
        scene.lie("no_fill", endpoint=ORDERS, first=1)
    gate = scene.service.cycle.open_gate()
    trading = threading.Thread(target=scene.service.cycle.execute_slot, args=(gate,))
    trading.start()
    eventually(lambda: scene.posts == 1)
    _set_risk(scene, "halted")
    trading.join(60)

    assert not trading.is_alive()
    assert scene.posts == 1
    assert scene.states() == (["abandoned"] if rests else ["unwinding"])
    assert scene.held == ({} if rests else {HELD_B: -4})
    assert [status for _, _, status in scene.orders] == (["canceled"] if rests else ["filled"])
    if not rests:
        assert ("critical", "halted with a leg that is not hedged") in scene.alerts()

    _set_risk(scene, "active")
    scene.comes_to_rest(["abandoned" if rests else "unwound"], {})
    assert HELD_A not in {symbol for symbol, _, _ in scene.orders}


def _set_risk(scene: Scene, state: str) -> None:
    with scene.engine.begin() as connection:
        connection.execute(text("UPDATE risk.risk_state SET state = :state"), {"state": state})


def _json(desk: Installation, *words: str) -> Any:
    said = desk.tradewinds(*words, "--json")
    assert said.code == 0, said
    return json.loads(said.out)


def _counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            name: int(connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())  # noqa: S608
            for name in sorted(METADATA.tables)
        }


def _rows(engine: Engine) -> str:
    """Write every row of every table as text."""
    with engine.connect() as connection:
        return "\n".join(
            f"{name} {row[0]}"
            for name in sorted(METADATA.tables)
            for row in connection.execute(text(f"SELECT t::text FROM {name} t"))  # noqa: S608
        )
