"""What is kept about plans: read back, shared by processes, and nothing lost to damage."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

import depthwise as dw
from depthwise import BlockPlan, Plan, schedule
from depthwise.bench.peers.ours import Engine
from depthwise.errors import CacheWarning
from depthwise.machine import team
from depthwise.machine.target import host, named
from depthwise.schedule import fusion
from depthwise.store import database as plan_database
from depthwise.store import disk
from depthwise.store.database import Trial

SPEC = dw.parse("depthwise c32 hw28 k3 p1 nhwc")
LANES = host().lanes("float32")
FIRST, SECOND = Plan("channels_last", tc=LANES, tw=2), Plan("channels_last", tc=LANES, tw=4)
BLOCK = dw.parse("separable c32 o16 hw28 k3 p1 nhwc")
USUAL = fusion.usual(BLOCK, (2,), host())[2]
FUSED = replace(USUAL, parts=(SECOND, USUAL.parts[1]))
TRIAL = Trial((3.5, 4.5))


@pytest.fixture(autouse=True)
def place(database):
    return database


def files(place):
    return list(place.glob("plans/*/*.json"))


def test_trials_of_a_block_are_read_back_as_they_were(place):
    plan_database.add_trial(BLOCK, host(), 1, FUSED, TRIAL)
    assert plan_database.trials(BLOCK, host(), 1) == {FUSED: TRIAL}
    assert plan_database.trials(SPEC, host(), 1) == {}


def test_trials_are_read_back_as_they_were(place):
    slow = Trial(failure="slow", detail="not built within 2.5 s")
    plan_database.add_trial(SPEC, host(), 1, FIRST, TRIAL)
    plan_database.add_trial(SPEC, host(), 1, SECOND, slow)
    plan_database.add_trial(SPEC, host(), 2, FIRST, Trial((2.0,)))
    assert plan_database.trials(SPEC, host(), 1) == {FIRST: TRIAL, SECOND: slow}
    assert plan_database.trials(SPEC, host(), 2) == {FIRST: Trial((2.0,))}
    assert plan_database.trials(SPEC, host(), 3) == {}
    assert TRIAL.us == 3.5
    assert len(files(place)) == 1


def test_a_winner_is_remembered_for_its_problem_and_cpu_alone():
    plan_database.remember(SPEC, host(), FIRST)
    assert plan_database.tuned_plan(SPEC, host()) == FIRST
    assert plan_database.tuned_plan(dw.parse(f"{SPEC} bias"), host()) is None
    assert plan_database.tuned_plan(SPEC, named("x86-64-v3")) is None
    plan_database.remember(SPEC, host(), SECOND)
    assert plan_database.tuned_plan(SPEC, host()) == SECOND


def test_other_code_has_other_times(monkeypatch):
    plan_database.remember(SPEC, host(), FIRST)
    monkeypatch.setattr(plan_database, "fingerprint", lambda: "another")
    plan_database.tuned_plan.cache_clear()
    assert plan_database.tuned_plan(SPEC, host()) is None


def test_another_process_compiles_with_the_winners(monkeypatch):
    winners = {SPEC: FIRST, BLOCK: FUSED}
    for spec, plan in winners.items():
        plan_database.remember(spec, host(), plan)
    program = f"""
import depthwise as dw
for text in {[*map(str, winners)]}:
    print(dw.compile(text).plan)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [*map(str, winners.values())]
    monkeypatch.setenv(plan_database.VARIABLE, "0")
    for spec, plan in winners.items():
        assert dw.compile(spec).plan == schedule.default_plan(spec, host(), team.size()) != plan


def test_the_benchmark_measures_the_heuristic(monkeypatch):
    monkeypatch.setenv(plan_database.VARIABLE, "1")  # restored at the end, whatever Engine sets
    monkeypatch.delenv(plan_database.VARIABLE)
    plan_database.remember(SPEC, host(), FIRST)
    Engine(threads=1)
    assert dw.compile(SPEC).plan == schedule.default_plan(SPEC, host())


@pytest.mark.parametrize(
    "damaged",
    [b"", b"\x00\xff", b"[]", b'{"tuned": 3}', b'{"tuned": "channels_last tc0"}', b'{"trials": []}',
     b'{"trials": {"1": {"channels_last": {}}}}', b'{"trials": {"1": {"?": {"us": [1.0]}}}}',
     b'{"trials": {"1": {"channels_last": {"us": [-1.0]}}}}',
     b'{"trials": {"1": {"channels_last": {"failure": "bored", "us": [1.0]}}}}',
     b'{"trials": {"1": {"channels_last": {"us": "12"}}}}', b'{"tuned": "depthwise | general"}',
     b'{"tuned": ""}', b'{"tuned": 0}', b'{"tuned": []}', b'{"tuned": "\\ud800"}',
     b'{"tuned": "channels_last tc\\u0663"}',
     pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep")],
)  # fmt: skip
def test_a_damaged_file_is_skipped_with_a_warning_and_replaced(place, damaged):
    plan_database.remember(SPEC, host(), FIRST)
    (file,) = files(place)
    file.write_bytes(damaged)
    plan_database.tuned_plan.cache_clear()
    with pytest.warns(CacheWarning, match="what was learnt about plans is not read"):
        assert plan_database.tuned_plan(SPEC, host()) is None
    assert plan_database.trials(SPEC, host(), 1) == {}
    plan_database.add_trial(SPEC, host(), 1, FIRST, TRIAL)
    assert plan_database.trials(SPEC, host(), 1) == {FIRST: TRIAL}


@pytest.mark.parametrize("plan", [Plan("channels_last", tc=7), Plan("nosuch"), Plan("packed")])
def test_a_plan_that_is_not_legal_is_not_taken(plan):
    plan_database.remember(SPEC, host(), plan)
    assert plan_database.tuned_plan(SPEC, host()) is None
    assert dw.compile(SPEC).plan == schedule.default_plan(SPEC, host())


@pytest.mark.parametrize(
    "plan",
    [FIRST, BlockPlan((2,), 2, (FIRST, FIRST)), BlockPlan((2,), 1000, FUSED.parts),
     BlockPlan((1, 2), 2, (FUSED.parts[1], *FUSED.parts))],
    ids=str,
)  # fmt: skip
def test_a_plan_that_is_not_legal_for_a_block_is_not_taken(plan):
    plan_database.remember(BLOCK, host(), plan)
    assert plan_database.tuned_plan(BLOCK, host()) is None


def test_a_plan_of_a_block_is_none_of_a_convolution():
    plan_database.remember(SPEC, host(), FUSED)
    assert plan_database.tuned_plan(SPEC, host()) is None


def test_a_file_that_others_may_write_is_not_read(place):
    plan_database.remember(SPEC, host(), FIRST)
    (file,) = files(place)
    file.chmod(0o666)
    with pytest.warns(CacheWarning, match="may be written to by others"):
        assert plan_database.tuned_plan(SPEC, host()) is None


def test_without_a_folder_nothing_is_kept(monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, "")
    plan_database.add_trial(SPEC, host(), 1, FIRST, TRIAL)
    plan_database.remember(SPEC, host(), FIRST)
    assert plan_database.trials(SPEC, host(), 1) == {}
    assert plan_database.tuned_plan(SPEC, host()) is None


def test_a_lock_that_is_not_to_be_had_costs_a_warning(place, monkeypatch):
    plan_database.remember(SPEC, host(), FIRST)
    monkeypatch.setattr(plan_database, "PATIENCE_SECONDS", 0.0)
    (file,) = files(place)
    holder = f"""
import sys
from filelock import FileLock
with FileLock({str(file.with_name(disk.LOCK))!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        with pytest.warns(CacheWarning, match="not everything is kept on disk"):
            plan_database.add_trial(SPEC, host(), 1, FIRST, TRIAL)
        process.stdin.close()
    assert plan_database.trials(SPEC, host(), 1) == {}


def test_processes_that_write_at_once_lose_nothing():
    program = f"""
import sys
import depthwise as dw
from depthwise import Plan
from depthwise.store import database as plan_database
from depthwise.machine.target import host
for tw in range(1, 31):
    plan = Plan("channels_last", tc=int(sys.argv[1]), tw=tw)
    plan_database.add_trial(dw.parse('{SPEC}'), host(), 1, plan, plan_database.Trial((1.0 * tw,)))
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tc)]) for tc in (8, 16, 24)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    found = plan_database.trials(SPEC, host(), 1)
    assert len(found) == 90
    assert all(trial == Trial((float(plan.tw),)) for plan, trial in found.items())
