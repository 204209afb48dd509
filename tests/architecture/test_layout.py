"""The tree is the architecture: what may stand where, and what every piece of it has."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.shared.prefect.config import SOURCE_ROOT

SOURCES = SOURCE_ROOT / "src"
TESTS = SOURCE_ROOT / "tests"
SERVICES = sorted(each for each in (SOURCES / "services").iterdir() if (each / "__init__.py").is_file())
MODULES = sorted(path for path in SOURCES.rglob("*.py") if path.name != "__init__.py")

USUAL = {
    "__init__.py",
    "README.md",
    "main.py",
    "bootstrap.py",
    "adapters",
    "use_cases",
    "use_cases.py",
    "ports.py",
    "domain",
}
BESIDES = {
    # It is a vendor's web API: what it hears is HTTP.
    "twin": {"api"},
    # The long-running processes among the services.
    "notification": {"serve.py"},
    "execution": {"listen.py"},
    # No service of trading but the face of the suite: it decides nothing and stores nothing of its own.
    "cli": {
        "commands",
        "demo",
        "children.py",
        "desk.py",
        "diagnosis.py",
        "env_example.py",
        "externals.py",
        "lifecycle.py",
        "limit_table.py",
        "options.py",
        "pair_cards.py",
        "pair_fits.py",
        "state.py",
    },
}
DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common"}
README_LINES = 80
README_SAYS = {
    "what it hears and says": ("hears", "says"),
    "invariants": ("invariants",),
    "what happens when something is away": ("is away",),
    "pitfalls": ("pitfalls",),
}

# Every module in one process: no settings, no home, no network, and a home and working folder that stay empty.
IMPORT_ALL = """
import importlib, socket, sys
def refuse(*_, **__):
    raise AssertionError("something connects at import")
for name in ("connect", "connect_ex", "bind", "listen", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def names_in(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir() if each.name != "__pycache__"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE_ROOT).with_suffix("").parts)


def importable() -> list[str]:
    # Alembic runs env.py itself, with a context that exists only then.
    return [module_name(path) for path in MODULES if path.parent.name != "migrations"]


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Name what is public in a module and has no docstring; the inside of a function is nobody's business."""
    waiting: list[tuple[str, ast.stmt]] = [("", node) for node in tree.body]
    while waiting:
        prefix, node = waiting.pop()
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not is_overload(node):
            yield f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            waiting += [(f"{node.name}.", each) for each in node.body]


def decorators(node: ast.stmt) -> set[str]:
    return {ast.unparse(each) for each in getattr(node, "decorator_list", [])}


def is_overload(node: ast.stmt) -> bool:
    return "overload" in decorators(node)


def packages_below(root: Path) -> list[Path]:
    return sorted({path.parent for path in root.rglob("*.py")})


def contract(name: str) -> set[str]:
    content = tomllib.loads((SOURCE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = content["tool"]["importlinter"]["contracts"]
    return set(next(each["source_modules"] for each in contracts if each["name"].startswith(name)))


def test_there_are_services_and_modules() -> None:
    assert {"execution", "twin", "cli"} <= {each.name for each in SERVICES}
    assert len(MODULES) > 100


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_holds_the_usual_names_and_no_other(service: Path) -> None:
    assert names_in(service) - USUAL - BESIDES.get(service.name, set()) == set()


def test_what_is_allowed_besides_exists() -> None:
    services = SOURCES / "services"

    assert [f"{name}/{each}" for name, more in BESIDES.items() for each in more - names_in(services / name)] == []


@pytest.mark.parametrize("root", [SOURCES, TESTS], ids=["src", "tests"])
def test_there_is_no_drawer_for_whatever(root: Path) -> None:
    names = [*root.rglob("*.py"), *(each for each in root.rglob("*") if each.is_dir())]

    assert [str(each) for each in names if each.stem in DRAWERS] == []


@pytest.mark.parametrize("root", [SOURCES, TESTS], ids=["src", "tests"])
def test_every_folder_with_code_is_a_package_up_to_the_root(root: Path) -> None:
    folders = {each for folder in packages_below(root) for each in (folder, *folder.parents) if root in each.parents}

    assert [str(each) for each in sorted(folders | {root}) if not (each / "__init__.py").is_file()] == []


def test_packages_are_empty_but_for_the_list_of_tables() -> None:
    filled = [path for root in (SOURCES, TESTS) for path in root.rglob("__init__.py") if path.read_text().strip()]

    assert [path.relative_to(SOURCES).as_posix() for path in filled] == ["shared/infra/database/tables/__init__.py"]


def test_nothing_at_an_import_root_hides_an_installed_package() -> None:
    scripts = SOURCE_ROOT / "scripts" / "prefect"
    roots = [SOURCE_ROOT, scripts]
    ours = {path.stem for root in roots for path in root.glob("*.py")}
    ours |= {path.name for path in SOURCE_ROOT.iterdir() if (path / "__init__.py").is_file()}
    installed = importlib.metadata.packages_distributions()
    foreign = {name for name, whose in installed.items() if "tradewinds" not in whose} | sys.stdlib_module_names

    assert ours >= {"src", "tests", "deploy_flows"}
    assert ours & set(foreign) == set()


def test_no_folder_of_tests_is_called_prefect() -> None:
    assert [str(each) for each in TESTS.rglob("prefect") if each.is_dir()] == []


def test_every_import_of_our_own_is_absolute() -> None:
    trees = [
        (path, ast.walk(ast.parse(path.read_text()))) for root in (SOURCES, TESTS) for path in root.rglob("*.py")
    ]

    assert [
        f"{path}:{node.lineno}"
        for path, nodes in trees
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ] == []


def test_importing_connects_to_nothing_reads_no_settings_and_writes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # A value that no component takes: whoever reads settings at import fails.
    poison = {"TRADEWINDS_REDIS_PORT": "no port", "TRADEWINDS_LOG_LEVEL": "LOUD"}
    needed = {name: value for name, value in os.environ.items() if name in {"PATH", "LD_LIBRARY_PATH", "LANG"}}

    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_ALL, str(SOURCE_ROOT), *importable()],
        cwd=home,
        env={**needed, **poison, "HOME": str(home), "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert names_in(home) == set()


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_has_a_short_note_that_says_the_four_things(service: Path) -> None:
    text = (service / "README.md").read_text(encoding="utf-8")

    assert text.startswith("# ")
    assert len(text.splitlines()) <= README_LINES
    missing = [what for what, words in README_SAYS.items() if not all(word in text.lower() for word in words)]
    assert missing == []


def test_everything_public_has_a_docstring() -> None:
    missing = [
        f"{path.relative_to(SOURCE_ROOT)}: {name}"
        for path in MODULES
        for name in undocumented(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert missing == []


@pytest.mark.parametrize(
    ("kind", "packages"),
    [
        ("Domain and messages do no I/O", "services/*/domain"),
        ("Use cases and ports see no driver", "services/*/use_cases*"),
        ("Use cases and ports see no driver", "services/*/ports.py"),
    ],
)
def test_a_contract_of_imports_names_every_package_there_is(kind: str, packages: str) -> None:
    # The twin is a vendor, the CLI a face: neither has ports, and the contracts on drivers are not about them.
    without = {"twin"} if "domain" not in packages else set()
    found = {module_name(path) for path in SOURCES.glob(packages) if path.parent.name not in without}

    assert found
    assert found - contract(kind) == set()


def test_contracts_of_imports_name_only_what_exists() -> None:
    named = contract("Domain and messages") | contract("Use cases and ports") | contract("Services touch tables")
    paths = [SOURCE_ROOT.joinpath(*name.split(".")) for name in named]

    assert [str(path) for path in paths if not path.is_dir() and not path.with_suffix(".py").is_file()] == []


def test_every_service_is_named_where_prefect_is_forbidden() -> None:
    services = {module_name(each) for each in SERVICES} - {"src.services.cli"}

    assert services - contract("Prefect is imported by its own layer") == set()
