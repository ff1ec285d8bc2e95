"""The thread team: the tasks of a kernel, whoever calls, in whatever process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import depthwise as dw
from depthwise.errors import SpecError
from depthwise.machine import team
from exact import exact_problem

LARGE = dw.parse("depthwise c64 hw56 k3 p1 nhwc bias")


@pytest.fixture(scope="module")
def problem():
    x, operands, expected = exact_problem(LARGE)
    return dw.compile(LARGE).bind(*operands), x, expected


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_team_is_openmp_here():
    assert "gomp" in team.native().runtime() or "omp" in team.native().runtime()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_computes_the_same(problem, threads):
    bound, x, expected = problem
    np.testing.assert_array_equal(bound(x, threads=threads), expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("tasks", [1, 2, 5, 8, 56, 100])
def test_tasks_are_shared_out_as_plans_expect(tasks, threads):
    seen = []
    kernel = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)(
        lambda _, first, last: seen.append(range(first, last))
    )
    address = ctypes.cast(kernel, ctypes.c_void_p).value
    team.native().run(address, tasks, threads, 0, address)
    expected = [run for runs in team.shares(tasks, threads) for run in runs]
    assert sorted(seen, key=min) == sorted(expected, key=min)
    assert sorted(task for run in seen for task in run) == list(range(tasks))


def test_python_threads_may_call_at_once(problem):
    bound, x, expected = problem
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: bound(x, threads=2), range(40)):
            np.testing.assert_array_equal(result, expected)


def test_a_call_releases_the_interpreter():
    spec = dw.parse("depthwise c64 hw112 k7 p3 nhwc")
    x, *operands, out = dw.random_problem(spec)
    bound = dw.compile(spec).bind(*operands)
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0)

    watcher = threading.Thread(target=tick)
    watcher.start()
    calls = []
    for _ in range(50):
        start = time.perf_counter()
        bound.run(x, out, 1)
        calls.append((start, time.perf_counter()))
    done.set()
    watcher.join()
    assert any(start < tick < end for start, end in calls for tick in ticks)


FORK = """
import os, sys
import numpy as np, depthwise as dw
from depthwise.machine import team
if "torch" in sys.argv[1:] or {torch}: import torch
spec = dw.parse("{problem}")
x, *operands, _ = dw.random_problem(spec)
bound = dw.compile(spec).bind(*operands)
expected = bound(x, threads=2)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(bound(x, threads=2), expected) and team.size() == 1 else 1)
_, status = os.waitpid(child, 0)
assert np.array_equal(bound(x, threads=2), expected)
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("torch", [False, True])
def test_a_forked_child_computes_on_one_thread(problem, torch):
    assert python(FORK.format(torch=torch, problem=LARGE)).strip() == "0"


def test_the_size_of_the_team_is_openmps():
    ask = "from depthwise.machine import team; print(team.size())"
    assert python(ask, OMP_NUM_THREADS="3").strip() == "3"
    affinity = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
    without = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", affinity + ask], env=without, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "1"


def test_the_size_of_the_team_is_torchs_where_torch_is():
    ask = "from depthwise.machine import team; print(team.size())"
    assert python("import torch; torch.set_num_threads(3); " + ask).strip() == "3"


def test_no_more_threads_are_started_than_a_team_has_at_most():
    """OpenMP, told to start so many, ends the process."""
    code = """
import ctypes, numpy as np
from depthwise.machine import team
taken = []
@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)
def kernel(data, first, last):
    taken.extend(range(first, last))
address = ctypes.cast(kernel, ctypes.c_void_p).value
team.native().run(address, 200_000, 100_000, 0, np.zeros(1))
print(sorted(taken) == list(range(200_000)))
"""
    assert python(code).strip() == "True"


def test_more_threads_than_a_team_has_at_most_are_refused(problem):
    bound, x, _ = problem
    with pytest.raises(SpecError, match="threads are at most 1024; got 1025"):
        bound(x, threads=1025)


def test_torch_and_the_team_share_one_runtime():
    code = """
import depthwise.machine.team as team
team.native().size()
import torch, re
maps = open("/proc/self/maps").read()
print(len(set(re.findall(r"\\S*lib[gi]omp\\S*", maps))))
"""
    assert python(code).strip() == "1"


SMALL = ["depthwise c9 hw9 k3 p1 nhwc bias relu", "depthwise c9 hw9 k3 p1"]
WITHOUT = f"""
import sys, warnings
sys.modules["depthwise.machine._team"] = None
import numpy as np, depthwise as dw
from depthwise.machine import team
from depthwise.problem import reference
for text in {SMALL}:
    spec = dw.parse(text)
    x, *operands, out = dw.random_problem(spec)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        y = dw.compile(spec)(x, *operands, threads=2)
    print(np.abs(y - reference.forward(spec, x, *operands)).max() < 1e-5, len(caught))
print(team.size(), team.native().runtime(), caught)
"""


def test_without_the_extension_module_kernels_run_on_one_thread_after_one_warning():
    for text in SMALL:
        dw.compile(text)  # kept on disk: the other process need not import the compiler
    first, second, third = python(WITHOUT).splitlines()
    assert (first, second) == ("True 1", "True 0")
    assert third.startswith("1 None")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((1, 1, 1, 0), TypeError),
        ((1, 1, 1, 0, *[np.zeros(1)] * 24), TypeError),
        ((0, 1, 1, 0, np.zeros(1)), ValueError),
        ((1, -1, 1, 0, np.zeros(1)), ValueError),
        ((1, 1, -1, 0, np.zeros(1)), ValueError),
        ((1, 1, 1, -1, np.zeros(1)), OverflowError),
        ((1, 0, 1, 0, np.zeros((2, 2))[:, :1]), ValueError),
        ((1, 0, 1, 0, object()), TypeError),
        ((1, 0, 1, 0, 2**70), OverflowError),
        (("1", 0, 1, 0, np.zeros(1)), TypeError),
    ],
)
def test_a_launch_of_what_is_no_kernel_is_refused(arguments, kind):
    with pytest.raises(kind):
        team.native().run(*arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (16, 9), (17, 25), (40, 1), (33, 49)])
def test_the_transpose(dtype, shape):
    matrix = np.random.default_rng(0).random(shape).astype(dtype)
    for transpose in (team.native().transpose, team._transpose):
        for source in (matrix, matrix.ctypes.data):
            transposed = np.full(shape[::-1], np.nan, dtype)
            transpose(source, transposed, *shape)
            np.testing.assert_array_equal(transposed, matrix.T)


def test_a_transpose_of_other_sizes_is_refused():
    with pytest.raises(ValueError, match="5 x 3 matrix"):
        team.native().transpose(np.zeros((3, 5)), np.zeros((4, 3)), 3, 5)
    with pytest.raises(ValueError, match="4 or 8 bytes"):
        team.native().transpose(np.zeros(2, np.int8), np.zeros(2, np.int8), 1, 2)
