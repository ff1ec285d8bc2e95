"""Arrays at the border: what is viewed, what is copied, what is refused."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError
from depthwise.problem import arrays
from depthwise.problem.arrays import as_numpy, fit, like
from depthwise.problem.dtypes import ANY_REAL

SPEC = dw.parse("depthwise c2 hw3 k1")


class Foreign:
    """A tensor of another library: DLPack and nothing else."""

    def __init__(self, array, device=1):
        self.array, self.device = array, device

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **arguments):
        return self.array.__dlpack__(**arguments)


def test_tensors_are_viewed_not_copied():
    array = np.ones((2, 3), np.float32)
    for tensor in (array, torch.from_numpy(array), Foreign(array)):
        assert np.shares_memory(as_numpy(tensor, "x"), array)


@pytest.mark.parametrize("device", [2, 4, 8])
def test_memory_of_another_device_is_refused(device):
    with pytest.raises(ArrayError, match=f"x lies in CPU memory; got DLPack device type {device}"):
        as_numpy(Foreign(np.ones(3, np.float32), device), "x")
    with pytest.raises(ArrayError, match="x lies in CPU memory; got a tensor on meta"):
        as_numpy(torch.empty(3, device="meta"), "x")


@pytest.mark.parametrize(
    ("tensor", "got"),
    [
        (torch.ones(3).to(torch.float8_e5m2), r"float8_e5m2 \(use x.float\(\)\)$"),
        (torch.ones(3).cfloat().conj(), "complex64$"),
    ],
    ids=["8 bits", "conjugated"],
)
def test_tensors_that_numpy_cannot_view_are_refused(tensor, got):
    with pytest.raises(DTypeError, match=f"x has dtype {ANY_REAL}; got {got}"):
        as_numpy(tensor, "x")


def test_a_view_that_negates_what_it_reads_is_refused():
    negated = torch.ones(3, dtype=torch.cfloat).conj().imag
    with pytest.raises(ArrayError, match="resolve_neg"):
        as_numpy(negated, "x")


def test_results_are_of_the_kind_that_came_in():
    result = np.ones(3, np.float32)
    assert like(result)(result) is result
    assert like(Foreign(result))(result) is result
    assert isinstance(like(torch.ones(3))(result), torch.Tensor)
    assert like(torch.ones(3))(result).data_ptr() == result.ctypes.data


def test_what_fits_is_not_copied_and_what_is_strided_is():
    array = np.ones(SPEC.input_shape, np.float32)
    assert np.shares_memory(fit(array, "x", SPEC.input_shape, SPEC), array)
    spread = np.ones((1, 2, 3, 6), np.float32)[..., ::2]
    copy = fit(spread, "x", SPEC.input_shape, SPEC)
    assert copy.flags.c_contiguous
    assert not np.shares_memory(copy, spread)


def test_only_weights_may_have_unit_axes_at_their_end():
    column = np.ones((4, 2, 1, 1), np.float32)
    assert fit(column, "pointwise_weight", (4, 2), SPEC).shape == (4, 2)
    with pytest.raises(ArrayError, match=r"bias has shape \(4, 2\); got \(4, 2, 1, 1\)"):
        fit(column, "bias", (4, 2), SPEC)
    with pytest.raises(ArrayError, match=r"weight has shape \(4,\)"):
        fit(column, "weight", (4,), SPEC)


def test_a_torch_that_another_thread_is_importing_is_none(monkeypatch):
    monkeypatch.setattr(arrays, "_tensors", ())
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    x = np.ones(3, np.float32)
    assert not arrays.is_tensor(x)
    assert arrays.as_numpy(x, "x") is x
    assert arrays.like(x)(x) is x
