"""Quantized convolutions: whole numbers q that stand for scale * (q - zero point).

For batch n, output channel o, row i and column j::

    sum[o] = bias[o] + sum over c, r, s of (x[...] - zeros[0]) * weight[o, c, r, s]
    q = clip(round(float32(sum[o]) * scale[o]) + zeros[1], bounds[0], bounds[1])
    q = table[q - least]                                                          with a table
    y = clip(round(fma(q - zeros[1], factors[0], (residual - zeros[2]) * factors[1])) + zeros[3],
             bounds[2], bounds[3])                                            with a residual

With results that are real numbers, y = float32(sum[o]) * scale[o], which has no zero point and no
bounds, and `scale[o]` is the scale of x times that of the weights of o.

Sums are int32 and exact.  `scale[o]` is the scale of x times that of the weights of o through that
of q, `factors` are the scales of q and of the residual through that of y.  Products, and the fused
multiply-add, are of float32; `round` takes halves to the even number.  Padding holds `zeros[0]`,
which stands for 0.  `least` is the smallest number of the type.  Activations that only clip,
such as ReLU and ReLU6, are the bounds; others are tables.

Source: ONNX's QLinearConv, and its QuantizeLinear and DequantizeLinear around an Add.
"""

from __future__ import annotations

MOST_PRODUCTS = 2**16
"""Of a sum: 255 * 128 * 2**16 is less than 2**31."""

_DTYPES = {
    "weight": "int8", "bias": "int32", "scale": "float32", "zeros": "int32", "bounds": "int32",
    "factors": "float32", "factor": "float32", "zero": "int32",
}  # fmt: skip


def dtype_of(name: str, dtype: str) -> str:
    """Return the name of the element type of an array beside quantized images of a type."""
    return _DTYPES.get(name, dtype)


def operands(
    channels: int, *, real: bool, table: bool, sum: bool  # noqa: A002
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Return the shapes of what a convolution has beside weight, bias and residual.

    scale (O,); zeros (2,) of x and q, or (4,) of x, q, residual and y; bounds (2,) of q, or (4,) of
    q and y; factors (2,) of q and the residual; table (256,).  Where results are real: scale, and
    zeros (1,) of x.
    """
    if real:
        return {"scale": (channels,), "zeros": (1,)}
    count = 4 if sum else 2
    shapes: dict[str, tuple[int, ...]] = {
        "scale": (channels,), "zeros": (count,), "bounds": (count,)
    }  # fmt: skip
    if sum:
        shapes["factors"] = (2,)
    if table:
        shapes["table"] = (256,)
    return shapes
