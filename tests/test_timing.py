"""The clock, tested with a clock of its own: nothing here depends on how fast anything is."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field

import pytest

from depthwise.measure import timing
from depthwise.measure.timing import Summary, sample


@dataclass
class FakeTime:
    """A clock that only the work under test moves on."""

    now: float = 0.0
    durations: list[float] = field(default_factory=list)
    calls: int = 0
    collecting: set[bool] = field(default_factory=set)

    def __call__(self) -> float:
        return self.now

    def run(self) -> None:
        """Take the next duration; the last one for ever after."""
        self.now += self.durations[min(self.calls, len(self.durations) - 1)]
        self.calls += 1
        self.collecting.add(gc.isenabled())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(timing, "perf_counter", fake)
    return fake


@pytest.mark.parametrize("duration", [1e-7, 3e-6, 2e-3, 0.5])
def test_samples_are_microseconds_of_one_call(clock: FakeTime, duration: float) -> None:
    clock.durations = [duration]
    assert sample(clock.run, repeats=4, min_seconds=1e-3) == pytest.approx([duration * 1e6] * 4)


def test_a_sample_fills_the_time_asked_for(clock: FakeTime) -> None:
    clock.durations = [1e-6]
    timing_of_one = sample(clock.run, repeats=1, min_seconds=1e-3)
    after_one, before = clock.now, clock.calls
    sample(clock.run, repeats=3, min_seconds=1e-3)
    assert timing_of_one == pytest.approx([1.0])
    assert clock.now - after_one >= 3e-3
    assert clock.calls - before >= 3000


def test_the_first_call_is_not_measured(clock: FakeTime) -> None:
    clock.durations = [7.0, 1e-3]
    assert sample(clock.run, repeats=2, min_seconds=1e-3) == pytest.approx([1e3, 1e3])


@pytest.mark.parametrize(("duration", "count"), [(0.05, 5), (0.1, 4), (7.0, 1)])
def test_a_call_that_takes_long_has_fewer_samples(
    clock: FakeTime, duration: float, count: int
) -> None:
    clock.durations = [duration]
    samples = sample(clock.run, repeats=5, most_seconds=0.35)
    assert samples == pytest.approx([duration * 1e6] * count)


def test_a_call_faster_than_the_clock_shows_still_ends(clock: FakeTime) -> None:
    clock.durations = [0.0] * 50 + [1e-4]
    assert sample(clock.run, repeats=1, min_seconds=1e-3) == pytest.approx([100.0])


def test_garbage_collection_rests_and_comes_back(clock: FakeTime) -> None:
    clock.durations = [1e-3]
    assert gc.isenabled()
    sample(clock.run, repeats=1)
    assert clock.collecting == {False}
    assert gc.isenabled()


def test_garbage_collection_comes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        sample(lambda: 1 / 0, repeats=1)
    assert gc.isenabled()


def test_summary_is_median_min_and_median_absolute_deviation() -> None:
    assert Summary.of([5.0, 1.0, 2.0, 9.0, 4.0]) == Summary(median=4.0, min=1.0, mad=2.0)
    assert Summary.of([3.0]) == Summary(median=3.0, min=3.0, mad=0.0)


@pytest.mark.parametrize(
    ("samples", "unstable"), [([100, 103, 97], False), ([100, 94, 106], True), ([100.0], False)]
)
def test_scatter_beyond_the_bound_is_unstable(samples: list[float], unstable: bool) -> None:
    assert Summary.of(samples).unstable is unstable
