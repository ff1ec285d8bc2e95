"""What is computed of quantized images, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.oracle.planes import Array
from depthwise.problem.quantized_images import QuantizedSpec


def compute(spec: QuantizedSpec, given: Mapping[str, Array]) -> Array:
    """Return what the kind makes of its arrays; see `QuantizedSpec`.

    Operations of float32 are those of NumPy's float32; float64 has the others without rounding.
    """
    x, other = given["x"], given.get("other")
    single = {name: given[name].astype(np.float32) for name in given if name in _SINGLE}
    zeros = given.get("zeros", given.get("zero", np.zeros(1)))
    if spec.kind == "lookup":
        return np.asarray(given["table"][np.int64(x - _range(spec)[0])])
    if spec.kind == "dequantize":
        return np.asarray((x - zeros).astype(np.float32) * single["scale"], np.float64)
    if spec.kind == "quantize":
        with np.errstate(all="ignore"):
            real = x.astype(np.float32) / single["scale"]
        real[np.isnan(real)] = -np.inf
    elif spec.kind == "qmean":
        sums = (x - zeros[0]).sum(axis=(1, 2), keepdims=True)
        real = sums.astype(np.float32) * (single["scale"] / np.float32(spec.height * spec.width))
    elif other is not None and spec.kind == "qmul":
        product = (x - zeros[0]) * (other - zeros[1])
        real = product.astype(np.float32) * single["factor"]
    else:
        assert other is not None
        second = (other - zeros[1]).astype(np.float32) * single["factors"][1]
        real = ((x - zeros[0]) * given["factors"][0] + second).astype(np.float32)
    least, most = given.get("bounds", _range(spec))
    return np.asarray(np.clip(np.rint(real).astype(np.float64) + zeros[-1], least, most))


_SINGLE = ("scale", "factor", "factors")


def _range(spec: QuantizedSpec) -> tuple[int, int]:
    return (-128, 127) if spec.dtype == "int8" else (0, 255)
