"""A new strategy file, made of a template that works."""

from __future__ import annotations

import inspect
from pathlib import Path

from src.services.strategy_engine.sdk import template
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, is_key
from src.shared.domain.errors import InputInvalid


def write_template(name: str, folder: Path) -> Path:
    """Write `<name>.py` into a folder, which is made where there is none.

    Raises:
        InputInvalid: a strategy can't be called so, there is such a file already, or it can't be written.
    """
    if not is_key(name):
        raise InputInvalid(
            f"{name!r} names no strategy: small letters, digits and _, a letter first, at most 40, such as my_trend."
        )
    if (BUILT_IN_FOLDER / f"{name}.py").exists():
        raise InputInvalid(f"A built-in strategy is called {name}: take another name.")
    path = folder / f"{name}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputInvalid(f"{folder} can't be made: {error.strerror}.") from None
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_text(name))
    except FileExistsError:
        raise InputInvalid(f"{path} is there already: it is not overwritten.") from None
    except OSError as error:
        raise InputInvalid(f"{path} can't be written: {error.strerror}.") from None
    return path


def _text(name: str) -> str:
    words = name.split("_")
    class_name = "".join(word.capitalize() for word in words)
    text = inspect.getsource(template).replace("Template", class_name).replace("NAME", name)
    return text.replace("TITLE", " ".join(words).strip().capitalize())
