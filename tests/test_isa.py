"""The same problems through the code of every instruction set that runs on this machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
from cpus import CPUS, RUNNABLE, vectors_of_others
from depthwise import compiler, schedule
from depthwise.machine import target
from exact import EXACT, check_exact, exact_problem, poisoned
from strategies import depthwise_specs

# What each instruction set does at tails, borders, strides and wide kernels.
TEXTS = [
    "depthwise c35 h9 w11 k3 p1 nhwc bias relu",
    "depthwise c7 h6 w9 k5 s2 p2 nhwc float64",
    "depthwise c20 h9 w34 k3 p1 bias relu6",
    "depthwise c5 h14 w14 k3 s2 p1",
    "depthwise c3 h9 w13 k7 p3 float64",
    "depthwise c6 h5 w7 k3 p1 m2 nhwc",
    "depthwise1d c19 l40 k4 causal nlc",
    "depthwise1d c4 l40 k4 causal",
    "conv c3 o35 h9 w11 k3 s2 p1 nhwc bias relu6",
]


@settings(max_examples=20)
@given(
    depthwise_specs(size=24, kernel=7, channels=40, activations=EXACT), st.sampled_from(RUNNABLE)
)
def test_default_plans_of_every_cpu_that_runs_here_are_exact(spec, cpu):
    check_exact(spec, cpu=cpu)


@pytest.mark.parametrize("cpu", RUNNABLE[::2])
@pytest.mark.parametrize("text", TEXTS)
def test_legal_plans_of_every_cpu_that_runs_here_are_exact(text, cpu):
    spec = dw.parse(text)
    plans = list(schedule.legal_plans(spec, target.named(cpu)))
    for plan in plans[:: max(1, len(plans) // 2)]:
        check_exact(spec, plan, cpu)


@pytest.mark.parametrize("cpu", CPUS, ids=[cpu.cpu for cpu in CPUS])
@pytest.mark.parametrize("text", TEXTS[::3])
def test_every_cpu_has_code_with_the_vectors_of_its_own(text, cpu):
    assert not vectors_of_others(dw.compile(text, target=cpu.cpu).show("asm"), cpu)


@settings(max_examples=15)
@given(
    depthwise_specs(size=24, kernel=7, channels=40, activations=EXACT),
    st.sampled_from(["sse", "avx2", "avx512", "neon"]),
)
def test_plans_for_the_vectors_and_registers_of_other_machines_are_exact_here(spec, isa):
    x, operands, expected = exact_problem(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "named", lambda _: replace(target.host(), isa=isa))
        kernel = dw.compile(spec)
    np.testing.assert_array_equal(kernel(x, *operands, out=poisoned(spec)), expected)
