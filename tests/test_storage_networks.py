"""Networks of bfloat16 and float16: computed so, kept so, and half as large."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import depthwise
import depthwise.torch as dwt
from depthwise.errors import ArrayError
from optimizing import depthwise as filters
from optimizing import images, left_to_torch, pointwise
from small_networks import SIZE, small_network

NARROW = [torch.bfloat16, torch.float16]
CASES = [
    ("mobilenet_v3_large", torch.bfloat16), ("mobilenet_v3_large", torch.float16),
    ("convnext_tiny", torch.bfloat16), ("shufflenet_v2", torch.bfloat16),
    pytest.param("edgenext_xs", torch.bfloat16, marks=pytest.mark.slow),
]  # fmt: skip
X = images(2, 3, SIZE, SIZE)


def error(result, exact):
    """Return the largest difference, relative to the largest result."""
    return float((result.double() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_networks_are_as_near_to_float64_as_torchs(name, dtype):
    model = small_network(name).to(dtype).eval()
    x = X.to(dtype)
    fast = dwt.optimize(model, x)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())
        result, own = fast(x), model(x)
    assert result.dtype == dtype
    assert error(result, exact) < max(2 * error(own, exact), torch.finfo(dtype).eps)
    kernels = [each.spec.dtype for each in fast.network.kernels()]
    assert {*kernels} == {str(dtype).removeprefix("torch.")}


def small(dtype):
    generator = torch.Generator().manual_seed(0)
    made = nn.Sequential(pointwise(3, 32), nn.ReLU6(), filters(32), nn.BatchNorm2d(32), nn.ReLU6(),
                         pointwise(32, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten())  # fmt: skip
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return made.to(dtype).eval()


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_files_are_half_as_large_and_load_as_arrays_and_tensors(dtype, tmp_path):
    x, sizes = X.to(dtype), {}
    for kind in (torch.float32, dtype):
        fast = dwt.optimize(small(kind), X.to(kind))
        file = tmp_path / f"{kind}.dw"
        fast.save(file, with_code=False)
        loaded = depthwise.load(file)
        sizes[kind] = sum(each.nbytes for each in fast.network.buffers())
    assert sizes[dtype] <= 0.6 * sizes[torch.float32]
    assert torch.equal(loaded(x), fast(x))
    array = X.numpy().astype(str(dtype).removeprefix("torch."))
    result = loaded(array)
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result.astype(np.float32), fast(x).float().numpy())


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_an_input_of_another_type_is_refused(dtype):
    fast = dwt.optimize(small(dtype), X.to(dtype))
    with pytest.raises(ArrayError, match=f"{dtype} tensor; got"):
        fast(X)


def test_what_torch_computes_stays_in_the_type_of_the_model():
    model = nn.Sequential(filters(8), nn.Hardshrink(), filters(8)).to(torch.bfloat16).eval()
    x = images(1, 8, 9, 9).to(torch.bfloat16)
    fast = dwt.optimize(model, x)
    assert left_to_torch(fast) == {"hardshrink"}
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=0.02, atol=0.02)
