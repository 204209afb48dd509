"""`BackupFolder` on a file system: a dump has its name only when it is whole, and its manifest is there before it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.services.maintenance.domain.backups import Facts, Manifest, is_dump_name
from src.shared.domain.errors import InputInvalid
from src.shared.infra.embedded.files import StateFolderUnusable, locked, make_folder, write_atomically

_MANIFEST = ".json"
_PASSING = ".part"
_DOCUMENT = ".json"


@dataclass(frozen=True)
class DumpFolder:
    """`<what>-<time>.dump`, beside each `….dump.json`; what is being written ends in `.part`."""

    path: Path

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder and sweep it."""
        try:
            make_folder(self.path)
        except StateFolderUnusable:
            raise InputInvalid(f"The folder {self.path} can't be written: name another one for backups.") from None
        with locked(self.path / ".lock", wait=False, held=f"Another backup works in {self.path}: wait for its end."):
            self._sweep()
            yield

    def passing(self, name: str) -> Path:
        """Where a dump is written first."""
        return self.path / f"{name}{_PASSING}"

    def measure(self, file: Path) -> tuple[int, str]:
        """Force a file to disk, and read it whole."""
        try:
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                return os.fstat(opened.fileno()).st_size, hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise InputInvalid(f"{file} can't be read ({error.strerror}).") from None

    def keep(self, name: str, manifest: Manifest) -> None:
        """Give it its name, after its manifest."""
        self.rewrite(name, manifest)
        self.passing(name).rename(self.path / name)
        sync_folder(self.path)

    def rewrite(self, name: str, manifest: Manifest) -> None:
        """Write a manifest, whole or not at all."""
        write_atomically(self.path / f"{name}{_MANIFEST}", json.dumps(_as_json(manifest), indent=2) + "\n")
        sync_folder(self.path)

    def all(self) -> dict[str, Manifest]:
        """Read the manifests of all dumps; one that can't be read is no backup, and is left alone."""
        found = {}
        for file in sorted(self.path.glob("*.dump")):
            if is_dump_name(file.name):
                try:
                    found[file.name] = self.manifest(file)
                except InputInvalid:
                    continue
        return found

    def manifest(self, file: Path) -> Manifest:
        """Read a manifest."""
        if not file.is_file():
            raise InputInvalid(f"There is no file {file}: `tradewinds backup list` shows what there is.")
        beside = file.with_name(f"{file.name}{_MANIFEST}")
        try:
            return _from_json(json.loads(beside.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise InputInvalid(
                f"{file.name} has no manifest beside it ({beside.name}): it can't be checked."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputInvalid(f"The manifest {beside.name} can't be read: {file.name} can't be checked.") from None

    def remove(self, name: str) -> None:
        """Remove a dump, then its manifest."""
        (self.path / name).unlink(missing_ok=True)
        (self.path / f"{name}{_MANIFEST}").unlink(missing_ok=True)

    def drop_passing(self, name: str) -> None:
        """Remove what is half-made."""
        self.passing(name).unlink(missing_ok=True)
        if not (self.path / name).exists():
            (self.path / f"{name}{_MANIFEST}").unlink(missing_ok=True)

    def write_document(self, stem: str, at: datetime, text: str, keep: int) -> Path:
        """Write `<stem>-<time>.json` and remove the oldest of its kind."""
        made = self.path / f"{stem}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}{_DOCUMENT}"
        write_atomically(made, text)
        for old in sorted(self.path.glob(f"{stem}-????????T??????Z{_DOCUMENT}"))[:-keep]:
            old.unlink(missing_ok=True)
        return made

    def _sweep(self) -> None:
        """Remove what killed runs left: dumps without their name, and manifests whose dump never got it."""
        for file in self.path.glob(f"*.dump{_PASSING}"):
            if is_dump_name(file.name.removesuffix(_PASSING)):
                file.unlink(missing_ok=True)
        for file in self.path.glob(f"*.dump{_MANIFEST}"):
            dump = file.name.removesuffix(_MANIFEST)
            if is_dump_name(dump) and not (self.path / dump).exists():
                file.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _as_json(manifest: Manifest) -> dict[str, Any]:
    times = {"created_at": manifest.created_at.isoformat()}
    times["drilled_at"] = manifest.drilled_at.isoformat() if manifest.drilled_at else ""
    return {"version": 1, **asdict(manifest), **times}


def _from_json(read: dict[str, Any]) -> Manifest:
    facts = read["facts"]
    if read["version"] != 1 or read["what"] not in ("trading", "prefect"):
        raise ValueError("another kind of manifest")
    if read["drill"] not in ("not_run", "passed", "failed"):
        raise ValueError("no verdict of ours")
    return Manifest(
        what=read["what"],
        created_at=datetime.fromisoformat(read["created_at"]),
        bytes=int(read["bytes"]),
        sha256=str(read["sha256"]),
        tool=str(read["tool"]),
        facts=Facts(
            server_version=int(facts["server_version"]),
            schema_version=str(facts["schema_version"]),
            tables={str(name): int(rows) for name, rows in facts["tables"].items()},
            ledger={str(name): str(total) for name, total in facts["ledger"].items()},
        ),
        drill=read["drill"],
        drilled_at=datetime.fromisoformat(read["drilled_at"]) if read["drilled_at"] else None,
        problems=tuple(read["problems"]),
    )
