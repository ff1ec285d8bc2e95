"""`depthwise tune`: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time

import pytest

import depthwise as dw
from depthwise import BlockPlan, Plan, schedule
from depthwise.commands import cli
from depthwise.commands import tune as tune_report
from depthwise.machine import team
from depthwise.machine.target import host
from depthwise.store import database as plan_database
from depthwise.tuning import space
from recorded import Recorded

TEXT = "depthwise c32 hw28 k3 p1 nhwc"
SECOND = "depthwise c16 hw14 k3 p1 nhwc"
DEFAULT = schedule.default_plan(dw.parse(TEXT), host())
LANES = host().lanes("float32")
BEST = Plan("channels_last", tc=LANES, tw=2)


@pytest.fixture
def run(monkeypatch, capsys, database):
    def command(*arguments, laboratory=None):
        recorded = laboratory or Recorded({DEFAULT: 50.0, BEST: 40.0})
        monkeypatch.setattr(tune_report, "Laboratory", lambda _: recorded)
        monkeypatch.setattr(sys, "argv", ["depthwise", "tune", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return command


def test_the_winner_is_a_literal_to_paste_beside_its_gain(run):
    code, out, err = run(TEXT, "--threads", "1")
    assert code == 0
    problem, literal = out.splitlines()[-2:]
    assert eval(literal, {"Plan": Plan}) == BEST
    assert literal == f"Plan('channels_last', tc={LANES}, tw=2)"
    assert problem == f"# {TEXT}"
    legal = space.space(dw.parse(TEXT), host()).size
    said = rf"{TEXT}: started in \d+ s; tried {legal} of {legal} plans in \d+ s\n"
    assert re.fullmatch(said, err)
    shown = out.partition("times as")[2]
    assert all(part in shown for part in (str(DEFAULT), "50.0", str(BEST), "40.0", "1.25"))


def test_json_holds_every_trial_and_the_geometric_mean(run):
    code, out, _ = run(TEXT, SECOND, "--threads", "1", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["threads"] == 1
    first, second = report["tunings"]
    assert (first["spec"], first["gain"], first["us"]) == (TEXT, 1.25, 40.0)
    assert first["default_us"] == 50.0
    assert len(first["trials"]) == first["tried"] == first["legal"]
    assert report["geometric_mean"] == pytest.approx(math.sqrt(1.25 * second["gain"]))


def test_the_winner_of_a_block_is_a_literal_to_paste_as_well(run):
    text = "separable c8 o8 hw6 k3 p1 nhwc"
    default = schedule.default_plan(dw.parse(text), host(), team.size())
    code, out, _ = run(text, "--threads", "1", laboratory=Recorded({default: 50.0}))
    assert code == 0
    table, literal = out.split(f"\n# {text}\n")
    assert eval(literal, {"BlockPlan": BlockPlan, "Plan": Plan}) == default
    tried = len(plan_database.trials(dw.parse(text), host(), 1))
    (row,) = [line for line in table.splitlines() if " 50.0 " in line]
    assert row.split()[-2:] == ["1.00", str(tried)]


def test_a_workload_is_tuned_as_blocks_where_that_is_asked_for(run):
    laboratory = Recorded({})
    code, out, _ = run("--workload", "smoke", "--op", "separable", laboratory=laboratory)
    assert code == 0
    assert laboratory.posed
    assert all(spec.startswith("separable ") for spec in laboratory.posed)
    assert out.count("BlockPlan(") == len(laboratory.posed)


def test_a_workload_is_tuned_in_the_layout_and_with_the_epilogue_asked_for(run):
    laboratory = Recorded({})
    code, out, _ = run(
        *("--workload", "smoke", "--layout", "nhwc", "--epilogue", "network", "--threads", "1"),
        laboratory=laboratory,
    )
    assert code == 0
    assert laboratory.posed
    assert all(" nhwc" in spec and " bias" in spec for spec in laboratory.posed)
    assert out.count("Plan(") == len(laboratory.posed)


def test_an_interrupt_prints_what_is_complete_and_says_how_to_go_on(run):
    class Interrupted(Recorded):
        def pose(self, spec):
            super().pose(spec)
            if len(self.posed) == 2:
                raise KeyboardInterrupt

    code, out, err = run(TEXT, SECOND, laboratory=Interrupted({BEST: 40.0}))
    assert code == 130
    assert f"# {TEXT}\n{BEST!r}\n" in out
    assert "interrupted after 1 of 2 problems" in err


def test_a_search_that_is_interrupted_for_real_keeps_what_it_measured(database, interruptible):
    def measured():
        return plan_database.trials(dw.parse(TEXT), host(), 1)

    command = [sys.executable, "-m", "depthwise", "tune", TEXT, "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not measured() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 130
    assert err.startswith("interrupted after 0 of 1 problems")
    assert DEFAULT in measured()
    assert plan_database.tuned_plan(dw.parse(TEXT), host()) is None


def test_what_failed_is_said_and_a_wrong_result_is_the_exit_code(run):
    times = {DEFAULT: 50.0, BEST: "wrong", Plan("general", tw=4): "slow"}
    code, out, err = run(TEXT, laboratory=Recorded(times))
    assert code == 1
    assert f"wrong: {BEST}: recorded as wrong" in err
    assert "slow: general tw4: recorded as slow" in err
    assert f"# {TEXT}\n{DEFAULT!r}\n" in out


def test_a_budget_that_ends_says_how_far_it_came(run):
    legal = space.space(dw.parse(TEXT), host()).size
    for tried in (f"1 of {legal} plans", f"1 more plans (2 of {legal} in all)"):
        code, _, err = run(TEXT, "--seconds", "1e-9")
        assert code == 0
        assert f"; tried {tried} in " in err
        assert "the budget ended; the same command goes on from there" in err


def test_that_nothing_is_kept_is_said(run, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", "")
    code, _, err = run(TEXT)
    assert code == 0
    assert "DEPTHWISE_CACHE is empty" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "at least one problem, workload or layer file"),
     ((TEXT, "--seconds", "0"), "more than 0"),
     (("depthwise c0 hw4 k3",), "c"), (("--workload", "nosuch"), "a workload is one of"),
     ((TEXT, "--threads", "0"), "threads")],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_explain_names_the_tuned_plan_and_the_heuristics(run, monkeypatch, capsys):
    run(TEXT)
    for options in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["depthwise", "explain", TEXT, *options])
        with pytest.raises(SystemExit):
            cli.main()
    table, text = capsys.readouterr().out.split("[", 1)
    assert f"\ntuned: {BEST}\nheuristic: {DEFAULT}\n" in table
    (described,) = json.loads("[" + text)
    assert (described["tuned"], described["heuristic"]) == (str(BEST), str(DEFAULT))
    taken = next(r for r in described["schedules"] if r["schedule"] == described["taken"])
    assert taken["plan"] == str(BEST)
