"""A bounded run of the simulation; `make chaos` runs a long one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from src.services.execution.adapters.sql_trades import SqlTradeStore
from src.services.execution.domain import two_leg
from src.shared.domain.orders import FillReport, OrderIntent, OrderReport
from src.shared.domain.pairs import PairTradeState
from src.shared.infra.alpaca.client import AlpacaClient
from tests.simulation.run import run_seed, simulation_server
from tests.simulation.world import World

SEEDS = range(1, 9)
REGRESSIONS: tuple[int, ...] = (40_023,)
"""Seeds that failed once, each of a defect that is mended."""

Plant = Callable[[pytest.MonkeyPatch], None]

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with simulation_server() as server:
        made = World(server)
        yield made
        made.close()


@pytest.mark.parametrize("seed", [*SEEDS, *REGRESSIONS])
def test_everything_holds_after_whatever_happens(world: World, seed: int) -> None:
    assert run_seed(world, seed).failure is None


def test_a_seed_makes_the_same_operations_and_requests_in_another_process(world: World) -> None:
    here = run_seed(world, 3, steps=12)
    command = [sys.executable, "-m", "tests.simulation.run", "--first", "3", "--steps", "12", "--trace"]
    there = subprocess.run(
        command, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True, timeout=300
    )

    assert here.requests > 20
    assert f"seed 3: all holds (trace {here.digest})" in there.stdout


def another_name_for_the_second_try(patch: pytest.MonkeyPatch) -> None:
    real, tried = AlpacaClient.submit_market_order, set()

    def submit(
        self: AlpacaClient, client_order_id: str, symbol: str, quantity: Decimal, **options: bool
    ) -> OrderReport:
        name = f"{client_order_id}x" if client_order_id in tried else client_order_id
        tried.add(client_order_id)
        return real(self, name, symbol, quantity, **options)

    patch.setattr(AlpacaClient, "submit_market_order", submit)


def every_execution_is_booked_twice(patch: pytest.MonkeyPatch) -> None:
    real = SqlTradeStore.book

    def book(self: SqlTradeStore, intent: OrderIntent, report: FillReport, epoch: int) -> bool:
        real(self, intent, replace(report, activity_id=f"{report.activity_id}x"), epoch)
        return real(self, intent, report, epoch)

    patch.setattr(SqlTradeStore, "book", book)


def nothing_is_unwound(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(two_leg._BY_STATE, PairTradeState.UNWINDING, lambda *_: two_leg.Rest())


@pytest.mark.parametrize(
    "plant", [another_name_for_the_second_try, every_execution_is_booked_twice, nothing_is_unwound]
)
def test_a_planted_defect_is_found_within_a_few_seeds(
    world: World, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)

    assert any(run_seed(world, seed, steps=20).failure for seed in range(1, 11))
