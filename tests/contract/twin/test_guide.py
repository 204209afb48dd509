from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from src.services.twin.domain.faults import parse_rules
from src.shared.prefect.config import SOURCE_ROOT
from tests.fakes.twin_server import TwinHandle

GUIDE = (SOURCE_ROOT / "docs" / "twin.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_example_of_a_lying_broker_prints_what_the_guide_says(
    twin: TwinHandle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = (block for block in blocks("python") if "/admin/faults" in block)
    (tmp_path / "example.py").write_text(code.replace("http://127.0.0.1:4100", twin.url))

    runpy.run_path(str(tmp_path / "example.py"))

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(f"`{line}`" in GUIDE for line in lines)


def test_the_rules_in_the_guide_can_be_pasted() -> None:
    (text,) = blocks("toml")

    assert len(parse_rules(tomllib.loads(text)["fault"])) == 2


def test_the_example_of_yfinance_reads_a_company_of_the_twin(
    twin: TwinHandle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yfinance

    (code,) = (block for block in blocks("python") if "yfinance" in block)
    (tmp_path / "example.py").write_text(code.replace("http://127.0.0.1:4100", twin.url))
    yfinance.set_tz_cache_location(str(tmp_path / "cache"))

    runpy.run_path(str(tmp_path / "example.py"))

    assert capsys.readouterr().out.splitlines() == ["Kelvin Grid"]
