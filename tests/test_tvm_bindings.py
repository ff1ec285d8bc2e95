"""TVM is imported without torch, which works all the same when it is imported later."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from depthwise.store import disk

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
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=os.environ | {disk.VARIABLE: ""},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
