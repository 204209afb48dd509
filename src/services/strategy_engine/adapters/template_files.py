"""Templates of workflows as files of a folder."""

from __future__ import annotations

from pathlib import Path

from src.shared.domain.errors import InputInvalid

_MOST_BYTES = 200_000


class TomlFiles:
    """Implements `TemplateFiles` on the disk."""

    def text(self, path: Path) -> str:
        """Read a file."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputInvalid(f"{path} can't be read: {error.strerror}.") from None
        if len(content) > _MOST_BYTES:
            raise InputInvalid(f"{path} has {len(content)} bytes; a template has {_MOST_BYTES} at most.")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InputInvalid(f"{path} is not UTF-8 text: byte {error.start}.") from None

    def of_folder(self, folder: Path) -> list[Path]:
        """List the templates."""
        if not folder.is_dir():
            raise InputInvalid(
                f"{folder} is no folder of templates: make it and copy one of deployment/workflows there, or name "
                "another."
            )
        return sorted(path for path in folder.glob("*.toml") if not path.name.startswith((".", "_")))
