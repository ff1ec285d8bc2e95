"""Convolutions, products and pools of TFLite as ONNX has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.errors import ModelError
from depthwise.problem.spec import resolve_padding
from depthwise.problem.vocabulary import Pair
from depthwise.tflite.translation import Site, Translate

_SAME, _VALID = 0, 1
"""The schema's numbers of paddings."""
_LARGEST = 2**20
"""No window, step or padding is larger: numbers beyond it are none that somebody meant."""


def _convolution(site: Site) -> None:
    """Write a convolution, whose weights are (O, KH, KW, C/groups)."""
    taps, groups = _taps(site, 1), 0
    *_, channels = _image(site)
    outputs, *_, inner = site.tensor(1).shape
    if inner and channels % inner == 0:
        groups = channels // inner
    if not groups or outputs % groups:
        raise ModelError(
            f"a convolution takes images (N, H, W, C) and weights (O, KH, KW, C/groups); got "
            f"{site.tensor().shape} and {site.tensor(1).shape}"
        )
    _convolve(site, (0, 3, 1, 2), taps, groups)


def _depthwise(site: Site) -> None:
    """Write a depthwise convolution, whose weights are (1, KH, KW, C * multiplier)."""
    taps = _taps(site, 1)
    *_, channels = _image(site)
    first, *_, outputs = site.tensor(1).shape
    if first != 1 or not channels or outputs % channels:
        raise ModelError(
            f"a depthwise convolution takes images (N, H, W, C) and weights (1, KH, KW, C * "
            f"multiplier); got {site.tensor().shape} and {site.tensor(1).shape}"
        )
    _convolve(site, (3, 0, 1, 2), taps, channels)


def _convolve(site: Site, order: tuple[int, ...], taps: Pair, groups: int) -> None:
    dilation = site.option("DilationHFactor", 1), site.option("DilationWFactor", 1)
    window = _window(site, taps, dilation)
    given = site.x(form="image"), site.weight(1, order), *site.bias(2)
    made = site.add("Conv", *given, kernel_shape=taps, dilations=dilation, group=groups, **window)
    site.give(made, "image")


def _window(site: Site, taps: Pair, dilation: Pair) -> dict[str, object]:
    """Return the step and the padding of a window, having seen that the output is as it says.

    Where a side of an image may be any, the padding follows from it.
    """
    stride = site.option("StrideH"), site.option("StrideW")
    for name, pair in (("taps", taps), ("strides", stride), ("dilations", dilation)):
        if not 1 <= min(pair) <= max(pair) <= _LARGEST:
            raise ModelError(f"{name} are 1 to {_LARGEST}; got {pair}")
    tensor, same = site.tensor(), _is_same(site)
    size = (tensor.shape[1], tensor.shape[2])
    pads = resolve_padding("same" if same else "valid", size, taps, stride, dilation)
    sides = [
        (each + sum(pad) - step_in * (count - 1) - 1) // step + 1
        for each, pad, count, step, step_in in zip(size, pads, taps, stride, dilation, strict=True)
    ]
    batch, channels = tensor.shape[0], site.output().shape[-1]
    if min(sides) < 1:
        raise ModelError(f"a window lies on its image; got taps {taps} on {size}")
    site.check_makes(batch, *sides, channels)
    if same and -1 in tensor.sizes[1:3]:
        return {"strides": stride, "auto_pad": "SAME_UPPER"}
    (top, bottom), (left, right) = pads
    return {"strides": stride, "pads": (top, left, bottom, right)}


def _is_same(site: Site) -> bool:
    padding = site.option("Padding")
    if padding not in (_SAME, _VALID):
        raise ModelError(f"a padding is SAME or VALID; got number {padding}")
    return bool(padding == _SAME)


def _image(site: Site, position: int = 0) -> tuple[int, ...]:
    shape = site.tensor(position).shape
    if len(shape) != 4 or len(site.output().shape) != 4:
        raise ModelError(f"an image is (N, H, W, C); got {shape} and {site.output().shape}")
    return shape


def _taps(site: Site, position: int) -> Pair:
    shape = site.tensor(position).shape
    if len(shape) != 4:
        raise ModelError(f"weights have four axes; got {shape}")
    return shape[1], shape[2]


def _transposed(site: Site) -> None:
    """Write a transposed convolution of (size of the result, weights (O, KH, KW, C), image)."""
    taps, (_, *before, channels) = _taps(site, 1), _image(site, 2)
    stride = site.option("StrideH"), site.option("StrideW")
    outputs, *_, inner = site.tensor(1).shape
    if inner != channels or site.output().shape[-1] != outputs:
        raise ModelError(
            f"a transposed convolution takes weights (O, KH, KW, C) and images (N, H, W, C); got "
            f"{site.tensor(1).shape} and {site.tensor(2).shape}"
        )
    if -1 in site.tensor(2).sizes[1:3]:
        raise ModelError("a transposed convolution takes images of known sizes")
    if not 1 <= min(*taps, *stride) <= max(*taps, *stride) <= _LARGEST:
        raise ModelError(f"taps and strides are 1 to {_LARGEST}; got {taps} and {stride}")
    begins, ends, more = [], [], []
    after = site.output().shape[1:3]
    for count, step, size, wanted in zip(taps, stride, before, after, strict=True):
        left_out = (size - 1) * step + count - wanted
        first = max(left_out, 0) // 2 if _is_same(site) else 0
        begins.append(first)
        ends.append(max(left_out - first, 0))
        more.append(max(first - left_out, 0))
    made = site.add(
        "ConvTranspose", site.x(2, "image"), site.weight(1, (3, 0, 1, 2)),
        *site.bias(3, image=2), kernel_shape=taps, strides=stride, pads=(*begins, *ends),
        output_padding=more,
    )  # fmt: skip
    site.give(made, "image")


def _linear(site: Site) -> None:
    """Write the product of rows and weights (O, I)."""
    shape = site.tensor().shape
    _, inner = site.tensor(1).shape
    if site.option("WeightsFormat", 0):
        raise ModelError("weights lie row by row; got shuffled ones")
    keeps = site.option("KeepNumDims", default=False)
    bias, flat = site.bias(2), site.x()
    if len(shape) == 2 and shape[1] == inner:
        site.give(site.add("Gemm", flat, site.weight(1, (0, 1)), *bias, transB=1))
        return
    if not keeps:
        flat = site.add("Reshape", flat, site.array([-1, inner], np.int64))
        site.give(site.add("Gemm", flat, site.weight(1, (0, 1)), *bias, transB=1))
        return
    made = site.add("MatMul", flat, site.weight(1, (1, 0)))
    site.give(site.add("Add", made, *bias) if bias else made)


def _product(site: Site) -> None:
    """Write the product of matrices, either of which may be transposed."""
    names = []
    for position, name in enumerate(("AdjX", "AdjY")):
        value, rank = site.x(position), site.rank(position)
        if site.option(name, default=False):
            order = [*range(rank - 2), rank - 1, rank - 2]
            value = site.add("Transpose", value, perm=order)
        names.append(value)
    site.give(site.add("MatMul", *names))


def _pool(site: Site) -> None:
    taps = site.option("FilterHeight"), site.option("FilterWidth")
    _image(site)
    window = _window(site, taps, (1, 1))
    x, squared = site.x(form="image"), site.kind == "L2_POOL_2D"
    if squared:
        x = site.add("Mul", x, x)
    operator = "MaxPool" if site.kind == "MAX_POOL_2D" else "AveragePool"
    made = site.add(operator, x, kernel_shape=taps, **window)
    site.give(site.add("Sqrt", made) if squared else made, "image")


TABLE: Mapping[str, Translate] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "FULLY_CONNECTED": _linear,
    "BATCH_MATMUL": _product,
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "L2_POOL_2D": _pool,
}
