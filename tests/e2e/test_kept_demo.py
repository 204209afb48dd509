"""A demo that is kept after one traded slot: what a person sees in a real browser, and a slot that is run again."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from src.shared.prefect.table import DeploymentRow, read_table
from src.shared.prefect.work_pools import POOLS
from tests.e2e.conftest import Prompt, new_prompt

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LONGEST_MILLISECONDS = 60_000

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Ui:
    """A page in the browser, on the UI of a server; pages are named by their path."""

    page: Any
    base: str

    def open(self, path: str) -> None:
        self.page.goto(f"{self.base}/v2{path}")

    def shows(self, *texts: str) -> None:
        for text in texts:
            self.page.get_by_text(text).first.wait_for(state="visible")

    def ask(self, path: str, **body: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = httpx.post(f"{self.base}/api{path}", json=body).raise_for_status().json()
        return answer


@dataclass(frozen=True)
class KeptDemo:
    """A suite that runs on after its demo: the addresses it printed."""

    prompt: Prompt
    prefect: str
    twin: str

    def run_a_slot(self) -> subprocess.CompletedProcess[str]:
        return self.prompt.run(
            "run",
            "intraday-pairs-trading",
            TRADEWINDS_HOME=str(self.prompt.home / "demo"),
            TRADEWINDS_ALPACA_ENVIRONMENT="twin",
            TRADEWINDS_PREFECT_PORT=self.prefect.rsplit(":", 1)[1],
            TRADEWINDS_TWIN_PORT=self.twin.rsplit(":", 1)[1],
        )

    def orders(self) -> list[str]:
        state = httpx.get(f"{self.twin}/admin/state").raise_for_status().json()
        return [order["client_order_id"] for order in state["orders"]]


@pytest.fixture(scope="module")
def kept() -> Iterator[KeptDemo]:
    with new_prompt() as prompt:
        # code 1: after one hour nothing has been closed yet, which a demo does not count as a success
        done = prompt.run("demo", "--keep", "--slots", "1")
        prefect = re.search(r"Prefect server: (\S+)", done.stdout)
        twin = re.search(r"Twin of the vendors: (\S+)", done.stdout)
        assert done.returncode == 1 and prefect and twin, done.stdout + done.stderr
        assert "Completed" in done.stdout
        yield KeptDemo(prompt, prefect[1], twin[1])


@pytest.fixture(scope="module")
def ui(kept: KeptDemo) -> Iterator[Ui]:
    if not CHROMIUM.exists():
        pytest.skip("needs /usr/bin/chromium (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=list(SWITCHES), viewport={"width": 1500, "height": 1000}
        )
        browser.set_default_timeout(LONGEST_MILLISECONDS)
        yield Ui(browser.new_page(), kept.prefect)
        browser.close()


def test_the_address_that_up_prints_opens_the_interface_these_tests_look_at(ui: Ui) -> None:
    ui.page.goto(ui.base)
    ui.page.wait_for_url(f"{ui.base}/v2/dashboard**")


def test_every_deployment_is_listed_and_each_schedule_of_it_is_shown_with_its_time_zone(ui: Ui) -> None:
    ui.open("/deployments")
    ui.shows(f"{len(_deployments())} Deployments")
    known = {each["name"]: each for each in ui.ask("/deployments/filter")}
    for row in _deployments():
        told = known[row.name]
        schedules = [(each["slug"], *_cron(each["schedule"])) for each in told["schedules"]]
        assert told["description"].startswith(row.description)
        assert sorted(schedules) == sorted((each.slug, each.cron, each.timezone) for each in row.schedules)
    for row in _one_of_each_pool():
        ui.open(f"/deployments/deployment/{known[row.name]['id']}?tab=Description")
        ui.shows(row.name, row.description)
        for schedule in row.schedules:
            line = f"{schedule.slug}: {schedule.cron} in {schedule.timezone}"
            ui.page.get_by_role("listitem").filter(has_text=line).first.wait_for(state="visible")


def test_each_service_has_its_work_pool(ui: Ui) -> None:
    ui.open("/work-pools")
    ui.shows(*POOLS)


def test_a_run_is_in_the_history_and_its_log_holds_our_own_lines(ui: Ui) -> None:
    run = ui.ask("/flow_runs/filter")[0]
    ui.open("/runs")
    ui.shows(run["name"], "Completed")
    ui.open(f"/runs/flow-run/{run['id']}?tab=Logs")
    ui.shows("KELV/KYLO: stay_out")
    # The page holds only the lines that it shows; the rest of them comes when somebody scrolls.
    lines = ui.ask("/logs/filter", logs={"flow_run_id": {"any_": [run["id"]]}})
    assert any(line["message"].startswith("ZORN/ZEMA enter_short: APPROVED") for line in lines)


def test_the_decisions_of_the_slot_are_a_table(ui: Ui) -> None:
    artifact = ui.ask("/artifacts/filter")[0]
    ui.open("/artifacts")
    ui.shows("slot-decisions")
    ui.open(f"/artifacts/artifact/{artifact['id']}")
    ui.shows("Decisions of slot 2025-10-20 14:30 UTC.", "shares 1", "ZORN/ZEMA", "enter_short", "APPROVED")
    row = ui.page.locator("tr", has_text="ZORN/ZEMA")
    cells = row.get_by_role("cell").all_inner_texts()
    assert cells[8:10] == ["-13", "6"]


def test_one_slot_run_three_times_two_of_them_at_once_trades_once(kept: KeptDemo) -> None:
    before = kept.orders()
    assert len(before) > 0

    done = _twice_at_once(kept)

    assert all("ALREADY_DONE" in each.stdout for each in done)
    assert kept.orders() == before

    # A fresh slot, the first of the next day with an entry, asked for twice at the same moment.
    httpx.post(f"{kept.twin}/admin/clock", json={"now": "2025-10-21T14:30:05Z"}).raise_for_status()
    _twice_at_once(kept)

    after = kept.orders()
    assert len(after) > len(before)
    assert max(Counter(after).values()) == 1
    trades = Counter(name.rsplit("-", 1)[0] for name in after)
    assert max(trades.values()) == 1


def _twice_at_once(kept: KeptDemo) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(2) as pool:
        done = [each.result() for each in [pool.submit(kept.run_a_slot) for _ in range(2)]]
    assert [each.returncode for each in done] == [0, 0], [each.stdout + each.stderr for each in done]
    return done


def _cron(schedule: dict[str, str]) -> tuple[str, str]:
    return schedule["cron"], schedule["timezone"]


def _one_of_each_pool() -> list[DeploymentRow]:
    """Pick the one with the most schedules."""
    ordered = sorted(_deployments(), key=lambda row: len(row.schedules))
    return list({row.work_pool.name: row for row in ordered}.values())


def _deployments() -> list[DeploymentRow]:
    return read_table().deployments
