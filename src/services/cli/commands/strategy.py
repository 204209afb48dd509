"""`tradewinds strategy`: strategies as files, the built-in ones and your own."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from src.services.cli.options import ConfigFile, Fields, Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from src.config.settings import Settings
    from src.services.strategy_engine.sdk.loader import Catalogue
    from src.services.strategy_engine.sdk.strategy import StrategyType
    from src.services.strategy_engine.use_cases.rehearsal import Rehearsal

_SOME_BROKEN = 1
_LINES_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Write strategies, list them, and try them on a made-up market.")
    group.command(name="new")(new)
    group.command(name="list")(list_all)
    group.command(name="validate")(validate)
    group.callback()(strategy)
    app.add_typer(group, name="strategy")


def strategy() -> None:
    """Write strategies, list them, and try them on a made-up market."""


def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _: the file's name, and the strategy's.")],
    folder: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where; else the folder that TRADEWINDS_STRATEGY_FOLDER names."),
    ] = None,
) -> None:
    """Write a strategy file that works, to be changed into your own. Nothing is ever overwritten."""
    from src.config.settings import load_settings
    from src.services.strategy_engine.adapters.template_file import write_template

    path = write_template(name, folder or load_settings().strategy_folder)
    typer.echo(f"{path}\nChange it, then: tradewinds strategy validate {name if folder is None else path}")


def list_all(as_json: Json = False) -> None:
    """List every strategy, and the files that are broken with the reason; exit code 1 if there are such."""
    from src.config.settings import load_settings
    from src.services.cli.desk import console, print_json
    from src.services.strategy_engine.bootstrap import strategy_loader

    settings = load_settings()
    catalogue = strategy_loader(settings, settings.strategy.call_seconds).catalogue()
    if as_json:
        print_json(_catalogue_dict(catalogue))
    else:
        out = console()
        out.print(strategies_table(catalogue, f"Strategies (your own are looked for in {settings.strategy_folder})"))
        for each in catalogue.broken:
            out.print(f"broken: {each}", soft_wrap=True)
    if catalogue.broken:
        raise typer.Exit(_SOME_BROKEN)


def validate(
    word: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A strategy's file, or its name as listed.")],
    fields: Fields = None,
    config: ConfigFile = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of its config, nothing else.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long it may take in all.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Load a strategy and run it over a made-up market, in a process of its own, each bar twice."""
    import json

    from src.config.settings import load_settings
    from src.services.cli.desk import print_json
    from src.services.cli.instance_fields import read_fields
    from src.services.strategy_engine.bootstrap import build_rehearsals
    from src.services.strategy_engine.sdk.loader import Loader
    from src.services.strategy_engine.sdk.sample import sample_config

    settings = load_settings()
    path, built_in = _file_of(word, settings)
    given = read_fields(fields or [], config)
    rehearsals = build_rehearsals(settings, path.parent, seconds)
    with closing(rehearsals.runner), _quiet():
        if not built_in:
            rehearsals.refuse_what_never_loads(path)
        kind = Loader().load(path, built_in=built_in)
        if schema:
            typer.echo(json.dumps(kind.config.json_schema(), indent=2))
            return
        made_up = {name: value for name, value in sample_config(kind.config).items() if name not in given}
        done = rehearsals.rehearse(kind, {**made_up, **given})
    if as_json:
        print_json(done)
    else:
        _tell(kind, done, made_up)


def strategies_table(catalogue: Catalogue, title: str) -> Table:
    """Lay the strategies out, one a row."""
    from src.services.cli.desk import table

    made = table(title, "name", "version", "trades", "where", "what it does", whole=("name", "version"))
    for kind in catalogue.types.values():
        where = "built in" if kind.built_in else str(kind.path)
        made.add_row(kind.key, kind.digest, kind.trades, where, kind.description)
    return made


def _catalogue_dict(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "strategies": [
            {
                "name": kind.key,
                "version": kind.digest,
                "trades": kind.trades,
                "built_in": kind.built_in,
                "path": str(kind.path),
                "description": kind.description,
            }
            for kind in catalogue.types.values()
        ],
        "broken": [{"path": str(each.path), "line": each.line, "problem": each.problem} for each in catalogue.broken],
    }


def _file_of(word: str, settings: Settings) -> tuple[Path, bool]:
    """Find the file that a person means by its path or by a strategy's name, and say whether it is built in.

    Raises:
        InputInvalid: there is no such file, or a built-in strategy has the name of a file of one's own.
    """
    from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER
    from src.shared.domain.errors import InputInvalid

    built_in = BUILT_IN_FOLDER / f"{Path(word).stem}.py"
    if word.endswith(".py") or "/" in word:
        path = Path(word).expanduser().resolve()
        if path != built_in and built_in.is_file():
            raise InputInvalid(f"{path}: a built-in strategy is called {path.stem}: give the file another name.")
    else:
        path = built_in if built_in.is_file() else settings.strategy_folder / f"{word}.py"
    if not path.is_file():
        raise InputInvalid(f"There is no file {path}: see `tradewinds strategy list`.")
    return path, path == built_in


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the engine's log to itself: what went wrong is told in one line."""
    from loguru import logger

    logger.disable("src.services.strategy_engine")
    try:
        yield
    finally:
        logger.enable("src.services.strategy_engine")


def _tell(kind: StrategyType, done: Rehearsal, made_up: dict[str, Any]) -> None:
    from src.services.cli.desk import console

    out = console()
    asked = ", ".join(f"{count} × {what}" for what, count in done.asked.items()) or "nothing"
    lines = [
        f"{kind.key} is valid: version {done.digest}, {kind.path}",
        f"ran over {done.slots} made-up bars of {', '.join(done.symbols) or 'no symbol'} in {done.seconds:.1f} s, "
        "each twice with one result",
        f"asked for {asked}",
        f"state of {done.state_bytes} bytes, stored and read back; shows {', '.join(done.widgets) or 'nothing'}",
        *(f"log: {line}" for line in done.log[:_LINES_SHOWN]),
    ]
    if made_up:
        lines.append(f"made up, as no config was given: {', '.join(f'{name} = {made_up[name]}' for name in made_up)}")
    for line in lines:
        out.print(line, soft_wrap=True)
