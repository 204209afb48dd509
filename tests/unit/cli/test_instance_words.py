"""Configs as they are typed, and what strategies show as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from src.services.cli.instance_fields import read_fields
from src.services.cli.instance_tables import print_widgets, sparkline, wish_words
from src.shared.domain.errors import InputInvalid


def test_fields_are_json_where_they_can_be_and_text_else() -> None:
    words = ["entry_z=2.5", "overnight=true", "symbol=KO", "pairs=KO/PEP,V/MA", "symbols=KO,", 'more=["a"]', "gone="]

    assert read_fields(words, None) == {
        "entry_z": 2.5,
        "overnight": True,
        "symbol": "KO",
        "pairs": ["KO/PEP", "V/MA"],
        "symbols": ["KO"],
        "more": ["a"],
        "gone": None,
    }


def test_words_come_before_a_file(tmp_path: Path) -> None:
    toml, broken, listed = tmp_path / "a.toml", tmp_path / "b.toml", tmp_path / "c.json"
    toml.write_text("entry_z = 2.5\nexit_z = 0.4\n")
    broken.write_text("entry_z 2.5")
    listed.write_text("[1]")

    assert read_fields(["exit_z=0.3"], toml) == {"entry_z": 2.5, "exit_z": 0.3}
    with pytest.raises(InputInvalid, match=r"b\.toml can't be read as toml"):
        read_fields([], broken)
    with pytest.raises(InputInvalid, match="holds no fields"):
        read_fields([], listed)
    with pytest.raises(InputInvalid, match="write FIELD=VALUE"):
        read_fields(["entry_z"], None)


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), ([1, None, 2], "▁ █"), ([3, 3], "▄▄"), ([], ""), ([None], "")],
)
def test_a_line_is_drawn_as_a_row_of_bars(values: list[float | None], drawn: str) -> None:
    assert sparkline(values) == drawn


def test_every_widget_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    line = {"name": "z", "values": [0.0, None, 1.0]}
    print_widgets(
        Console(width=120),
        [
            {"kind": "metric", "label": "Pairs", "value": 2, "unit": "open"},
            {"kind": "text", "title": "Note", "text": "calm"},
            {"kind": "table", "title": "Legs", "columns": ["symbol", "z"], "rows": [["KO", 1.23456], ["PEP", None]]},
            {"kind": "line_chart", "title": "z", "unit": "sd", "x": [1, 2, 3], "lines": [line]},
            {
                "kind": "line_chart",
                "title": "empty",
                "unit": "",
                "x": [1],
                "lines": [{"name": "n", "values": [None]}],
            },
        ],
    )

    printed = capsys.readouterr().out
    for each in ("Pairs: 2 open", "Note", "calm", "1.235", "unknown", "▁ █", "z (sd)"):
        assert each in printed


def test_wishes_are_said_in_words() -> None:
    assert wish_words({"kind": "target", "symbol": "KO", "fraction": -0.5}) == "hold -50.0% in KO"
    assert wish_words({"kind": "exit_pair", "pair_id": "V/MA", "reason": "STOP_Z"}) == "exit V/MA (STOP_Z)"
    enter = {"kind": "enter_pair", "pair_id": "V/MA", "direction": "long_spread"}
    assert wish_words(enter) == "enter V/MA long spread"
