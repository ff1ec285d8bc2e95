"""Tables of the tutorial: how cells are written, and which columns hold numbers."""

from __future__ import annotations

import pytest

pytest.importorskip("IPython")

from depthwise.tutorial import table


def test_columns_of_numbers_stand_to_the_right_though_some_cells_are_empty():
    rows = [
        ("(input)", "", 1234567, "a|b"),
        ("2.body", "4.10", 12345.6, "7"),
        ("3", "1e-07", 0, ""),
    ]
    headers, rules, *lines = table(["layer", "times", "us", "words"], rows).data.splitlines()
    assert headers == "| layer | times | us | words |"
    assert rules == "| :-- | --: | --: | :-- |"
    assert lines[0] == "| (input) |  | 1,234,567 | a\\|b |"
    assert lines[1] == "| 2.body | 4.10 | 12,346 | 7 |"


@pytest.mark.parametrize("cell", ["12%", "-0.5", "1,000", "inf", "5e+03"])
def test_what_a_number_looks_like(cell):
    assert "--:" in table(["x"], [(cell,)]).data


@pytest.mark.parametrize("cell", ["", "0.1.0", "12 us", "c64", "yes"])
def test_what_a_number_does_not_look_like(cell):
    assert ":--" in table(["x"], [(cell,)]).data


def test_a_table_without_rows_has_its_headers():
    assert table(["a", "b"], []).data == "| a | b |\n| :-- | :-- |"
