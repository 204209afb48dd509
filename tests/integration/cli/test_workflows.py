"""`tradewinds workflow`, typed, on a real PostgreSQL and a twin."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from src.shared.prefect.config import SOURCE_ROOT
from tests.fakes.desk import PAIR, SLOT, Installation
from tests.fakes.trouble import RANGE

EXAMPLES = SOURCE_ROOT / "deployment" / "workflows"

REVERTING = """
[meta]
study = "reverting"

[loader]
records = {records}
{more}

[strategy]
type = "mean_reversion"
model = {{ symbol = "KELV", window_bars = 20 }}
signal = {{ entry_z = 1.0, exit_z = 0.2 }}
"""


def write(folder: Path, name: str, *, records: int = 30, more: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(REVERTING.format(records=records, more=more).replace("reverting", name, 1))
    return path


def test_an_example_runs_against_the_twin_and_decides_about_a_fresh_bar(desk: Installation) -> None:
    said = desk.tradewinds("workflow", "run", str(EXAMPLES / "pairs-study.toml"), "--report-every", "50")
    again = desk.tradewinds("workflow", "run", str(EXAMPLES / "pairs-study.toml"), "--json")

    facts = json.loads(again.out)
    slots = [datetime.fromisoformat(each["slot"]) for each in facts["decisions"]]
    assert (said.code, said.err, again.code) == (0, "", 0)
    assert (len(slots), slots[-1]) == (140, SLOT)
    assert facts["obstacle"] == ""
    assert facts["asked"]["enter_pair"] >= facts["asked"]["exit_pair"] > 0
    assert facts["value"] > 1.0
    lines = said.out.splitlines()
    assert [line.split("after ")[1].split(":")[0] for line in lines if "after " in line] == [
        "50 bars",
        "100 bars",
        "140 bars",
    ]
    assert lines[-1].startswith("Now: ")
    assert "NO_DECISION" not in lines[-1]


def test_a_strategy_may_read_whole_bars_but_not_resampled_ones(desk: Installation, tmp_path: Path) -> None:
    desk.services.settings.strategy_folder.mkdir(parents=True)
    (desk.services.settings.strategy_folder / "range.py").write_text(RANGE)
    template = '[meta]\nstudy = "range"\n[loader]\nrecords = 5\n{more}\n[strategy]\ntype = "range"\n{model}'
    model = 'model = { symbol = "KELV" }'
    for name, more in (("whole", ""), ("longer", 'resampling = "4Hour"')):
        (tmp_path / f"{name}.toml").write_text(template.format(more=more, model=model))

    said = desk.tradewinds("workflow", "run", str(tmp_path / "whole.toml"), "--json")
    refused = desk.tradewinds("workflow", "run", str(tmp_path / "longer.toml"))

    decisions = json.loads(said.out)["decisions"]
    assert [each["numbers"]["last"] > 0 for each in decisions] == [True] * 5
    assert all(each["numbers"]["high"] >= each["numbers"]["open"] for each in decisions)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "longer.toml: [loader] resampling: range reads whole bars, and closes alone are resampled" in refused.err


def test_bars_that_are_too_old_give_no_decision(desk: Installation, tmp_path: Path) -> None:
    path = write(tmp_path, "reverting")
    desk.move_to(SLOT + timedelta(seconds=130))
    stale = desk.tradewinds("workflow", "run", str(path))
    allowed = desk.tradewinds("workflow", "run", str(path), "--max-buffer", "300")
    # The vendor is not asked: what is stored ends an hour before the newest bar.
    write(tmp_path, "stored", more='table = "market_data"')
    desk.move_to(SLOT + timedelta(hours=1, seconds=5))
    behind = desk.tradewinds("workflow", "run", str(tmp_path / "stored.toml"))

    assert [each.code for each in (stale, allowed, behind)] == [0, 0, 0]
    assert "Now: NO_DECISION: STALE_BAR: the newest bar ended 2025-03-03 15:30Z" in stale.out
    assert "more than 120 s is too old" in stale.out
    assert "NO_DECISION" not in allowed.out
    assert "Now: NO_DECISION: STALE_BAR: no bar of KELV that ended 2025-03-03 16:30Z" in behind.out


def test_what_is_said_beside_the_template_counts(desk: Installation, tmp_path: Path) -> None:
    path = write(tmp_path, "reverting", records=300)

    few = json.loads(desk.tradewinds("workflow", "run", str(path), "--lookback", "5", "--json").out)
    since = json.loads(desk.tradewinds("workflow", "run", str(path), "--since", "2025-02-28", "--json").out)

    assert len(few["decisions"]) == 5
    assert [each["slot"][:10] for each in since["decisions"]] == ["2025-02-28"] * 7 + ["2025-03-03"]
    assert few["decisions"][-1]["numbers"] == since["decisions"][-1]["numbers"] != {}


def test_longer_bars_are_made_of_hours(desk: Installation) -> None:
    facts = json.loads(desk.tradewinds("workflow", "run", str(EXAMPLES / "momentum-study.toml"), "--json").out)

    # 09:30 New York is 14:30 here; the session's last bar is one of half an hour.
    times = {each["slot"][11:16] for each in facts["decisions"]}
    assert times == {"17:30", "20:30", "21:00"}
    assert len(facts["decisions"]) == 60
    assert facts["obstacle"].startswith("STALE_BAR: the newest bar ended 2025-02-28 21:00Z")
    assert facts["asked"]["target"] > 0


def test_a_folder_is_run_whole_though_one_template_is_broken(desk: Installation, tmp_path: Path) -> None:
    write(tmp_path, "a", records=3)
    write(tmp_path, "b", records=3, more='symbols = ["NOPE"]')
    (tmp_path / "c.toml").write_text(REVERTING.format(records=3, more="").replace("entry_z = 1.0", "entry_z = 0"))
    write(tmp_path, "d", records=3)

    said = desk.tradewinds("workflow", "run-all", str(tmp_path))

    assert said.code == 1
    assert said.out.splitlines()[-1] == "2 of 4 workflows ran."
    assert "c.toml: [strategy.signal] entry_z = 0" in said.err
    assert "NOPE" in said.err


def test_a_template_that_is_wrong_is_a_line_with_file_table_and_key(desk: Installation, tmp_path: Path) -> None:
    good = write(tmp_path, "good", records=3)
    (tmp_path / "bad.toml").write_text(
        REVERTING.format(records=0, more="vendor = 'bloomberg'\nspeed = 3") + "\n[shedule]\ncron = '* * * * *'\n"
    )
    (tmp_path / "cron.toml").write_text(
        good.read_text().replace("good", "other")
        + '\n[schedule]\ncron = "99 10 * * 1"\ntimezone = "America/New_York"\n'
    )

    said = desk.tradewinds("workflow", "validate", str(tmp_path))
    nowhere = desk.tradewinds("workflow", "run", str(tmp_path / "none.toml"))
    empty = desk.tradewinds("workflow", "run-all")

    assert (said.code, nowhere.code, empty.code) == (2, 2, 2)
    assert said.out == "good.toml: good, mean_reversion, by hand\n"
    lines = said.err.splitlines()
    assert "error: bad.toml: [loader] records: input should be greater than or equal to 1, not 0" in lines
    assert "error: bad.toml: [loader] speed is a key that no template has" in lines
    assert "error: bad.toml: [shedule] is a table that no template has" in lines
    assert any(line.startswith("error: bad.toml: [loader] vendor: ") for line in lines)
    assert any(line.startswith("error: cron.toml: [schedule] cron: ") for line in lines)
    assert "can't be read" in nowhere.err
    assert "no folder of templates" in empty.err


def test_a_registered_pair_is_taken_as_it_is_registered(desk: Installation, tmp_path: Path) -> None:
    path = tmp_path / "registered.toml"
    strategy = f'type = "pairs"\nmodel = {{ pairs = ["{PAIR}"] }}'
    path.write_text(f'[meta]\nstudy = "registered"\n\n[loader]\nrecords = 3\n\n[strategy]\n{strategy}\n')

    facts = json.loads(desk.tradewinds("workflow", "run", str(path), "--json").out)

    # Its window is loaded before the first decision: each has a z.
    assert [type(each["numbers"][f"z {PAIR}"]) for each in facts["decisions"]] == [float] * 3


REFUSED = [
    ('type = "nothing"', "wrong.toml: [strategy] type: There is no strategy 'nothing'"),
    ('type = "pairs"\nmodel = { pairs = "all" }', "wrong.toml: [strategy.model] pairs: name them"),
    ('type = "pairs"\nmodel = { pairs = ["KO/PEP"] }', "[strategy] fit_bars: KO/PEP is not registered"),
    ('type = "pairs"\nmodel = { pairs = ["KELV/KELV"] }', "wrong.toml: [strategy.model] pairs"),
    ('type = "momentum"\nfit_bars = 100\nmodel = { symbols = ["KELV"] }', "fit_bars: momentum has no pairs to fit"),
    (
        'type = "momentum"\nmodel = { symbols = ["KELV"] }\nsignal = { symbols = ["KELV"] }',
        "wrong.toml: [strategy] symbols stands in more than one",
    ),
    ('type = "momentum"\nmodel = { symbols = ["KELV"] }', "wrong.toml: [loader] no bars of KELV"),
]


def test_a_strategy_that_can_t_be_run_so_is_refused_in_a_line(desk: Installation, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    for strategy, words in REFUSED:
        loader = '[loader]\nrecords = 3\ntable = "market_data"'
        path.write_text(f'[meta]\nstudy = "wrong"\n\n{loader}\n\n[strategy]\n{strategy}\n')

        said = desk.tradewinds("workflow", "run", str(path))

        assert (said.code, said.out) == (2, "")
        assert words in said.err
        assert said.err.count("\n") == 1


def test_a_strategy_that_fails_is_named_with_its_bar(desk: Installation, tmp_path: Path) -> None:
    own = desk.services.settings.strategy_folder
    own.mkdir()
    (own / "falling.py").write_text(
        "from src.services.strategy_engine.sdk import Strategy\n\n\n"
        "class Falling(Strategy):\n"
        '    CONFIG_SCHEMA = {"symbol": {"type": "symbol"}}\n\n'
        "    def on_bar(self, context, bar):\n"
        "        raise RuntimeError('it fell')\n"
    )
    path = write(tmp_path, "failing", records=3)
    path.write_text(path.read_text().split("[strategy]")[0] + '[strategy]\ntype = "falling"\nmodel.symbol = "KELV"\n')

    said = desk.tradewinds("workflow", "run", str(path))

    assert said.code == 1
    assert "failing.toml: at the bar of 2025-02-28 20:30Z: falling: on_bar: RuntimeError: it fell" in said.err
