"""Kernels read and write nothing but their arrays, whatever lies beside them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthwise import schedule
from depthwise.machine.target import host
from exact import EXACT
from pages import place
from strategies import depthwise_specs

# One line for each way in which a border, a tail or a tile meets the end of an array.
EDGES = [
    "depthwise c1 hw1 k1",
    "depthwise c3 hw1 k3 p1",
    "depthwise c9 h5 w7 k3 p1 nhwc bias relu",
    "depthwise c17 h4 w9 k3 s2 p1 nhwc",
    "depthwise c5 h7 w9 k5 p2 float64 nhwc",
    "depthwise c7 h6 w8 k3 p1 m2 nhwc",
    "depthwise c11 h3 w5 k7 p3 nhwc",
    "depthwise c3 h5 w9 k3 p1 bias relu",
    "depthwise c3 h6 w16 k3 p1",
    "depthwise c2 h7 w7 k3 p1 float64",
    "depthwise c2 h14 w14 k3 s2 p1",
    "depthwise c2 h9 w13 k7 p3",
    "depthwise c2 h5 w11 k3 p0,2,1,0 d2 m3",
    "depthwise c3 hw4 k9 p4",
    "depthwise c2 h4 w9 k3 p1 reflect",
    "depthwise c2 h4 w9 k3 p2,1,0,2 circular",
    "depthwise c9 h4 w5 k3 p1 replicate nhwc",
    "depthwise1d c9 l17 k4 causal nlc",
    "depthwise1d c3 l17 k4 causal bias",
    "depthwise1d c2 l33 k3 s2 d3",
    "pointwise c9 o5 h2 w3 bias residual nhwc",
    "pointwise c3 o9 h2 w5 bias residual",
    "conv c4 o6 hw5 k3 g2 p1",
    # Many taps; planes that a task has on the heap.
    "depthwise c9 h18 w20 k31 p15 nhwc",
    "depthwise c3 h18 w20 k31 p15 bias",
    "depthwise c5 h40 w7 k31x5 p15,2 s2x1 nhwc float64",
    "depthwise1d c5 l99 k31 causal d2",
    "depthwise c2 h290 w301 k3 p1",
    "depthwise c2 h290 w301 k3 s2 p1 float64",
]


@settings(max_examples=30)
@given(spec=depthwise_specs(activations=EXACT), runs=st.integers(1, 3))
def test_default_plans_touch_only_their_arrays(guarded, spec, runs):
    guarded.check(spec, runs=runs)


@pytest.mark.parametrize("text", EDGES)
def test_borders_tails_and_tiles_end_where_the_arrays_end(guarded, text):
    guarded.check(text)


@settings(max_examples=15)
@given(
    depthwise_specs(size=12, kernel=5, channels=20, activations=EXACT),
    st.randoms(use_true_random=False),
)
def test_any_legal_plan_touches_only_its_arrays(guarded, spec, random):
    guarded.check(spec, random.choice(list(schedule.legal_plans(spec, host()))))


@pytest.mark.parametrize(
    ("at_end", "offset", "touch"),
    [
        (True, 12, "ctypes.string_at(at, 1)"),
        (False, -1, "ctypes.string_at(at, 1)"),
        (True, 0, "ctypes.memset(at, 1, 1)"),
    ],
    ids=["read behind the end", "read before the beginning", "write"],
)
def test_a_stray_access_ends_the_process(at_end, offset, touch):
    code = (
        "import ctypes, numpy, pages\n"
        f"p = pages.place(numpy.ones(3, 'f4'), at_end={at_end}, read_only=True)\n"
        "assert p.array.sum() == 3 and p.alone_written\n"
        f"at = p.array.ctypes.data + {offset}\n"
        f"{touch}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
    assert done.returncode == -signal.SIGSEGV


def test_bytes_written_beside_an_array_show():
    placed = place(np.ones(3, np.float32), at_end=True)
    assert placed.alone_written
    placed.beside[-1] = 0
    assert not placed.alone_written
