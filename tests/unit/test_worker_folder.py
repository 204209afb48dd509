"""Where a worker leaves temporary files."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

from prefect.runner import Runner

from src.shared.prefect.worker import private_temporary_folder


def test_what_prefect_stores_for_runs_is_in_a_folder_of_the_worker_alone() -> None:
    common = Path(tempfile.gettempdir())

    with private_temporary_folder() as folder:
        stored = Runner()._tmp_dir
        assert stored.is_relative_to(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    assert not folder.exists()
    assert Path(tempfile.gettempdir()) == common
