"""Quantized convolutions: every number as the oracle has it, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthwise as dw
from depthwise.errors import DTypeError, SpecError
from depthwise.machine.target import named
from depthwise.problem.reference import forward
from depthwise.problem.spec import ConvSpec

_CPUS = (None, "haswell", "skylake-avx512", "nehalem")
CPUS = tuple(cpu for cpu in _CPUS if not named(cpu).missing)
"""Whose instructions differ, of those whose code runs here: this one's, pairs in 256 and in 512
bits, and none.  (A skip would end a test that draws them.)"""


def arrays_of(spec: ConvSpec, seed: int, extreme: bool) -> list[np.ndarray]:
    """Return random arrays; where they are extreme, of inputs and weights at their bounds."""
    *arrays, _ = dw.random_problem(spec, seed)
    if extreme:
        rng = np.random.default_rng(seed)
        least, most = spec.element.range
        for name, bounds in (("x", (least, most)), ("weight", (-128, 127))):
            array = arrays[spec.array_names.index(name)]
            array[...] = rng.choice(bounds, array.shape) if seed % 2 else max(bounds, key=abs)
    return arrays


def check(spec: ConvSpec, arrays: list[np.ndarray], cpu: str | None, threads: int = 1) -> None:
    kernel = dw.compile(spec, target=cpu, threads=threads)
    np.testing.assert_array_equal(kernel(*arrays, threads=threads), forward(spec, *arrays))


@st.composite
def products(draw: st.DrawFn) -> ConvSpec:
    number = st.integers(1, 40)
    fields = {
        "layout": "NHWC",
        "dtype": draw(st.sampled_from(("uint8", "int8"))),
        "bias": draw(st.booleans()),
        draw(st.sampled_from(("table", "real"))): draw(st.booleans()),
        "batch": draw(st.integers(1, 2)),
    }
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    channels, out_channels = draw(number), draw(number)
    if draw(st.booleans()):
        residual = not fields.get("real") and draw(st.booleans())
        return ConvSpec.pointwise(channels, out_channels, size, residual=residual, **fields)
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return ConvSpec.conv(
        channels, out_channels, size, kernel, padding=max(kernel) // 2,
        stride=draw(st.integers(1, 2)), dilation=1, **fields,
    )  # fmt: skip


@given(products(), st.integers(0, 99), st.booleans(), st.sampled_from(CPUS))
def test_products_are_exact(spec: ConvSpec, seed: int, extreme: bool, cpu: str | None) -> None:
    check(spec, arrays_of(spec, seed, extreme), cpu)


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(
    "line",
    [
        "pointwise c64 o96 hw28 nhwc uint8 bias",
        "conv c3 o32 hw33 k3 s2 p0,1,0,1 nhwc uint8 bias table",
        "conv c5 o16 hw9 k3 p2 d2 nhwc int8",
        "pointwise c24 o70 hw9 nhwc uint8 bias table residual",
        "pointwise c24 o64 hw9 nhwc int8 bias table",
        "conv c8 o20 h9 w12 k5 p2 nhwc int8 reflect bias",
    ],
)
def test_products_are_exact_on_two_threads(line: str, cpu: str | None) -> None:
    spec = dw.parse(line)
    assert isinstance(spec, ConvSpec)
    assert str(spec) == line
    check(spec, arrays_of(spec, 1, extreme=False), cpu, threads=2)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_scales_of_every_size_round_and_clip_right(scale: float) -> None:
    spec = ConvSpec.pointwise(40, 24, 5, layout="NHWC", dtype="uint8", bias=True)
    arrays = arrays_of(spec, 3, extreme=False)
    arrays[spec.array_names.index("scale")][...] = scale
    check(spec, arrays, None)


@pytest.mark.parametrize("zero", [0, 1, 127, 128, 254, 255])
def test_padding_stands_for_zero_whatever_the_zero_point(zero: int) -> None:
    spec = ConvSpec.conv(4, 8, 6, 3, padding=1, layout="NHWC", dtype="uint8")
    arrays = arrays_of(spec, 4, extreme=False)
    arrays[spec.array_names.index("zeros")][0] = zero
    check(spec, arrays, None)
    check(spec, arrays, "haswell")


def test_operands_are_of_types_of_their_own() -> None:
    spec = ConvSpec.pointwise(4, 8, 5, layout="NHWC", dtype="uint8")
    arrays = arrays_of(spec, 5, extreme=False)
    with pytest.raises(DTypeError, match="scale has the problem's dtype float32; got float64"):
        dw.compile(spec)(*[a.astype("float64") if a.dtype == "float32" else a for a in arrays])


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("pointwise c4 o8 hw5 uint8", "quantized convolutions are channels-last; got NCHW"),
        ("pointwise c4 o8 hw5 nhwc uint8 relu", "a table stands for the activation"),
        ("pointwise c4 o8 hw5 nhwc table", "table with dtype 'float32'"),
        ("pointwise c4 o8 hw5 nhwc real", "real with dtype 'float32'"),
        ("pointwise c4 o8 hw5 nhwc uint8 real residual", "real results with a table or a residual"),
        ("conv c8192 o8 hw9 k3 nhwc int8", "at most 65536 products; got 73728"),
        ("separable c4 o8 hw9 k3 nhwc int8", "the parts of a block are of real numbers"),
        ("input_gradient depthwise c4 hw9 k3 nhwc int8", "gradients are those of real numbers"),
    ],
)
def test_what_cannot_exist_is_refused(line: str, rule: str) -> None:
    with pytest.raises(SpecError, match=rule):
        dw.parse(line)
