"""Kernels of blocks: whatever memory, threads and processes they are given, and whatever plan."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import depthwise as dw
import steps
from cpus import CPUS, vectors_of_others
from depthwise import schedule
from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.machine import target, team
from depthwise.schedule import fusion, groups
from exact import exact_problem, poisoned

# One line for each way in which strips, halos, tiles and tails meet the ends of arrays.
TEXTS = [
    "separable c8 o16 hw1 k1",
    "separable c3 o24 hw1 k3 p1 nhwc bias relu/relu6",
    "separable c1 o1 h19 w7 k3 p1 bias",
    "separable c16 o40 h14 w13 k3 s2 p1 n3 nhwc bias relu6/relu6",
    "separable c24 o9 h23 w6 k5x3 s1x2 p2,1 residual relu/none",
    "separable c17 o33 h9 w12 k7 p3 float64 nhwc dbias",
    "separable c11 o16 h12 w10 k3 d3 p3 m2 n2 nhwc pbias",
    "separable c7 o8 h16 w9 k4x2 s3 p2,1,0,1 m3 relu/relu",
    "separable c40 o58 h9 w9 k3 p1 reflect nhwc",
    "separable c9 o15 h12 w5 k3 p2 circular n2",
    "inverted c24 e144 o24 h13 w11 k3 p1 bias relu6 residual nhwc",
    "inverted c24 e40 o17 h13 w11 k3 p1 n2 bias relu6 residual",
    "inverted c16 e58 o24 h9 w12 k5 s2 p2 n2 nhwc relu6",
    "inverted c3 e8 o116 h11 w6 k3 s3x1 p1 ebias",
    "inverted c8 e24 o16 h18 w5 k1 s3 pbias relu",
    "inverted c40 e116 o8 h3 w5 k7 p3 float64 dbias nhwc",
    "inverted c5 e9 o12 h20 w4 k3x1 d4x1 p4,0 m2 nhwc relu residual",
    "inverted c16 o8 h12 w12 k3 p1 bias relu6 nhwc",
    "inverted c58 o58 h7 w14 k3 p1 replicate",
]
GATED = "inverted c8 e24 o9 h11 w7 k3 p1 n2 nhwc bias relu6 se4"


@pytest.mark.parametrize("text", [*TEXTS, GATED])
def test_strips_halos_and_tiles_end_where_the_arrays_end(guarded, text):
    guarded.check(text, runs=3)


@pytest.mark.parametrize("rows", [1, 3, 5])
@pytest.mark.parametrize("text", [TEXTS[4], TEXTS[9], TEXTS[10], TEXTS[12], GATED])
def test_strips_need_not_end_where_tiles_do(guarded, text, rows):
    spec = dw.parse(text)
    host = target.host()
    way = next(way for way in fusion.ways_of(spec) if not way.rejects(spec, host))
    guarded.check(spec, fusion.plan_of_rows(spec, way.fused, rows, host), runs=2)


def placed(array, offset):
    """Return a copy that begins `offset` elements into a larger buffer, and that buffer."""
    buffer = np.full(array.size + 64, 7, array.dtype)
    view = buffer[offset : offset + array.size].reshape(array.shape)
    view[...] = array
    return view, buffer


@pytest.mark.parametrize("text", TEXTS)
def test_arguments_may_lie_at_any_element_and_nothing_beside_the_output_is_written(text):
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    kernel = dw.compile(spec)
    for offset in (1, 7, 31):
        moved = [placed(array, offset)[0] for array in (x, *operands)]
        out, buffer = placed(poisoned(spec), offset)
        assert kernel(*moved, out=out, threads=2) is out
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(buffer[:offset], 7)
        np.testing.assert_array_equal(buffer[offset + out.size :], 7)


@pytest.mark.parametrize("text", TEXTS)
def test_views_are_read_and_written_where_they_lie(text):
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    given = []
    for array in (x, *operands):
        spread = np.repeat(array, 2, axis=-1)[..., ::2]
        spread.flags.writeable = False
        given.append(spread)
    around = np.full((*spec.output_shape[:-1], 2 * spec.output_shape[-1]), 7, spec.dtype)
    dw.compile(spec)(*given, out=around[..., ::2])
    np.testing.assert_array_equal(around[..., ::2], expected)
    np.testing.assert_array_equal(around[..., 1::2], 7)
    for before, after in zip((x, *operands), given, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("text", TEXTS)
def test_every_number_of_threads_gives_the_same_bits(text):
    x, *operands, out = dw.random_problem(text)
    kernel = dw.compile(text)
    packed = kernel.pack(operands)
    steps.run_on_team(kernel, 1, x, packed, out)
    for threads in (2, 3):
        again = np.full_like(out, np.nan)
        steps.run_on_team(kernel, threads, x, packed, again)
        np.testing.assert_array_equal(again, out)
        np.testing.assert_array_equal(kernel(x, *operands, threads=threads), out)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_gates_behind_any_padding(guarded, mode):
    spec = dw.parse(f"inverted c3 e8 o5 h7 w9 k3 p1 {mode} relu6 se2")
    dw.compile(spec)
    guarded.check(spec)


LARGE, SMALL = "inverted c24 e144 o24 hw28 k3 p1 relu6 residual nhwc", TEXTS[3]


def test_python_threads_may_call_kernels_of_any_size_at_once():
    problems = []
    for text in (LARGE, SMALL, TEXTS[11], TEXTS[6]):
        spec = dw.parse(text)
        x, operands, expected = exact_problem(spec)
        apart = fusion.ways_of(spec)[-1].fused
        for plan in (None, fusion.plan_of_rows(spec, apart, 1, target.host())):
            problems.append((dw.compile(spec, plan).bind(*operands), x, expected))
    with ThreadPoolExecutor(4) as pool:
        waiting = [
            (pool.submit(bound, x, threads=1 + i % 3), expected)
            for i in range(40)
            for bound, x, expected in problems[:: 1 if i % 2 else -1]
        ]
        for future, expected in waiting:
            np.testing.assert_array_equal(future.result(), expected)


@pytest.mark.parametrize("text", [LARGE, "separable c24 o9 hw28 k3 p1", GATED])
def test_a_call_allocates_nothing_that_its_thread_does_not_keep(text):
    spec = dw.parse(text)
    x, *operands, out = dw.random_problem(spec)
    for way in fusion.ways_of(spec):
        if way.rejects(spec, target.host()) is None:
            plan = fusion.plan_of_rows(spec, way.fused, 4, target.host())
            bound = dw.compile(spec, plan).bind(*operands)
            bound.run(x, out, 2)
            tracemalloc.start()
            bound.run(x, out, 2)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert most < 2**12, plan


def test_a_strip_of_very_many_tiles_that_fetch_very_much():
    spec = dw.parse("separable c4 o640 h72 w512 k1 nhwc")  # tiles times lines exceed 2^31
    x, *operands, _ = dw.random_problem(spec)
    fused, apart = (
        dw.compile(spec, fusion.plan_of_rows(spec, way.fused, 72, target.host()))(x, *operands)
        for way in fusion.ways_of(spec)
    )
    np.testing.assert_array_equal(fused, apart)


BLOCKS_OF_NETWORKS = [
    "separable c64 o128 hw56 k3 p1 bias relu6/relu6 nhwc",
    "separable c1024 o1024 hw7 k3 p1 bias relu6/relu6",
    "inverted c16 e96 o24 hw112 k3 s2 p1 bias relu6 nhwc",
    "inverted c16 e96 o24 hw112 k3 s2 p1 bias relu6 n8",
    "inverted c80 e480 o112 hw14 k5 p2 bias silu nhwc",
    "inverted c160 e960 o320 hw7 k3 p1 bias relu6",
    "inverted c40 e240 o40 hw28 k5 p2 bias silu se10 nhwc",
]


@pytest.mark.parametrize("text", BLOCKS_OF_NETWORKS)
def test_the_scratch_memory_of_default_plans_fits_into_a_cores_own_cache(text):
    spec = dw.parse(text)
    plan = schedule.default_plan(spec, target.host(), team.size())
    scratch = groups.scratch_bytes(spec, plan, target.host())
    assert plan.rows == 1 or scratch <= target.host().private_cache_bytes


def test_the_memory_of_threads_that_ended_is_given_back():
    text = "inverted c8 e256 o8 h64 w64 k3 p1 nhwc"
    x, operands, _ = exact_problem(dw.parse(text))
    kernel = dw.compile(text)
    bound = kernel.bind(*operands)
    calls, most = 2**28 // kernel.scratch_bytes, 2**26
    bound(x, threads=1)
    before = resident_bytes()
    for _ in range(calls):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(bound, x, threads=1).result()
    assert resident_bytes() - before < most


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


FORK = """
import os
import numpy as np, depthwise as dw
x, *operands, _ = dw.random_problem("{text}")
bound = dw.compile("{text}").bind(*operands)
expected = bound(x, threads=2)
child = os.fork()
if child == 0:
    other = dw.random_problem("{other}")[:-1]
    fine = np.array_equal(bound(x, threads=2), expected)
    os._exit(0 if fine and np.isfinite(dw.compile("{other}")(*other)).all() else 1)
_, status = os.waitpid(child, 0)
assert np.array_equal(bound(x, threads=2), expected)
print(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_computes_too():
    code = FORK.format(text=SMALL, other=LARGE)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.parametrize("cpu", CPUS, ids=[cpu.cpu for cpu in CPUS])
@pytest.mark.parametrize(
    "text", ["inverted c9 e19 o5 h5 w7 k3 bias relu6", "pointwise c19 o35 h5 w7 nhwc relu"]
)
def test_every_cpu_has_code_with_the_vectors_of_its_own(text, cpu):
    kernel = dw.compile(text, target=cpu.cpu)
    assert not vectors_of_others(kernel.show("asm"), cpu)
    if not cpu.missing:
        x, operands, expected = exact_problem(kernel.spec)
        np.testing.assert_array_equal(kernel(x, *operands), expected)


BAD_CALLS = {
    "input shape": (0, np.ones((1, 4, 5, 4), "f4"), ArrayError, r"x has shape \(1, 4, 5, 5\)"),
    "expand type": (1, np.ones((8, 4)), DTypeError, "expand_weight .* float32; got float64"),
    "depthwise shape": (2, np.ones((4, 1, 3, 3), "f4"), ArrayError, "depthwise_weight has shape"),
    "no array": (3, [1.0], DTypeError, "project_weight is a NumPy array.*got list"),
    "bias shape": (4, np.ones(4, "f4"), ArrayError, r"expand_bias has shape \(8,\); got \(4,\)"),
    "residual": (7, np.ones((1, 4, 5, 1), "f4"), ArrayError, "residual has shape"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_refused_call_leaves_the_output_as_it_was(case):
    place, array, kind, words = BAD_CALLS[case]
    spec = dw.parse("inverted c4 e8 o4 hw5 k3 p1 bias residual")
    x, operands, _ = exact_problem(spec)
    given = [x, *operands]
    given[place] = array
    out = np.full(spec.output_shape, 7, np.float32)
    with pytest.raises(kind, match=words):
        dw.compile(spec)(*given, out=out)
    with pytest.raises(SpecError, match="threads are at least 1; got 0"):
        dw.compile(spec)(x, *operands, out=out, threads=0)
    np.testing.assert_array_equal(out, 7)
