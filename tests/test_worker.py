"""The process of one engine: its protocol, wrong results found out, and every way of ending."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import depthwise as dw
from depthwise import random_problem
from depthwise.errors import PeerError
from depthwise.measure import posed, timing, worker
from depthwise.measure.engine import Prepared
from depthwise.measure.process import PreparedInfo, Rejected, Worker
from depthwise.measure.worker import Host, compare, load_engine
from depthwise.problem import reference
from depthwise.problem.parse import parse

SPEC = parse("depthwise c4 hw6 k3 p1 bias relu")
FAKE = "fake.engine"


@pytest.fixture(autouse=True)
def fake_engines(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


@pytest.fixture
def fake(fake_engines):
    with Worker(FAKE, threads=1) as process:
        yield process


def test_a_worker_says_which_engine_it_hosts(fake):
    assert fake.hello.name == "fake"
    assert fake.hello.variants == ("right",)
    assert fake.hello.threads == 1


def test_a_right_result_is_verified_and_can_be_timed(fake):
    prepared = fake.prepare(SPEC, "right", "kernel", seed=3)
    assert isinstance(prepared, PreparedInfo)
    assert prepared.verified
    assert 0 < prepared.max_abs_err < 1e-5
    assert (prepared.layout, prepared.excluded) == ("NCHW", "nothing")
    samples = fake.sample(prepared.key, repeats=3, min_seconds=0.0)
    assert len(samples) == 3
    assert min(samples) > 0


def test_problems_are_kept_apart_until_they_are_released(fake):
    first, second = (fake.prepare(SPEC, "right", "call") for _ in range(2))
    assert first.key != second.key
    fake.release(first.key)
    assert len(fake.sample(second.key)) == 1
    with pytest.raises(PeerError, match=r"fake\.engine failed while sampling: KeyError"):
        fake.sample(first.key)


def test_a_posed_problem_is_read_back_as_it_was_written(tmp_path):
    spec = parse("inverted n2 c4 e8 o4 hw6 k3 p1 bias relu6 residual nhwc")
    posed.write(tmp_path, spec, seed=2)
    arrays, expected = posed.read(tmp_path, spec)
    *given, _ = posed.arrays(spec, seed=2)
    assert np.all(np.isnan(arrays[-1]))
    for array, original in zip(arrays[:-1], given, strict=True):
        np.testing.assert_array_equal(array, original)
        assert array.ctypes.data % 64 == 0
    assert arrays[-2] is arrays[0]
    np.testing.assert_array_equal(expected, reference.forward(spec, *given))


def test_what_is_posed_in_a_folder_is_what_a_worker_takes(fake, tmp_path):
    posed.write(tmp_path, SPEC)
    assert fake.prepare(SPEC, "right", "kernel", folder=tmp_path).verified
    (tmp_path / "expected.npy").unlink()
    assert fake.prepare(SPEC, "right", "call", folder=tmp_path).verified
    with pytest.raises(PeerError, match=r"FileNotFoundError.*expected\.npy"):
        fake.prepare(parse("depthwise c5 hw6 k3"), "right", "call", folder=tmp_path)


@pytest.mark.parametrize("variant", ["wrong", "unwritten", "worse", "flat"])
def test_a_wrong_result_is_not_verified(fake, variant):
    prepared = fake.prepare(SPEC, variant, "kernel")
    assert isinstance(prepared, PreparedInfo)
    assert not prepared.verified
    assert prepared.max_abs_err > 5e-3


def test_an_expected_result_of_zeros_shows_nothing():
    spec = parse("depthwise c4 hw6 k3")
    arrays = tuple(np.zeros_like(array) for array in random_problem(spec))
    expected = reference.forward(spec, *arrays[:-1])
    assert worker.compare(spec, arrays[-1], expected) == (0.0, False)


@pytest.mark.parametrize(("eps", "right"), [(1, True), (1000, False)])
def test_the_tolerance_is_that_of_the_oracle(eps, right):
    arrays = random_problem(SPEC)
    expected = reference.forward(SPEC, *arrays[:-1])
    got = expected + eps * np.finfo(np.float32).eps * np.abs(expected).max()
    error, verified = worker.compare(SPEC, got, expected)
    assert verified is right
    assert error == pytest.approx(np.abs(got - expected).max())


def test_what_an_engine_cannot_do_is_rejected_with_its_reason(fake):
    spec = parse("depthwise c4 hw6 k3 float64")
    assert fake.prepare(spec, "right", "kernel") == Rejected("no float64")


def test_chatter_on_stdout_does_not_reach_the_protocol(fake):
    assert fake.prepare(SPEC, "chats", "kernel").verified


def test_an_error_is_one_line_and_the_worker_goes_on(fake):
    with pytest.raises(PeerError) as raised:
        fake.prepare(SPEC, "raises", "kernel")
    assert str(raised.value) == (
        f"fake.engine failed while preparing raises for the kernel clock: {SPEC}: "
        "ValueError: this engine"
    )
    assert fake.prepare(SPEC, "right", "kernel").verified


def test_an_engine_that_dies_leaves_its_last_words(fake):
    with pytest.raises(
        PeerError, match=r"(?s)ended while preparing dies .*SIGABRT.*the last words"
    ):
        fake.prepare(SPEC, "dies", "kernel")
    assert not fake.alive
    with pytest.raises(PeerError, match="SIGABRT"):
        fake.prepare(SPEC, "right", "kernel")


def test_an_engine_that_takes_too_long_is_ended():
    with Worker(FAKE, threads=1, timeout=5) as process:
        process.timeout = 0.2
        with pytest.raises(PeerError, match=r"did not answer within 0.2 s while preparing sleeps"):
            process.prepare(SPEC, "sleeps", "kernel")
        assert not process.alive
        with pytest.raises(PeerError, match="SIGKILL"):
            process.prepare(SPEC, "right", "kernel")


@pytest.mark.parametrize("engine", ["fake.nowhere", "fake"])
def test_an_engine_that_does_not_start_says_why(engine):
    with pytest.raises(PeerError, match=r"nowhere|is one of depthwise, tvm, torch"):
        Worker(engine, threads=1)


def test_whatever_happens_in_the_body_the_process_ends():
    process = Worker(FAKE, threads=1)
    assert process.alive

    def body():
        with process:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body()
    assert not process.alive


def test_threads_allocator_and_cores_are_set_before_the_engine_starts():
    core = min(os.sched_getaffinity(0))
    with Worker(FAKE, threads=3, pin=[core]) as process:
        assert process.hello.threads == 3
        assert process.hello.version == (
            f"OMP_NUM_THREADS=3 TVM_NUM_THREADS=3 MALLOC_MMAP_MAX_=0 cores=[{core}]"
        )


def test_with_a_baseline_the_time_is_the_difference_over_the_calls(monkeypatch):
    long, short = object(), object()
    times = {long: [90.0, 98.0], short: [10.0, 2.0]}
    monkeypatch.setattr(timing, "sample", lambda run, *_: times[run])
    host = worker.Host(engine=None)
    host.ready[1] = Prepared(long, None, "NCHWc", "reorders", baseline=short, calls=8)
    assert host.sample(1, repeats=2) == {"microseconds": [10.0, 12.0]}


def test_requests_are_answered_in_turn_until_quit():
    host = worker.Host(engine=None)
    requests = [{"do": "release", "key": 1}, {"do": "sing"}, {"do": "quit"}, {"do": "never read"}]
    host.ready[1] = Prepared(print, print, "NCHW", "nothing")
    answers = io.StringIO()
    worker.serve(host, iter(map(json.dumps, requests)), answers)
    lines = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert lines == [{"released": 1}, {"error": "KeyError: 'sing'"}]


def test_a_worker_ends_with_its_parent():
    command = [sys.executable, "-m", "depthwise.measure.worker", FAKE]
    ended = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    assert "greets" in ended.stderr


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def wait_for(state, pid):
    deadline = time.monotonic() + 10
    while state_of(pid) != state and time.monotonic() < deadline:
        time.sleep(0.01)
    return state_of(pid)


@pytest.mark.parametrize(
    ("off", "by", "exactly", "right"),
    [
        (0, 0, True, True),
        (1, 1, True, False),
        (2, 1, False, True),
        (3, 1, False, False),
        (1, 2, False, False),
    ],
)
def test_a_thousandth_of_whole_numbers_may_be_one_off(off, by, exactly, right):
    spec = parse("depthwise c20 hw10 k3 p1 nhwc uint8")
    expected = np.arange(2000.0).reshape(spec.output_shape) % 250
    got = expected.astype(np.uint8)
    got.reshape(-1)[:off] += by
    assert compare(spec, got, expected, exactly=exactly) == (by if off else 0, right)


def test_whole_numbers_of_one_variant_are_forgotten_for_the_next():
    text = "depthwise c8 hw5 k3 p1 nhwc uint8"
    host = Host(load_engine("depthwise.tuning.engine", 1))
    host.pose(text)
    plan = str(dw.compile(text).plan)
    for _ in range(2):
        assert host.prepare(text, plan, "kernel")["verified"]


def test_an_idle_worker_is_stopped_and_takes_no_core_from_the_others(fake):
    pid = fake._process.pid
    assert wait_for("T", pid) == "T"
    assert isinstance(fake.prepare(SPEC, "right", "call"), PreparedInfo)
    assert wait_for("T", pid) == "T"


def test_a_stopped_worker_ends_with_a_parent_that_is_killed():
    program = f"""
import os, signal
from depthwise.measure.process import Worker
print(Worker({FAKE!r}, threads=1)._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    ).stdout
    assert wait_for("gone", int(output)) in ("gone", "Z")


def test_a_worker_needs_numpy_and_the_standard_library_alone():
    program = """
import sys
import depthwise.measure.worker
loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module}
foreign = {name for name in loaded if name not in sys.stdlib_module_names} - {"__main__"}
print(*sorted(name for name in foreign if not name.startswith(("_", "sitecustomize"))))
"""
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output.split() == ["depthwise", "numpy"]
