"""Fields of a config as a person types them or keeps them in a file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.shared.domain.errors import InputInvalid


def read_fields(words: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Read `FIELD=VALUE` words over those of a file; a value is JSON where it can be, else text; none where empty.

    Raises:
        InputInvalid: a word has no `=`, or the file is neither TOML nor JSON of fields.
    """
    fields = _of_file(file) if file is not None else {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.strip():
            raise InputInvalid(f"{word!r} is no field of a config: write FIELD=VALUE, such as entry_z=2.2.")
        fields[name.strip()] = _value(value.strip())
    return fields


def _value(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        # Symbols and pairs are typed as they are; several with commas between.
        return [part.strip() for part in text.split(",") if part.strip()] if "," in text else text


def _of_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        fields = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InputInvalid(f"{file} can't be read as {file.suffix.lstrip('.') or 'TOML'}: {error}") from None
    if not isinstance(fields, dict):
        raise InputInvalid(f"{file} holds no fields: write them as FIELD = VALUE.")
    return fields
