"""What memory a call takes: what it grows by, and what it touches."""

from __future__ import annotations

import numpy as np

from depthwise.measure import memory

NBYTES = 64 * 2**20
LITTLE = NBYTES // 4


def test_what_is_allocated_and_freed_is_growth() -> None:
    found = memory.measure(lambda: np.ones(NBYTES, np.uint8))
    assert NBYTES - LITTLE < found.grown < NBYTES + LITTLE
    assert found.peak > found.grown


def test_what_is_kept_is_touched_and_no_growth() -> None:
    kept = np.ones(NBYTES, np.uint8)
    found = memory.measure(lambda: kept.fill(2))
    assert found.grown < LITTLE
    assert NBYTES <= found.touched < NBYTES + LITTLE


def test_what_lies_idle_is_not_touched() -> None:
    idle = np.ones(NBYTES, np.uint8)
    assert memory.measure(lambda: None).touched < LITTLE
    assert idle[0] == 1
