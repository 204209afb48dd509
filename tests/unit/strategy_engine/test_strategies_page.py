"""What docs/strategies.md says of strategies is so."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from src.services.strategy_engine import sdk
from src.services.strategy_engine.sdk.loader import BUILT_IN_FOLDER, Loader
from src.services.strategy_engine.sdk.sample import sample_config
from src.services.strategy_engine.use_cases.rehearsal import Rehearsals
from src.shared.domain.sessions import TradingCalendar
from src.shared.prefect.config import SOURCE_ROOT
from tests.fakes.strategy_runner import InlineRunner

PAGE = (SOURCE_ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")


def test_the_example_works_as_it_stands(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "dip.py").write_text(code, encoding="utf-8")

    kind = Loader().load(tmp_path / "dip.py")
    with closing(InlineRunner(tmp_path)) as runner:
        done = Rehearsals(runner, TradingCalendar(), lambda: 0.0, 60.0).rehearse(kind, sample_config(kind.config))

    assert done.asked == {"target DIP": 120 - 1 - 1}
    assert done.widgets == ("metric",)


def test_every_built_in_strategy_has_its_row() -> None:
    names = {path.stem for path in BUILT_IN_FOLDER.glob("[a-z]*.py")}

    assert names == set(re.findall(r"^\| `(\w+)` \| .* \| .* \|$", PAGE.split("## Built in")[1], re.MULTILINE))


def test_what_a_file_may_import_is_there() -> None:
    missing = [name for name in re.findall(r"`([A-Z]\w+)\(", PAGE) if not hasattr(sdk, name)]

    assert missing == []
