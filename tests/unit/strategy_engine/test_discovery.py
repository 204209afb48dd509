"""The search for pairs, without a database: in walks, in the twin's market, and where a pair was planted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from src.config.settings import load_settings
from src.services.strategy_engine.bootstrap import discovery_rules
from src.services.strategy_engine.domain import discovery
from src.services.strategy_engine.domain.discovery import (
    CompanyEvent,
    DiscoveryRules,
    Findings,
    Outcome,
    TriedPair,
    choose,
    scan_parts,
    search_id,
    sift_parts,
    try_pairs,
)
from src.services.strategy_engine.domain.gate import try_fit
from src.services.strategy_engine.domain.scan.engle_granger import all_pairs, scan_pairs
from src.services.strategy_engine.domain.universe import Universe, choose_universe
from src.shared.domain.bars import CloseSeries, Floats
from src.shared.domain.sessions import TradingCalendar
from tests.fakes.markets import TRUE_PAIRS, TWIN_SYMBOLS, names, twin_closes, walks

CALENDAR = TradingCalendar()
UNTIL = datetime(2025, 3, 3, 21, tzinfo=UTC)
SESSIONS = CALENDAR.sessions(date(2024, 6, 25), UNTIL.date())
ENDS = tuple(end for session in SESSIONS for _, end in session.bar_spans())
DAYS = [session.day for session in SESSIONS for _ in session.bar_spans()]
STATED_RATE = 0.05


@pytest.fixture(scope="module")
def rules() -> DiscoveryRules:
    return discovery_rules(load_settings().strategy)


def universe(symbols: tuple[str, ...], closes: Floats) -> Universe:
    return choose_universe(CloseSeries(symbols, ENDS, closes), DAYS, 60)


def searched(rules: DiscoveryRules, among: Universe) -> Findings:
    parts = [part.scan() for part in scan_parts(among, rules)]
    funnel = sift_parts(among, rules, parts)
    tried = choose(try_pairs(among, rules, funnel, CALENDAR), set(), [], rules.observe)
    return Findings(among.symbols, len(among.series.ends), funnel, tuple(tried))


def legs(pair: TriedPair) -> frozenset[str]:
    return frozenset((pair.symbol_1, pair.symbol_2))


def test_the_pairs_of_the_twin_are_found_and_no_other(rules: DiscoveryRules) -> None:
    findings = searched(rules, universe(TWIN_SYMBOLS, twin_closes(ENDS)))

    found = [legs(pair) for pair in findings.tried if pair.passed]
    assert set(found) <= TRUE_PAIRS
    assert len(found) >= 4
    assert {pair.outcome for pair in findings.tried if pair.passed} == {Outcome.CHOSEN}


def test_of_walks_that_have_no_pair_at_most_the_stated_rate_of_searches_would_watch_one(
    rules: DiscoveryRules,
) -> None:
    searches = 60
    found = [searched(rules, universe(names(25), walks(seed, 25, len(ENDS)))) for seed in range(searches)]

    # Their returns go together, so that the tests and the gate have to tell them apart.
    assert sum(step.came for each in found for step in each.tallies() if step.step == "cointegration") > 10_000
    assert sum(any(pair.passed for pair in each.tried) for each in found) <= STATED_RATE * searches
    assert any(each.tried for each in found)


def test_a_planted_pair_is_found_nearly_always(rules: DiscoveryRules) -> None:
    searches, found = 20, 0
    for seed in range(searches):
        closes = walks(1000 + seed, 12, len(ENDS))
        spread, pull = np.zeros(len(ENDS)), np.random.default_rng(seed).normal(0, 0.003, len(ENDS))
        for i in range(1, len(ENDS)):
            spread[i] = 0.92 * spread[i - 1] + pull[i]
        closes[:, 3] = 1.4 * closes[:, 8] ** 0.9 * np.exp(spread)
        tried = searched(rules, universe(names(12), closes)).tried
        found += any(pair.passed and legs(pair) == {"W0003", "W0008"} for pair in tried)

    assert found >= 0.8 * searches


def test_the_choice_and_the_fit_never_see_the_bars_that_the_gate_judges_on(rules: DiscoveryRules) -> None:
    closes = twin_closes(ENDS)
    first = rules.gate.first_unseen(len(ENDS))
    changed = closes.copy()
    changed[first:] = closes[first:] * np.exp(np.random.default_rng(1).normal(0, 0.01, closes[first:].shape))

    before, after = (searched(rules, universe(TWIN_SYMBOLS, each)) for each in (closes, changed))

    np.testing.assert_array_equal(before.funnel.scan.p_value, after.funnel.scan.p_value)
    assert [pair.id for pair in before.tried] == [pair.id for pair in after.tried]
    assert [pair.tried.fit for pair in before.tried if pair.tried] == [p.tried.fit for p in after.tried if p.tried]
    assert [pair.reason for pair in before.tried] != [pair.reason for pair in after.tried]


def test_parts_together_say_what_one_scan_of_everything_says(
    rules: DiscoveryRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "_SYMBOLS_OF_A_PART", 3)
    among = universe(names(8), walks(5, 8, len(ENDS)))

    parts = scan_parts(among, rules)
    funnel = sift_parts(among, rules, [part.scan() for part in parts])

    logs = among.filled_logs()[: rules.gate.first_unseen(len(ENDS))]
    whole = scan_pairs(logs, all_pairs(8), rules.lags)
    place = {pair: i for i, pair in enumerate(map(tuple, whole.legs.T.tolist()))}
    order = [place[pair] for pair in map(tuple, funnel.scan.legs.T.tolist())]
    assert len(parts) == 6 and sorted(order) == list(range(28))
    np.testing.assert_allclose(funnel.scan.p_value, whole.p_value[:, order], rtol=1e-9, atol=1e-12)


def test_what_is_tried_at_the_gate_is_what_the_registry_would_hold(rules: DiscoveryRules) -> None:
    among = universe(TWIN_SYMBOLS, twin_closes(ENDS))
    best = next(pair for pair in searched(rules, among).tried if pair.passed)
    series = CloseSeries(
        (best.symbol_1, best.symbol_2),
        among.series.ends,
        np.column_stack(among.series.pair(best.symbol_1, best.symbol_2)),
    )

    assert best.tried == try_fit(series, rules.funnel.fit, rules.gate, rules.thresholds, CALENDAR)


def test_the_best_are_chosen_a_known_pair_takes_its_place_and_events_are_flagged(rules: DiscoveryRules) -> None:
    passed = [pair for pair in searched(rules, universe(TWIN_SYMBOLS, twin_closes(ENDS))).tried if pair.passed]
    failed = replace(passed[0], reason="Sharpe too low")
    event = CompanyEvent(passed[1].symbol_2, "ex-dividend", date(2025, 3, 7))

    chosen = choose([failed, *passed[:3]], {legs(passed[0])}, [event], 2)

    assert [each.outcome for each in chosen] == [Outcome.REJECTED, Outcome.KNOWN, Outcome.CHOSEN, Outcome.CANDIDATE]
    assert [each.events for each in chosen] == [(), (), (event,), ()]


def test_the_same_bars_symbols_and_rules_are_the_same_search_and_anything_else_is_another(
    rules: DiscoveryRules,
) -> None:
    among, fewer = (universe(names(n), walks(5, n, len(ENDS))) for n in (4, 3))
    same = search_id(ENDS[0], ENDS[-1], among, rules)

    assert search_id(ENDS[0], ENDS[-1], among, replace(rules)) == same
    others = {
        search_id(ENDS[0], ENDS[-1], fewer, rules),
        search_id(ENDS[0], ENDS[-2], among, rules),
        search_id(ENDS[0], ENDS[-1], among, replace(rules, observe=3)),
        search_id(ENDS[0], ENDS[-1], among, replace(rules, gate=replace(rules.gate, share=0.5))),
    }
    assert len(others) == 4 and same not in others
