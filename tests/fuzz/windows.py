"""Strides, paddings, dilations and words of a call that are right, or are none."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

import depthwise as dw
from depthwise.errors import DepthwiseError, InternalError
from depthwise.machine import team
from fuzz.parts import Outcome

ODD = (
    0, -1, 2**20 + 1, 2**28, 2**31, 2**63, 2**70, 10**6000, True, 1.0, 1.5, float("nan"),
    float("inf"), "1", "same ", "é", "\ud800", b"1", None, (), (1,), (1, 2, 3), ((1,),), [1, [2]],
    {}, {1: 2}, object(), np.array([1, 1]), np.array(1.0), torch.ones(2), (1, 1.0), (True, 1),
    range(2), ((1, 1), (1, 1), (1, 1)), ((-1, 0), (0, 0)), lambda: 1, int, ..., 1j,
)  # fmt: skip
"""Values that mean no stride, no number of threads, no layout."""
RIGHT = {
    "stride": {1: (1, 1), 2: (2, 2), (1, 2): (1, 2), np.int64(2): (2, 2)},
    "padding": {
        0: (0, 0, 0, 0), 1: (1, 1, 1, 1), (2, 1): (2, 2, 1, 1), ((0, 2), (1, 0)): (0, 2, 1, 0),
    },
    "dilation": {1: (1, 1), 2: (2, 2)},
}  # fmt: skip
WORDS = ("layout", "activation", "padding_mode", "threads")
THREADS = (1, 3, team.MOST_THREADS, team.MOST_THREADS + 1)
NONE_MEANS = ("activation", "threads")
"""What may be None."""

X = torch.randint(-2, 3, (1, 4, 5, 6)).float()
WEIGHT = torch.randint(-2, 3, (4, 1, 3, 3)).float()


def drawn_window(rng):
    """Return arguments of a call, and stride, sides and dilation; None where one means nothing."""
    given, meant = {}, {}
    for name, right in RIGHT.items():
        if rng.random() < 0.25:
            given[name] = rng.choice(ODD)
            nothing = name == "padding" and type(given[name]) is int and given[name] == 0
            meant[name] = right[0] if nothing else None
        else:
            given[name] = rng.choice([*right])
            meant[name] = right[given[name]]
    if rng.random() < 0.3:
        word = rng.choice(WORDS)
        given[word] = rng.choice([*THREADS, *ODD] if word == "threads" else ODD)
        unset = given[word] is None and word in NONE_MEANS
        if not unset and not _counts(word, given[word]):
            meant[word] = None
    known = all(value is not None for value in meant.values())
    return given, tuple(meant[name] for name in RIGHT) if known else None


def _counts(word, value):
    """Whether a value is a number of threads."""
    return word == "threads" and type(value) is int and 0 < value <= team.MOST_THREADS


def expected(window):
    (top, bottom, left, right), (stride, _, dilation) = window[1], window
    x = functional.pad(X, (left, right, top, bottom))
    return functional.conv2d(x, WEIGHT, None, stride, 0, dilation, 4)


def attempt(rng):
    """Call a convolution or an operator with a drawn window."""
    given, window = drawn_window(rng)
    wanted = None
    if window is not None:
        try:
            wanted = expected(window)
        except RuntimeError:  # the window is larger than the image
            window = None
    operator = window is not None and rng.random() < 0.5 and not {*WORDS} & {*given}
    said = f"window {given!r:.500}" if _printable(given) else "window"
    try:
        if operator:
            name = rng.choice(["conv2d", "conv2d"])
            got = getattr(torch.ops.depthwise, name)(X, WEIGHT, None, *window)
        else:
            arrays = (X, WEIGHT) if rng.random() < 0.5 else (X.numpy(), WEIGHT.numpy())
            got = torch.as_tensor(dw.depthwise_conv2d(*arrays, **given))
    except InternalError as error:
        return Outcome("wrong", f"{said}: {error}")
    except DepthwiseError as error:
        return Outcome("wrong", f"{said}: {error}") if wanted is not None else Outcome("refused")
    if wanted is None or not torch.equal(got, wanted):
        return Outcome("wrong", f"{said}: returned {tuple(got.shape)}")
    return Outcome("right")


def _printable(given):
    try:
        repr(given)
    except ValueError:  # of integers with thousands of digits
        return False
    return True
