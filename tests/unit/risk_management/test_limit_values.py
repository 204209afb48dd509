"""Limits as values: bounds, contradictions, the order of precedence, and what a decision keeps of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.config.settings import RiskSettings, load_settings
from src.services.risk_management.use_cases.limits import LIMIT_CHANGED, LIMITS_SEEDED, LimitBook
from src.shared.domain.errors import InputInvalid, SettingsInvalid
from src.shared.domain.risk_limits import LIMIT_BOUNDS, NOT_ABOVE, check_together
from src.shared.domain.signals import SignalAction
from src.shared.messages.risk import RiskLimitChanged
from tests.fakes.risk_store import FakeRiskRepository, FakeRiskStore
from tests.unit.risk_management.examples import NOW, SEED, signal
from tests.unit.risk_management.test_review_slot import review, service, store

SEEDED = len(LIMIT_BOUNDS)


def book(seed: dict[str, Decimal] | None = None) -> LimitBook:
    return LimitBook(FakeRiskStore(FakeRiskRepository()), seed or SEED)


def kept(limits: LimitBook) -> FakeRiskRepository:
    assert isinstance(limits.store, FakeRiskStore)
    return limits.store.repo


def test_every_limit_has_a_setting_that_seeds_it_and_the_defaults_agree() -> None:
    assert list(RiskSettings.model_fields) == list(LIMIT_BOUNDS)
    check_together(load_settings().risk.limits())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_gross_fraction", "1.25", "1.25"),
        ("max_gross_fraction", "125 %", "1.25"),
        ("max_daily_loss_fraction", "2.5%", "0.025"),
        ("max_open_pairs", "12", "12"),
        ("trading_enabled", "off", "0"),
        ("trading_enabled", "TRUE", "1"),
    ],
)
def test_a_value_is_read_as_people_write_it(name: str, text: str, value: str) -> None:
    assert LIMIT_BOUNDS[name].parse(text) == Decimal(value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("max_gross_fraction", "nan", "must be 0.001 to 4"),
        ("max_gross_fraction", "inf", "must be 0.001 to 4"),
        ("max_gross_fraction", "-1", "must be 0.001 to 4"),
        ("max_gross_fraction", "1e9", "must be 0.001 to 4"),
        ("max_gross_fraction", "0", "must be 0.001 to 4"),
        ("max_gross_fraction", "lots", "no value of max_gross_fraction"),
        ("max_gross_fraction", "", "no value of max_gross_fraction"),
        ("max_gross_fraction", "0.1234567891", "9 decimal places"),
        ("max_open_pairs", "2.5", "no whole number"),
        ("max_open_pairs", "5%", "no value of max_open_pairs"),
        ("trading_enabled", "maybe", "on or off"),
        ("max_gros_fraction", "1", "did you mean max_gross_fraction"),
        ("zzz", "1", "`tradewinds risk show` lists them"),
        ("max_net_fraction", "2", "must not be above max_gross_fraction"),
        ("max_daily_loss_fraction", "0.2", "must not be above max_rolling_loss_fraction"),
        ("max_orders_per_day", "10", "max_orders_per_minute"),
        ("kelly_min_trades", "101", "kelly_lookback_trades"),
    ],
)
def test_a_value_that_can_not_be_is_one_line_and_the_last_good_one_stays(name: str, text: str, says: str) -> None:
    limits = book()
    before = limits.settle()

    with pytest.raises(InputInvalid, match=says) as caught:
        limits.set(name, text, "ann", "a try", NOW)

    assert "\n" not in str(caught.value)
    assert limits.settle() == before
    assert kept(limits).told == []


@pytest.mark.parametrize(("small", "large"), NOT_ABOVE)
def test_each_contradiction_is_refused(small: str, large: str) -> None:
    above = {**SEED, small: SEED[large] + (1 if LIMIT_BOUNDS[small].is_whole else Decimal("0.001"))}

    with pytest.raises(InputInvalid, match="must not be above"):
        check_together({name: above[name] for name in LIMIT_BOUNDS})


@given(st.sampled_from(list(LIMIT_BOUNDS)), st.decimals(allow_nan=True, allow_infinity=True))
def test_no_value_outside_its_bounds_ever_gets_in_force(name: str, value: Decimal) -> None:
    limits = book()
    with suppress(InputInvalid):
        limits.set(name, str(value), "ann", "a try", NOW)

    check_together(limits.settle().values)


def test_the_settings_seed_once_and_rows_rule_afterwards() -> None:
    limits = book()
    first = limits.settle()
    limits.set("max_open_pairs", "3", "ann", "calm down", NOW)

    later = replace(limits, seed={**SEED, "max_open_pairs": Decimal(7)})

    assert first["max_open_pairs"] == 10
    assert later.settle()["max_open_pairs"] == 3
    assert later.differing() == {"max_open_pairs": (Decimal(7), Decimal(3))}
    assert [note.what for note in kept(limits).notes] == [LIMITS_SEEDED, LIMIT_CHANGED]


def test_a_change_is_a_new_row_audited_and_told() -> None:
    limits = book()

    before, after = limits.set("max_gross_fraction", "120%", "ann", "less of it", NOW)

    assert (before.value, before.who, before.version) == (Decimal("1.5"), "settings", 1)
    assert (after.value, after.who, after.why, after.version) == (Decimal("1.2"), "ann", "less of it", 2)
    (event,) = kept(limits).told
    assert isinstance(event, RiskLimitChanged)
    assert (event.aggregate_id, event.aggregate_version, event.value_after) == (
        "max_gross_fraction",
        2,
        Decimal("1.2"),
    )
    assert [row.value for row in limits.history("max_gross_fraction")] == [Decimal("1.5"), Decimal("1.2")]


def test_the_value_in_force_set_again_changes_nothing() -> None:
    limits = book()

    before, after = limits.set("max_open_pairs", "10", "ann", "again", NOW)

    assert before == after
    assert len(kept(limits).limits) == SEEDED


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("ann", " "), ("settings", "x"), ("risk", "x")])
def test_a_limit_needs_a_person_and_a_reason(who: str, why: str) -> None:
    with pytest.raises(InputInvalid):
        book().set("max_open_pairs", "3", who, why, NOW)


def test_contradictory_settings_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWINDS_RISK_MAX_GROSS_FRACTION", "0.2")

    with pytest.raises(SettingsInvalid, match=r"max_symbol_fraction .* must not be above max_gross_fraction"):
        load_settings()


def test_a_change_counts_in_the_next_review_and_the_decision_says_so() -> None:
    risk = service(signal())
    LimitBook(risk.store, SEED).set("max_gross_fraction", "1", "ann", "less", NOW)
    LimitBook(risk.store, SEED).set("trading_enabled", "off", "ann", "a holiday", NOW)

    (decision,) = review(risk).decisions

    assert decision.code == "TRADING_DISABLED"
    limits = decision.numbers["limits"]
    assert isinstance(limits, dict)
    assert (limits["revision"], limits["max_gross_fraction"], limits["trading_enabled"]) == (SEEDED + 2, "1", "0")
    assert len(store(risk).repo.limits) == SEEDED + 2


def test_a_contradiction_in_what_is_seeded_keeps_no_exit_back() -> None:
    sound = service(signal(), signal("CCC/DDD", SignalAction.EXIT))
    risk = replace(sound, seed={**SEED, "max_net_fraction": Decimal(3)})

    with pytest.raises(InputInvalid, match="max_net_fraction"):
        review(risk)

    assert [(d.pair_id, d.approved) for d in store(risk).repo.stored] == [("CCC/DDD", True)]
