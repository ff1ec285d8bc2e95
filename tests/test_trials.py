"""Plans in a process of their own: what each way of failing is called, and that work goes on."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

import depthwise as dw
from depthwise import Plan, schedule
from depthwise.machine import team
from depthwise.machine.target import host
from depthwise.tuning import trials
from depthwise.tuning.search import TrialError

SPEC = dw.parse("depthwise c4 hw6 k3 p1 nhwc bias relu")


@pytest.fixture
def fake(monkeypatch):
    """A laboratory in which the name of a plan's schedule says what it does."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr(trials, "ENGINE", "fake.engine")
    with trials.Laboratory(1) as laboratory:
        laboratory.pose(SPEC)
        yield laboratory


@pytest.mark.parametrize(
    ("name", "failure", "detail"),
    [("dies", "crashed", "SIGABRT"), ("wrong", "wrong", "off by 0.00999999 from"),
     ("unwritten", "wrong", "off by inf"), ("raises", "failed", "ValueError: this engine")],
)  # fmt: skip
def test_a_plan_that_fails_says_how_and_the_next_one_is_tried(fake, name, failure, detail):
    with pytest.raises(TrialError, match=detail) as raised:
        fake.prepare(Plan(name), 60.0)
    assert raised.value.trial.failure == failure
    assert "\n" not in raised.value.trial.detail
    fake.prepare(Plan("right"), 60.0)
    assert len(fake.sample(Plan("right"), 2)) == 2


def test_a_plan_that_takes_too_long_is_stopped(fake):
    with pytest.raises(TrialError, match=r"not built and verified within 0.2 s") as raised:
        fake.prepare(Plan("sleeps"), 0.2)
    assert raised.value.trial.failure == "slow"
    assert fake.sample(Plan("right"), 1)[0] > 0


def test_a_plan_outlives_a_process_that_another_took_down(fake):
    fake.prepare(Plan("right"), 60.0)
    with pytest.raises(TrialError):
        fake.prepare(Plan("dies"), 60.0)
    assert len(fake.sample(Plan("right"), 3)) == 3


def test_the_next_problem_starts_afresh(fake):
    fake.prepare(Plan("right"), 60.0)
    fake.pose(dw.parse("depthwise c2 hw5 k3 nhwc"))
    assert fake._ready == {}
    assert fake.sample(Plan("right"), 1)[0] > 0


def test_the_process_ends_with_its_laboratory(fake):
    process = fake._worker
    fake.close()
    assert not process.alive


@pytest.fixture(scope="module")
def laboratory():
    """One of real plans; another problem is posed to it by each test."""
    with trials.Laboratory(2) as laboratory:
        yield laboratory


def test_real_plans_are_built_verified_and_timed(laboratory):
    default = dw.compile(SPEC).plan
    laboratory.pose(SPEC)
    laboratory.prepare(default, 60.0)
    assert min(laboratory.sample(default, 2)) > 0
    with pytest.raises(TrialError, match="PlanError: schedule packed does not take") as raised:
        laboratory.prepare(Plan("packed"), 60.0)
    assert raised.value.trial.failure == "failed"


def test_real_plans_of_a_block_are_built_verified_and_timed(laboratory):
    spec = dw.parse("inverted c4 e8 o4 hw6 k3 p1 nhwc bias relu se2")
    default = schedule.default_plan(spec, host(), team.size())
    laboratory.pose(spec)
    laboratory.prepare(default, 60.0)
    assert min(laboratory.sample(default, 2)) > 0
    with pytest.raises(TrialError, match=r"PlanError: .* the gate between") as raised:
        laboratory.prepare(replace(default, fused=(3,)), 60.0)
    assert raised.value.trial.failure == "failed"


def test_what_one_process_built_the_next_one_loads_and_nothing_is_left(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plan = schedule.default_plan(SPEC, host())
    with trials.Laboratory(1) as laboratory:
        laboratory.pose(SPEC)
        laboratory.prepare(plan)
        built = {path: path.stat().st_ino for path in tmp_path.rglob("kernels/*/*.so")}
        started = laboratory.start_seconds
        laboratory.close()
        assert laboratory.sample(plan, 1)[0] > 0
        assert {path: path.stat().st_ino for path in built} == built != {}
        assert set(tmp_path.rglob("kernels/*/*.so")) == set(built)
        assert laboratory.start_seconds > started > 0
    assert list(tmp_path.rglob("*.so")) == []
