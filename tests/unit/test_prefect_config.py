from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from src.config.settings import Settings, load_settings
from src.shared.prefect.config import adopt, client_environment, server_environment


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    monkeypatch.setenv("TRADEWINDS_HOME", str(tmp_path))
    monkeypatch.setenv("TRADEWINDS_ENV_FILE", str(tmp_path / "none"))
    return load_settings()


def test_nothing_leaves_the_machine_unasked(settings: Settings) -> None:
    variables = server_environment(settings, "postgresql+asyncpg://x/y")

    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["DO_NOT_TRACK"] == "1"
    assert variables["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] == "false"
    assert variables["PREFECT_SERVER_API_HOST"] == "127.0.0.1"


def test_state_stays_in_the_state_folder(settings: Settings, tmp_path: Path) -> None:
    assert client_environment(settings)["PREFECT_HOME"] == str(tmp_path / "prefect")


def test_a_client_outlives_a_database_that_is_away(settings: Settings) -> None:
    variables = client_environment(settings)

    assert variables["PREFECT_CLIENT_RETRY_EXTRA_CODES"] == "500,502,504"
    assert int(variables["PREFECT_CLIENT_MAX_RETRIES"]) >= 12


def test_a_client_never_starts_a_server_of_its_own(settings: Settings) -> None:
    assert client_environment(settings)["PREFECT_SERVER_EPHEMERAL_ENABLED"] == "false"


def test_prefect_knows_every_variable(settings: Settings) -> None:
    import prefect.settings

    names = [name for name in server_environment(settings, "x") if name.startswith("PREFECT_")]

    assert names
    for name in names:
        assert hasattr(prefect.settings, name), name


def test_prefect_takes_every_value(settings: Settings) -> None:
    import prefect.settings

    variables = server_environment(settings, "postgresql+asyncpg://u:p@h/d")
    values = {
        getattr(prefect.settings, name): value for name, value in variables.items() if name.startswith("PREFECT_")
    }
    with prefect.settings.temporary_settings(values) as taken:
        assert taken.client.retry_extra_codes == {500, 502, 504}
        assert taken.worker.query_seconds == settings.orchestrator.worker_query_seconds
        assert taken.server.ephemeral.enabled is False


def test_what_a_person_set_for_prefect_is_kept_but_not_another_server(settings: Settings) -> None:
    environment = {"PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_API_URL": "http://elsewhere/api"}

    adopt(client_environment(settings), environment)

    assert environment["PREFECT_LOGGING_LEVEL"] == "ERROR"
    assert environment["PREFECT_API_URL"] == settings.prefect_api_url


def test_the_browser_is_told_the_address_that_people_use(settings: Settings) -> None:
    behind = settings.orchestrator.model_copy(update={"api_url": "https://prefect.example/api"})
    public = replace(settings, orchestrator=behind)

    assert server_environment(public, "x")["PREFECT_SERVER_UI_API_URL"] == "https://prefect.example/api"
    assert server_environment(settings, "x")["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4200/api"
