"""What a convolution and its gradients share: its taps, and the pixels that each of them meets.

Every kind of convolution is one with G groups: (N, G, C / G, H, W) goes to (N, G, O / G, P, Q).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from depthwise.problem.oracle.planes import Array
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair

_PAD_MODES: dict[str, Literal["constant", "reflect", "edge", "wrap"]] = {
    "zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip


def windows(spec: ConvSpec) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """Yield each tap with the places in the padded input that it meets, one for each output."""
    (kh, kw), (sh, sw), (dh, dw) = spec.kernel, spec.stride, spec.dilation
    for r in range(kh):
        for s in range(kw):
            rows = slice(r * dh, r * dh + (spec.out_height - 1) * sh + 1, sh)
            columns = slice(s * dw, s * dw + (spec.out_width - 1) * sw + 1, sw)
            yield r, s, (..., rows, columns)


def padded(spec: ConvSpec, image: Array) -> Array:
    """Return (N, C, H, W) with the padding of the convolution around each plane."""
    return np.pad(image, ((0, 0), (0, 0), *spec.padding), mode=_PAD_MODES[spec.padding_mode])


def padding_matrix(spec: ConvSpec, size: int, sides: Pair) -> Array:
    """Return the matrix by which padding along one axis is a product: (padded size, size)."""
    return np.pad(np.eye(size), (sides, (0, 0)), mode=_PAD_MODES[spec.padding_mode])


def grouped(spec: ConvSpec, image: Array) -> Array:
    """View (N, C, H, W) as (N, G, C / G, H, W)."""
    n, c, h, w = image.shape
    return image.reshape(n, spec.groups, c // spec.groups, h, w)


def taps(spec: ConvSpec, weight: Array) -> Array:
    """View the weight of any kind as (G, O / G, C / G, KH, KW)."""
    g = spec.groups
    return weight.reshape(g, spec.out_channels // g, spec.channels // g, *spec.kernel)


def summed(subscripts: str, a: Array, b: Array) -> Array:
    """Return the sums of products that `numpy.einsum` has for these subscripts."""
    return np.asarray(np.einsum(subscripts, a, b, optimize=True))
