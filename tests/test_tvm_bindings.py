"""TVM is imported without torch, which works all the same when it is imported later."""

from __future__ import annotations

import pytest

from alone import run_alone

pytest.importorskip("torch")

CODE = """
import sys
import depthwise as dw

line = "depthwise c8 hw7 k3 p1 nhwc"
x, weight, _ = dw.random_problem(line)
kernel = dw.compile(line)
first = kernel(x, weight)
assert "tvm" in sys.modules
assert "torch" not in sys.modules

import torch

second = kernel(torch.from_numpy(x), torch.from_numpy(weight))
assert isinstance(second, torch.Tensor)
assert (second.numpy() == first).all()
dw.compile("depthwise c9 hw7 k3 p1 nhwc")
"""


def test_torch_comes_later():
    done = run_alone(CODE)
    assert done.returncode == 0, done.stderr
