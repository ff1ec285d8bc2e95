"""The search, on recorded times: who wins, what is tried again, and what a run leaves behind."""

from __future__ import annotations

import math

import pytest

import depthwise as dw
from depthwise import schedule
from depthwise.errors import InternalError, SpecError
from depthwise.machine import team
from depthwise.machine.target import host
from depthwise.store import database as plan_database
from depthwise.tuning import search as plan_search
from depthwise.tuning import tuner
from depthwise.tuning.block_space import BlockSpace
from depthwise.tuning.conv_space import ConvSpace, doublings
from recorded import Recorded

SPEC = dw.parse("depthwise c32 hw28 k3 p1 nhwc")
DEFAULT = schedule.default_plan(SPEC, host())
LEGAL = list(ConvSpace(SPEC, host()))
OTHER, THIRD = (plan for plan in LEGAL[2:5:2])


@pytest.fixture(autouse=True)
def empty_database(database):
    return database


class Clock:
    """Seconds that pass only while plans are tried."""

    def __init__(self, laboratory, seconds_a_plan):
        self._laboratory, self._seconds = laboratory, seconds_a_plan

    def __call__(self):
        return self._seconds * len(self._laboratory.prepared)


def search(laboratory, seconds_a_plan=0.0, threads=1, **options):
    arguments = {"seconds": 10.0, "step": str, "clock": Clock(laboratory, seconds_a_plan)}
    return plan_search.search(SPEC, host(), threads, laboratory, **(arguments | options))


def test_the_fastest_plan_by_recorded_times_wins_and_is_remembered():
    found = search(Recorded({DEFAULT: 50.0, OTHER: 40.0}))
    assert (found.plan, found.us) == (OTHER, 40.0)
    assert (found.default, found.default_us, found.gain) == (DEFAULT, 50.0, 1.25)
    assert (found.tried, found.legal, found.complete) == (len(LEGAL), len(LEGAL), True)
    assert plan_database.tuned_plan(SPEC, host()) == OTHER


def test_every_legal_plan_is_built_once_the_default_first():
    laboratory = Recorded({})
    search(laboratory)
    assert laboratory.prepared[0] == DEFAULT
    assert sorted(map(str, laboratory.prepared)) == sorted(map(str, LEGAL))


def test_where_nothing_is_faster_the_default_stays():
    found = search(Recorded({}, otherwise=50.0))
    assert (found.plan, found.gain) == (DEFAULT, 1.0)
    assert plan_database.tuned_plan(SPEC, host()) == DEFAULT


def test_noise_adds_time_to_the_fastest_and_it_wins_all_the_same():
    disturbed = [150.0, 40.0, 400.0]
    found = search(Recorded({DEFAULT: [90.0, 50.0], OTHER: disturbed}))
    assert (found.plan, found.us, found.default_us) == (OTHER, 40.0, 50.0)


def test_a_plan_that_is_not_clearly_faster_leaves_the_default():
    times = {DEFAULT: [51.0] * 11 + [45.0], OTHER: 48.0}  # the default can do better than it did
    assert search(Recorded(times)).plan == DEFAULT


def test_a_lucky_first_measurement_does_not_win():
    lucky = [10.0] * (plan_search.FIRST_SAMPLES + plan_search.MORE_SAMPLES) + [
        60.0
    ] * plan_search.ROUNDS
    found = search(Recorded({DEFAULT: 50.0, OTHER: lucky, THIRD: 45.0}))
    assert (found.plan, found.us) == (THIRD, 45.0)


@pytest.mark.parametrize("unlucky", [DEFAULT, OTHER])
def test_a_plan_whose_memory_lies_badly_in_one_process_does_not_decide(unlucky):
    class Processes(Recorded):
        """In the second process, a plan takes half as long again."""

        def sample(self, plan, repeats, *_):
            slower = 1.5 if plan == unlucky and self.closed else 1.0
            return [slower * us for us in super().sample(plan, repeats)]

    laboratory = Processes({DEFAULT: 50.0, OTHER: 49.0 if unlucky == OTHER else 52.0})
    assert search(laboratory).plan == DEFAULT
    assert laboratory.closed == 1


def test_the_next_plan_is_near_the_best_so_far():
    near_default = search(laboratory := Recorded({DEFAULT: 10.0})).default
    own = [
        doublings(plan, near_default)
        for plan in laboratory.prepared
        if plan.schedule == DEFAULT.schedule
    ]
    assert own == sorted(own)


@pytest.mark.parametrize("failure", ["wrong", "crashed", "slow", "failed"])
def test_a_plan_that_fails_never_wins_and_is_not_tried_again(failure):
    times = {DEFAULT: 50.0, OTHER: failure, THIRD: 45.0}
    found = search(Recorded(times))
    assert found.plan == THIRD
    assert (found.trials[OTHER].failure, found.trials[OTHER].us) == (failure, math.inf)
    again = Recorded({**times, OTHER: 1.0})
    assert search(again).plan == THIRD
    assert OTHER not in again.prepared


def test_a_plan_that_fails_only_in_the_last_rounds_does_not_win():
    class Late(Recorded):
        samples = 0

        def sample(self, plan, repeats, *_):
            self.samples += plan == OTHER
            if plan == OTHER and self.samples > 4:
                raise plan_search.TrialError("crashed", "late")
            return super().sample(plan, repeats)

    found = search(Late({DEFAULT: 50.0, OTHER: 40.0}))
    assert found.plan == DEFAULT
    assert plan_database.trials(SPEC, host(), 1)[OTHER].failure == "crashed"


def test_a_default_that_fails_has_no_gain_to_state():
    found = search(Recorded({DEFAULT: "crashed", OTHER: 40.0}))
    assert (found.plan, found.default_us, found.gain) == (OTHER, None, None)


def test_where_no_plan_can_be_timed_nothing_is_remembered():
    with pytest.raises(InternalError, match=r"one plan at least can .* recorded as crashed"):
        search(Recorded(dict.fromkeys(LEGAL, "crashed")))
    assert plan_database.tuned_plan(SPEC, host()) is None


def test_the_budget_ends_the_search_and_the_next_one_goes_on_from_there():
    first = search(one := Recorded({DEFAULT: 50.0}), seconds_a_plan=1.0)
    assert first.tried == len(one.prepared) < first.legal
    assert first.tried == first.fresh == 9  # and the last rounds
    assert first.seconds <= 10.0
    assert not first.complete
    second = search(two := Recorded({DEFAULT: 50.0}), seconds_a_plan=0.0)
    assert second.tried == second.legal == second.fresh + first.fresh
    assert not set(two.prepared) & set(one.prepared)


def test_what_starting_takes_is_no_part_of_the_budget():
    class Slow(Recorded):
        """A process takes longer to start than the whole budget lasts."""

        def pose(self, spec):
            self.start_seconds += 20.0
            super().pose(spec)

        def close(self):
            self.start_seconds += 15.0
            super().close()

    laboratory = Slow({DEFAULT: 50.0})
    clock = lambda: laboratory.start_seconds + 0.1 * len(laboratory.prepared)  # noqa: E731
    found = search(laboratory, seconds=4.0, clock=clock)
    assert found.tried == found.legal
    assert (found.start_seconds, found.seconds) == (35.0, pytest.approx(0.1 * found.legal))


def test_the_last_rounds_of_slow_plans_end_with_the_budget():
    class Steady(Recorded):
        """A sample takes a tenth of a second."""

        sampled = 0

        def sample(self, plan, repeats, *_):
            self.sampled += repeats
            return super().sample(plan, repeats)

    laboratory = Steady({}, otherwise=100_000.0)
    found = search(laboratory, seconds=20.0, clock=lambda: 0.1 * laboratory.sampled)
    assert 1 < found.tried < found.legal
    assert found.seconds <= 20.0 + 0.1 * plan_search.FINALISTS


def test_a_plan_that_was_given_little_time_is_not_slow_for_good():
    search(Recorded({OTHER: "slow"}), seconds=1.0)
    assert OTHER not in plan_database.trials(SPEC, host(), 1)
    assert search(again := Recorded({OTHER: 1.0})).plan == OTHER
    assert again.prepared == [OTHER]


def test_each_run_tries_one_plan_at_least():
    assert search(Recorded({}), seconds_a_plan=60.0).tried == 1
    assert search(Recorded({}), seconds_a_plan=60.0).tried == 2


def test_a_plan_gets_a_part_of_the_budget_and_the_default_all_of_it():
    search(laboratory := Recorded({}), seconds=8.0)
    assert laboratory.seconds[0] == 8.0
    assert set(laboratory.seconds[1:]) == {plan_search.PLAN_SHARE * 8.0}


def test_an_interrupt_keeps_what_was_learnt():
    def step(plan):
        if len(laboratory.prepared) == 3:
            raise KeyboardInterrupt

    laboratory = Recorded({DEFAULT: 50.0})
    with pytest.raises(KeyboardInterrupt):
        search(laboratory, step=step)
    kept = plan_database.trials(SPEC, host(), 1)
    assert set(kept) == set(laboratory.prepared)
    assert kept[DEFAULT].samples == (50.0,) * (plan_search.FIRST_SAMPLES + plan_search.MORE_SAMPLES)
    assert plan_database.tuned_plan(SPEC, host()) is None
    search(second := Recorded({DEFAULT: 50.0}))
    assert not set(second.prepared) & set(kept)


def test_each_number_of_threads_has_its_own_times():
    search(Recorded({DEFAULT: 50.0}), threads=1)
    laboratory = Recorded({DEFAULT: 50.0})
    search(laboratory, threads=2)
    assert set(laboratory.prepared) == set(LEGAL)


def test_large_kernels_and_blocks_have_more_time():
    assert plan_search.budget(SPEC) == 10.0
    assert plan_search.budget(dw.parse("depthwise c8 hw28 k1x7")) == 30.0
    assert plan_search.budget(dw.parse("separable c8 o4 hw28 k3")) == 30.0


@pytest.mark.parametrize("seconds", [0, -1.0, math.nan, "1", (), 1j])
def test_a_budget_is_more_than_nothing(seconds):
    with pytest.raises(SpecError, match="seconds are more than 0"):
        search(Recorded({}), seconds=seconds)


@pytest.mark.parametrize(
    ("text", "threads"),
    [("depthwise c0 hw4 k3", 1), (str(SPEC), 0), ("separable c4 o4 hw9 k3", 0)],
)
def test_bad_input_is_refused_before_anything_starts(text, threads):
    with pytest.raises(SpecError):
        dw.tune(text, threads=threads)


def test_the_plan_found_is_the_one_that_is_compiled_from_then_on():
    x, weight, _ = dw.random_problem(SPEC)
    before = dw.compile(SPEC)
    result = dw.depthwise_conv2d(x, weight, padding=1, layout="NHWC")
    assert before.plan == DEFAULT != OTHER
    tuner.watched_search(SPEC, Recorded({OTHER: 1.0}), 1)
    assert dw.compile(SPEC).plan == OTHER
    assert dw.compile(SPEC, DEFAULT) is before
    again = dw.depthwise_conv2d(x, weight, padding=1, layout="NHWC")
    assert abs(again - result).max() < 1e-5


def test_the_plan_found_for_a_block_is_the_one_that_is_compiled_from_then_on():
    spec = dw.parse("separable c8 o8 hw6 k3 p1 nhwc")
    default = schedule.default_plan(spec, host(), team.size())
    x, *weights, _ = dw.random_problem(spec)
    result = dw.separable_conv2d(x, *weights, padding=1, layout="NHWC")
    apart = next(plan for plan in BlockSpace(spec, host()).strips() if plan.fused == (1, 1))
    assert dw.compile(spec).plan == default != apart
    found = tuner.watched_search(spec, Recorded({default: 50.0, apart: 25.0}), 1)
    assert (found.plan, found.gain, found.legal) == (apart, 2.0, None)
    assert dw.compile(spec).plan == dw.compile(spec, str(apart)).plan == apart
    again = dw.separable_conv2d(x, *weights, padding=1, layout="NHWC")
    assert abs(again - result).max() < 1e-5


@pytest.mark.parametrize(
    "text",
    [
        "depthwise c3 h3 w4 k3 p1 nhwc bias relu",
        pytest.param("inverted c3 e4 o3 h3 w4 k3 p1 bias relu se2", marks=pytest.mark.slow),
    ],
)
def test_a_small_problem_is_tuned_for_real(text):
    default = dw.compile(text).plan
    plan = dw.tune(text, threads=1, seconds=10.0)
    tried = plan_database.trials(dw.parse(text), host(), 1)
    assert {plan, default} <= set(tried)
    assert all(trial.failure is None for trial in tried.values())
    assert dw.compile(text).plan == plan
