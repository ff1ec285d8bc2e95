"""Calls that are interrupted by calls on the same thread, as the handler of a signal makes them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import depthwise as dw
import depthwise.torch as dwt
from depthwise.kernel import buffers
from exact import exact_problem
from optimizing import depthwise, images, pointwise, random_

PACKAGE = dw.__path__[0]
BLOCK = "inverted c8 e16 o8 hw5 k3 p1 nhwc"
SHAPE = 1, 8, 6, 6
APART = "expand depthwise project rows1 | pointwise | channels_last tc8 | pointwise"


@contextmanager
def interrupted(handler: Callable[[], Any]) -> Iterator[list[Any]]:
    """Call a handler wherever that of a signal may run: at each instruction of our Python code.

    It is not interrupted itself.  Yields its results.
    """
    results: list[Any] = []
    before = sys.gettrace()

    def trace(frame: Any, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            sys.settrace(None)
            results.append(handler())
            sys.settrace(trace)
        return trace

    sys.settrace(trace)
    try:
        yield results
    finally:
        sys.settrace(before)


@pytest.fixture(scope="module")
def fast() -> nn.Module:
    layers = depthwise(8), nn.ReLU6(), pointwise(8, 16), nn.Softmax(1), depthwise(16)
    return dwt.optimize(random_(nn.Sequential(*layers)), images(*SHAPE))


@pytest.mark.parametrize("other", [BLOCK, "inverted c8 e32 o8 hw9 k3 p1 nhwc"])
def test_a_kernel_of_several_steps(other: str) -> None:
    """The other call needs as much memory, or more."""
    x, operands, expected = exact_problem(dw.parse(BLOCK))
    y, *weights, _ = dw.random_problem(other)
    outer, inner = (dw.compile(text, APART) for text in (BLOCK, other))
    assert len(outer.buffers) == len(inner.buffers) == 2
    bound, bound_inside = outer.bind(*operands), inner.bind(*weights)
    expected_inside = bound_inside(y)
    for _ in range(2):
        with interrupted(lambda: bound_inside(y)) as inside:
            result = bound(x)
        np.testing.assert_array_equal(result, expected)
        assert len(inside) > 20
        for each in inside:
            np.testing.assert_array_equal(each, expected_inside)
    assert len(buffers._kept.free) <= 2


def test_an_optimized_network(fast: nn.Module) -> None:
    """The other call is of another image, or of a larger batch."""
    x, y, larger = images(*SHAPE), images(*SHAPE, seed=2), images(3, *SHAPE[1:])
    expected, *inside_expected = [fast(each) for each in (x, y, larger)]
    for given, wanted in zip((y, larger), inside_expected, strict=True):
        with interrupted(lambda given=given: fast(given)) as inside:
            result = fast(x)
        assert torch.equal(result, expected)
        assert len(inside) > 20
        assert all(torch.equal(each, wanted) for each in inside)


def test_calls_that_are_broken_off_anywhere(fast: nn.Module) -> None:
    x, operands, expected = exact_problem(dw.parse(BLOCK))
    bound, image = dw.compile(BLOCK, APART).bind(*operands), images(*SHAPE)
    wanted = fast(image)

    def compute() -> None:
        np.testing.assert_array_equal(bound(x), expected)
        assert torch.equal(fast(image), wanted)

    with interrupted(lambda: None) as steps:
        compute()
    for count in range(len(steps)):
        left = [KeyboardInterrupt, *[None] * count]

        def break_off(left: list[Any] = left) -> None:
            if (error := left.pop()) is not None:
                raise error

        with pytest.raises(KeyboardInterrupt), interrupted(break_off):
            compute()
        assert max(len(buffers._kept.free), len(fast._memory.free)) <= 2
    compute()
