from __future__ import annotations

import ast
from pathlib import Path

import pytest
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

from src.shared.prefect.config import SOURCE_ROOT
from src.shared.prefect.table import DeploymentRow, read_table

FLOWS = SOURCE_ROOT / "src" / "shared" / "prefect" / "flows"
FLOW_FILES = sorted(FLOWS.rglob("*_flow.py"))
FOREIGN = ("src.services", "pandas", "numpy", "sqlalchemy", "redis")


def imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "."}
    return names


def is_flow(node: ast.stmt) -> bool:
    if not isinstance(node, ast.AsyncFunctionDef):
        return False
    calls = [each.func for each in node.decorator_list if isinstance(each, ast.Call)]
    return [each.id for each in calls if isinstance(each, ast.Name)] == ["flow"]


@pytest.mark.parametrize("row", read_table().deployments, ids=lambda row: row.name)
def test_every_entrypoint_loads_the_way_a_worker_loads_it(
    row: DeploymentRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SOURCE_ROOT)

    flow: Flow[..., object] = load_flow_from_entrypoint(row.entrypoint, use_placeholder_flow=False)

    assert flow.isasync, "a synchronous flow costs a second at its end"
    assert flow.description
    if is_complete(flow, row):
        flow.validate_parameters(row.parameters)


def is_complete(flow: Flow[..., object], row: DeploymentRow) -> bool:
    """Say whether a run needs no word of a person; one that does has no schedule."""
    required = set(flow.parameters.required or [])
    assert required <= set(row.parameters) or not row.schedules, "a scheduled run has no one to ask"
    return required <= set(row.parameters)


def test_there_are_flows() -> None:
    assert FLOW_FILES


@pytest.mark.parametrize("path", FLOW_FILES, ids=lambda path: path.stem)
def test_a_flow_file_defines_flows_only(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    rest = [node for node in body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]

    assert rest
    assert [ast.unparse(node) for node in rest if not is_flow(node)] == []


@pytest.mark.parametrize("path", FLOW_FILES, ids=lambda path: path.stem)
def test_a_flow_file_imports_tasks_and_no_service_or_driver(path: Path) -> None:
    names = imported(ast.parse(path.read_text()))

    assert [name for name in names if name.startswith(FOREIGN)] == []


@pytest.mark.parametrize("path", FLOW_FILES, ids=lambda path: path.stem)
def test_a_flow_is_defined_the_way_ours_are(path: Path) -> None:
    assert "src.shared.prefect.definition" in imported(ast.parse(path.read_text()))


def test_only_flows_are_kept_beside_flows() -> None:
    others = {path for path in FLOWS.rglob("*.py") if path not in FLOW_FILES and path.name != "__init__.py"}

    assert others == set()


def test_scripts_for_prefect_are_no_package() -> None:
    assert not (SOURCE_ROOT / "scripts" / "prefect" / "__init__.py").exists()


def test_prefect_is_prefect() -> None:
    import prefect

    assert SOURCE_ROOT / "src" not in Path(prefect.__file__).parents
    assert SOURCE_ROOT / "scripts" not in Path(prefect.__file__).parents
