"""Keep secrets out of every text that leaves the process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from src.config.settings import Settings

_HIDDEN = "***"
_SHORTEST_SECRET = 4  # hiding a shorter one would blot out ordinary words

_NAMES = "|".join(
    (
        "apca-api-(?:secret-key|key-id)",
        "authorization",
        "passw(?:or)?d",
        "passphrase",
        "(?:api|secret)[_-]?key",
        "secret",
        "token",
    )
)
_RULES = (
    (re.compile(r"(\w://[^\s:/@]*:)[^\s@/]+(?=@)"), rf"\1{_HIDDEN}"),
    (
        re.compile(
            rf"(?i)(\b(?:\w*[_-])?(?:{_NAMES})[\"']?\s*[:=]\s*[\"']?)"
            r"(?:(?:bearer|basic)\s+)?(?!\*\*\*)[^\s\"',;&})\]]+"
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"\b[PA]K[A-Z0-9]{18,24}\b"), _HIDDEN),
)


class Redactor:
    """Hides given values, passwords in URLs, and what looks like a key or a named secret."""

    def __init__(self, values: tuple[str, ...] = ()) -> None:
        known = sorted({v for v in values if len(v) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text with every secret replaced by ``***``."""
        if self._values is not None:
            text = self._values.sub(_HIDDEN, text)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return text

    def structure(self, value: object) -> object:
        """The same for the texts inside dicts and lists; what JSON can't hold becomes redacted text."""
        if isinstance(value, dict):
            return {self(str(key)): self._named(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.structure(item) for item in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self(str(value))

    def _named(self, key: str, value: object) -> object:
        if isinstance(value, str) and self(f"{key}={value}") != f"{key}={value}" and self(value) == value:
            return _HIDDEN
        return self.structure(value)


def redactor_for(settings: Settings) -> Redactor:
    """A redactor that knows every secret in these settings."""
    return Redactor(tuple(_secrets(settings)))


def _secrets(settings: Settings) -> Iterator[str]:
    for field in fields(Settings):
        component = getattr(settings, field.name)
        for name in type(component).model_fields:
            value = getattr(component, name)
            if isinstance(value, SecretStr):
                yield from _parts(value.get_secret_value())


def _parts(secret: str) -> Iterator[str]:
    if "://" not in secret:
        yield secret
        return
    try:
        password = urlsplit(secret).password
    except ValueError:
        password = None
    if password:
        yield password
        yield unquote(password)
