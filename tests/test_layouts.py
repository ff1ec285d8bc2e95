"""NCHW to NCHW[x]c and back."""

import numpy as np
import pytest
import torch

import depthwise as dw
from depthwise.errors import ArrayError, SpecError


@pytest.mark.parametrize(("channels", "block"), [(1, 1), (5, 8), (8, 8), (9, 8), (16, 4), (7, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packing_gathers_channels_and_comes_undone(channels, block, dtype):
    x = np.arange(2 * channels * 3 * 5, dtype=dtype).reshape(2, channels, 3, 5) + 1
    packed = dw.pack_nchwc(x, block)
    assert packed.shape == (2, -(-channels // block), 3, 5, block)
    assert packed.dtype == x.dtype
    for c in range(channels):
        assert np.array_equal(packed[:, c // block, :, :, c % block], x[:, c])
    assert np.count_nonzero(packed) == x.size, "beyond the last channel there are zeros"
    assert np.array_equal(dw.unpack_nchwc(packed, channels), x)


def test_a_torch_tensor_stays_one():
    x = torch.randn(1, 6, 2, 2)
    packed = dw.pack_nchwc(x, 4)
    assert isinstance(packed, torch.Tensor)
    assert torch.equal(dw.unpack_nchwc(packed, 6), x)


@pytest.mark.parametrize(
    ("shape", "block"), [((2, 3, 4), 8), ((1, 2, 3, 4, 5), 8), ((1, 2, 3, 4), 0)]
)
def test_packing_refuses_other_ranks_and_empty_blocks(shape, block):
    with pytest.raises(ArrayError, match="x has 4 axes and the block is at least 1"):
        dw.pack_nchwc(np.zeros(shape, "float32"), block)


def test_a_block_is_a_whole_number():
    with pytest.raises(SpecError, match="block is a whole number"):
        dw.pack_nchwc(np.zeros((1, 2, 3, 4), "float32"), 2.5)


@pytest.mark.parametrize(
    ("shape", "channels"), [((1, 2, 3, 4), 6), ((1, 2, 3, 4, 4), 9), ((1, 2, 3, 4, 4), 0)]
)
def test_unpacking_refuses_what_has_other_blocks(shape, channels):
    with pytest.raises(ArrayError, match=r"y is \(N, ceil\(C / c\), H, W, c\)"):
        dw.unpack_nchwc(np.zeros(shape, "float32"), channels)
