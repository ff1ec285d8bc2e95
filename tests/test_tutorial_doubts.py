"""What a page says below the times that were measured while the machine was not quiet."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("IPython")

from IPython.testing.globalipapp import get_ipython

from depthwise.measure import state
from depthwise.measure.state import BUSY, Others
from depthwise.measure.timing import Summary
from depthwise.tutorial import doubts, measure

STEADY, SCATTERED = Summary(100.0, 99.0, 1.0), Summary(100.0, 80.0, 6.0)
QUIET, LOUD = Others(0.0), Others(BUSY * (os.cpu_count() or 1) + 0.1)


def told(*given: tuple[list[Summary], Others]) -> str:
    found = doubts.Doubts()
    for summaries, others in given:
        found.add(summaries, others)
    return found.told()


def test_nothing_is_said_of_a_quiet_machine():
    assert told(([STEADY, STEADY], QUIET), ([], Others(0.01))) == ""


def test_others_and_scatter_are_told():
    words = told(([STEADY, SCATTERED], QUIET), ([STEADY], LOUD))
    assert "1 of 3 times scatter by more than 5%" in words
    assert f"others took {LOUD.cores:.1f} of the {os.cpu_count()} cores" in words


def test_what_was_told_is_told_once():
    found = doubts.Doubts()
    found.add([SCATTERED], LOUD)
    assert found.told()
    assert found.told() == ""


def test_a_cell_that_measures_tells_below(monkeypatch, capsys):
    shell = get_ipython()
    monkeypatch.setattr(state, "_seconds_of_others", iter((0.0, 1e6, 0.0, 0.0)).__next__)
    monkeypatch.setattr(measure, "interleave", lambda *_: {"a": [1.0, 1.0]})
    monkeypatch.setattr(doubts, "_doubts", doubts.Doubts())
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    for expected in (True, False):
        shell.run_cell("from depthwise.tutorial import microseconds; microseconds({})")
        assert ("Markdown" in capsys.readouterr().out) is expected


def test_outside_of_pages_times_are_times(monkeypatch):
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: None)
    assert measure.microseconds({"nothing": lambda: None})["nothing"] > 0


STAT = """cpu  100 20 30 4000 50 6 7 8 9 9
cpu0 1 1 1 1
"""


def test_others_are_all_that_ran_but_this_process(monkeypatch, tmp_path):
    (tmp_path / "stat").write_text(STAT)
    monkeypatch.setattr(state, "STAT", tmp_path / "stat")
    monkeypatch.setattr(os, "times", lambda: (0.1, 0.2, 0.3, 0.4, 99.0))
    ticks = 100 + 20 + 30 + 6 + 7 + 8
    expected = ticks / os.sysconf("SC_CLK_TCK") - 1.0
    assert state._seconds_of_others() == pytest.approx(expected)


@pytest.mark.parametrize(("ran", "cores"), [(30.0, 3.0), (0.0, 0.0), (-5.0, 0.0)])
def test_cores_of_others_are_their_time_over_that_of_the_clock(monkeypatch, ran, cores):
    monkeypatch.setattr(state, "_seconds_of_others", iter((7.0, 7.0 + ran)).__next__)
    monkeypatch.setattr(state, "perf_counter", iter((1.0, 11.0)).__next__)
    with state.others() as found:
        pass
    assert found.cores == pytest.approx(cores, abs=0.01)


def test_a_system_that_does_not_tell_has_no_others(monkeypatch, tmp_path):
    monkeypatch.setattr(state, "STAT", tmp_path / "missing")
    with state.others() as found:
        pass
    assert found.cores == 0
    assert not found.disturb
