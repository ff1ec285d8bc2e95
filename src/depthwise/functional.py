"""The NumPy face: one call, compiled at first use for these shapes, remembered afterwards.

Arrays are NumPy's or DLPack tensors on the CPU (a torch tensor comes back as a torch tensor),
float32 or float64.  NCHW is (N, C, H, W), NHWC is (N, H, W, C); the batch axis may be left out.  An
NCHW array whose memory is channels-last, as torch's channels_last, is computed in place as NHWC.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from depthwise.arrays import DTYPE_NAMES, Array, as_numpy, like
from depthwise.block import BlockSpec, Spec
from depthwise.compiler import compile as compile_kernel
from depthwise.errors import ArrayError
from depthwise.spec import ConvSpec
from depthwise.values import word
from depthwise.vocabulary import Activation, Padding, Pair

_LAYOUTS = ("NCHW", "NHWC")


def depthwise_conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    activation: Activation | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convolve each channel with filters of its own.

    Equivalent to `activation(F.conv2d(x, weight, bias, stride, padding, dilation, groups=C))`.

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        weight: (C * multiplier, 1, KH, KW), whatever the layout.
        bias: (C * multiplier,) or None.
        stride: distance between outputs, one number or (height, width).
        padding: one number, (height, width), ((top, bottom), (left, right)), "valid" or "same"
            (TensorFlow's rule).
        dilation: distance between taps, one number or (height, width).
        padding_mode: zeros, reflect, replicate or circular.
        layout: "NCHW" or "NHWC", of `x` and of the result.
        activation: None or one of `depthwise.vocabulary.ACTIVATIONS`.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is OMP_NUM_THREADS or all cores.

    Returns:
        (N, C * multiplier, OH, OW) or (N, OH, OW, C * multiplier), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is neither float32 nor float64, or not an array.
    """
    source = _Image(x, layout)
    out_channels, taps = _weight_axes(weight, "weight", rank=4)
    if out_channels % source.channels:
        raise ArrayError(
            f"weight has shape (C * multiplier, 1, KH, KW) with C = {source.channels}; "
            f"got {tuple(weight.shape)}"
        )
    spec = _depthwise_spec(
        **source.fields, out_channels=out_channels, kernel=taps, bias=bias is not None,
        activation=activation, padding_mode=padding_mode, stride=_hashable(stride),
        padding=_hashable(padding), dilation=_hashable(dilation),
    )  # fmt: skip
    return source.compute(spec, [weight, bias], out, threads)


def pointwise_conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    layout: str = "NCHW",
    activation: Activation | None = None,
    residual: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Mix the channels of each pixel: a 1x1 convolution.

    Equivalent to `activation(F.conv2d(x, weight[:, :, None, None], bias)) + residual`.

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        weight: (O, C) or (O, C, 1, 1), whatever the layout.
        bias: (O,) or None.
        layout: "NCHW" or "NHWC", of `x`, of the residual and of the result.
        activation: None or one of `depthwise.vocabulary.ACTIVATIONS`.
        residual: an array of the result's shape, added after the activation; True is `x` itself.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is OMP_NUM_THREADS or all cores.

    Returns:
        (N, O, H, W) or (N, H, W, O), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is neither float32 nor float64, or not an array.
    """
    source = _Image(x, layout)
    out_channels, _ = _weight_axes(weight, "weight", rank=(2, 4))
    spec = _pointwise_spec(
        **source.fields, out_channels=out_channels, bias=bias is not None, activation=activation,
        residual=_is_given(residual),
    )  # fmt: skip
    return source.compute(spec, [weight, bias], out, threads, residual)


def separable_conv2d(
    x: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    depthwise_bias: Any = None,
    pointwise_bias: Any = None,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    depthwise_activation: Activation | None = None,
    activation: Activation | None = None,
    residual: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convolve each channel with filters of its own, then mix the channels of each pixel.

    Equivalent to `F.conv2d(act(F.conv2d(x, depthwise_weight, depthwise_bias, stride, padding,
    dilation, groups=C)), pointwise_weight, pointwise_bias)`, then activation and residual.

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        depthwise_weight: (C * multiplier, 1, KH, KW), whatever the layout.
        pointwise_weight: (O, C * multiplier) or (O, C * multiplier, 1, 1).
        depthwise_bias: (C * multiplier,) or None.
        pointwise_bias: (O,) or None.
        stride: of the depthwise convolution; see `depthwise_conv2d`.
        padding: of the depthwise convolution; see `depthwise_conv2d`.
        dilation: of the depthwise convolution; see `depthwise_conv2d`.
        padding_mode: zeros, reflect, replicate or circular.
        layout: "NCHW" or "NHWC", of `x`, of the residual and of the result.
        depthwise_activation: between the two convolutions.
        activation: after the pointwise convolution.
        residual: an array of the result's shape, added after the activation; True is `x` itself.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is OMP_NUM_THREADS or all cores.

    Returns:
        (N, O, OH, OW) or (N, OH, OW, O), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is neither float32 nor float64, or not an array.
    """
    source = _Image(x, layout)
    between, taps = _weight_axes(depthwise_weight, "depthwise_weight", rank=4)
    out_channels, _ = _weight_axes(pointwise_weight, "pointwise_weight", rank=(2, 4))
    if between % source.channels:
        raise ArrayError(
            f"depthwise_weight has shape (C * multiplier, 1, KH, KW) with C = {source.channels}; "
            f"got {tuple(depthwise_weight.shape)}"
        )
    spec = _separable_spec(
        **source.fields, between=between, out_channels=out_channels, kernel=taps,
        depthwise_bias=depthwise_bias is not None, pointwise_bias=pointwise_bias is not None,
        depthwise_activation=depthwise_activation, activation=activation,
        padding_mode=padding_mode, residual=_is_given(residual), stride=_hashable(stride),
        padding=_hashable(padding), dilation=_hashable(dilation),
    )  # fmt: skip
    weights = [depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias]
    return source.compute(spec, weights, out, threads, residual)


class _Image:
    """The input of a call: its sizes, and how to get from it to contiguous memory and back."""

    def __init__(self, x: Any, layout: str) -> None:
        word("layout", layout, _LAYOUTS)
        view = as_numpy(x, "x")
        if view.ndim not in (3, 4) or 0 in view.shape:
            raise ArrayError(
                f"x has 4 axes, or 3 without a batch, none empty; got shape {view.shape}"
            )
        self.given, self.batched, self.layout = x, view.ndim == 4, layout
        array = view if self.batched else view[None]
        self.transposed = layout == "NCHW" and _is_channels_last_memory(array)
        self.array = self._to_memory_order(array)
        n, *sizes = self.array.shape
        channels_last = layout == "NHWC" or self.transposed
        height, width, channels = sizes if channels_last else (*sizes[1:], sizes[0])
        self.channels = channels
        self.fields: dict[str, Any] = {
            "batch": n, "channels": channels, "size": (height, width),
            "layout": "NHWC" if channels_last else "NCHW", "dtype": DTYPE_NAMES[view.dtype],
        }  # fmt: skip

    def compute(
        self, spec: Spec, weights: list[Any], out: Any, threads: int | None, residual: Any = None
    ) -> Any:
        """Run the kernel of `spec` and return the result as the caller's layout and kind."""
        operands = [array for array in weights if array is not None]
        if _is_given(residual):
            operands.append(self.array if residual is True else self._image(residual, "residual"))
        kernel = compile_kernel(spec).bind(*operands)
        if out is None:
            return like(self.given)(self._from_memory_order(kernel(self.array, threads=threads)))
        kernel(self.array, out=self._image(out, "out"), threads=threads)
        return out

    def _image(self, array: Any, name: str) -> Array:
        view = as_numpy(array, name)
        if view.ndim != 3 + self.batched:
            raise ArrayError(f"{name} has as many axes as x; got shape {view.shape}")
        return self._to_memory_order(view if self.batched else view[None])

    def _to_memory_order(self, array: Array) -> Array:
        return array.transpose(0, 2, 3, 1) if self.transposed else array

    def _from_memory_order(self, array: Array) -> Array:
        ordered = array.transpose(0, 3, 1, 2) if self.transposed else array
        return ordered if self.batched else ordered[0]


def _is_channels_last_memory(array: Array) -> bool:
    return not array.flags.c_contiguous and array.transpose(0, 2, 3, 1).flags.c_contiguous


def _weight_axes(weight: Any, name: str, rank: int | tuple[int, ...]) -> tuple[int, Pair]:
    """Return the output channels and (KH, KW) of a weight."""
    shape = as_numpy(weight, name).shape
    allowed = rank if isinstance(rank, tuple) else (rank,)
    if len(shape) not in allowed or 0 in shape:
        raise ArrayError(
            f"{name} has {' or '.join(map(str, allowed))} axes, none empty; got {shape}"
        )
    return shape[0], (shape[-2], shape[-1])


def _is_given(residual: Any) -> bool:
    return residual is not None and residual is not False


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


def _remembered(make: Callable[..., Any]) -> Callable[..., Any]:
    """Remember specifications by their fields; arguments that cannot be hashed are refused."""
    remember = lru_cache(maxsize=4096)(make)

    def spec_of(**fields: Any) -> Any:
        try:
            return remember(**fields)
        except TypeError:
            return make(**fields)

    return spec_of


@_remembered
def _depthwise_spec(channels: int, size: Pair, out_channels: int, **fields: Any) -> ConvSpec:
    return ConvSpec.depthwise(channels, size, multiplier=out_channels // channels, **fields)


@_remembered
def _pointwise_spec(channels: int, size: Pair, out_channels: int, **fields: Any) -> ConvSpec:
    return ConvSpec.pointwise(channels, out_channels, size, **fields)


@_remembered
def _separable_spec(
    channels: int, size: Pair, between: int, out_channels: int, **fields: Any
) -> BlockSpec:
    return BlockSpec.separable(
        channels, out_channels, size, multiplier=between // channels, **fields
    )
