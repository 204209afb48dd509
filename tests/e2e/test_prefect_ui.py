"""What a person sees in the Prefect UI after one traded slot, in a real browser."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from src.shared.prefect.table import DeploymentRow, read_table
from src.shared.prefect.work_pools import POOLS
from tests.e2e.conftest import new_prompt

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

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium (Debian: apt install chromium)"),
]


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


@pytest.fixture(scope="module")
def traded() -> Iterator[str]:
    """The address of a Prefect server whose suite has traded one slot."""
    with new_prompt() as prompt:
        try:
            # code 1: after one hour nothing has been closed yet, which a demo does not count as a success
            done = prompt.run("demo", "--keep", "--slots", "1")
            found = re.search(r"Prefect server: (\S+)", done.stdout)
            assert found, done.stdout + done.stderr
            assert "Completed" in done.stdout
            yield found[1]
        finally:
            prompt.run("down", "--now", TRADEWINDS_HOME=str(prompt.home / "demo"))


@pytest.fixture(scope="module")
def ui(traded: str) -> Iterator[Ui]:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as profile, sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=list(SWITCHES), viewport={"width": 1500, "height": 1000}
        )
        browser.set_default_timeout(LONGEST_MILLISECONDS)
        yield Ui(browser.new_page(), traded)
        browser.close()


def test_the_address_that_up_prints_opens_the_interface_these_tests_look_at(ui: Ui) -> None:
    ui.page.goto(ui.base)
    ui.page.wait_for_url(f"{ui.base}/v2/dashboard**")


def test_every_deployment_is_listed_by_its_name(ui: Ui) -> None:
    ui.open("/deployments")
    # The page lists ten at a time.
    for row in _deployments():
        ui.page.get_by_placeholder("Search deployments").fill(row.name)
        ui.shows(row.name)


def test_every_schedule_of_a_deployment_is_shown_with_its_time_zone(ui: Ui) -> None:
    identities = {each["name"]: each["id"] for each in ui.ask("/deployments/filter")}
    for row in _deployments():
        ui.open(f"/deployments/deployment/{identities[row.name]}?tab=Description")
        ui.shows(row.description)
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
    ui.shows("KELV/KYLO: stay_out", "ZORN/ZEMA enter_short: APPROVED")


def test_the_decisions_of_the_slot_are_a_table(ui: Ui) -> None:
    artifact = ui.ask("/artifacts/filter")[0]
    ui.open("/artifacts")
    ui.shows("slot-decisions")
    ui.open(f"/artifacts/artifact/{artifact['id']}")
    ui.shows("Decisions of slot 2025-10-20 14:30 UTC.", "shares 1", "ZORN/ZEMA", "enter_short", "APPROVED")
    row = ui.page.locator("tr", has_text="ZORN/ZEMA")
    cells = row.get_by_role("cell").all_inner_texts()
    assert cells[8:10] == ["-13", "6"]


def _deployments() -> list[DeploymentRow]:
    return read_table().deployments
