"""Images in another size: against the oracle and torch, what they touch, what a line may say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
from depthwise.errors import ParseError, SpecError
from depthwise.problem import reference
from depthwise.problem.resizes import ResizeSpec
from onnx_models import noise
from strategies import resize_specs


@settings(max_examples=60)
@given(resize_specs(), st.integers(1, 3))
@example(dw.parse("linear n2 c17 h9 w12 to5x31 nhwc align_corners"), 2)
@example(dw.parse("linear c64 hw4 to1 nhwc align_corners float64"), 1)
@example(dw.parse("nearest c3 h1 w70 by3x1 nhwc asymmetric"), 3)
@example(dw.parse("nearest n2 c70 hw9 by2 nhwc uint8"), 2)
@example(dw.parse("nearest c3 h1 w70000 to1x70001 nhwc prefer_floor"), 3)
def test_kernels_compute_what_the_oracle_does(spec: ResizeSpec, threads: int) -> None:
    x, out = dw.random_problem(spec)
    dw.compile(spec)(x, out=out, threads=threads)
    np.testing.assert_allclose(out, reference.forward(spec, x), *reference.tolerance(spec))


@settings(max_examples=20)
@given(resize_specs(), st.integers(1, 3))
def test_kernels_touch_only_their_arrays(guarded, spec: ResizeSpec, runs: int) -> None:
    guarded.check(spec, runs=runs)


@given(resize_specs())
def test_a_line_is_read_back(spec: ResizeSpec) -> None:
    assert dw.parse(str(spec)) == spec


TORCHS = {
    "nearest asymmetric": {"mode": "nearest"},
    "nearest prefer_ceil": {"mode": "nearest-exact"},
    "linear": {"mode": "bilinear", "align_corners": False},
    "linear align_corners": {"mode": "bilinear", "align_corners": True},
}


@pytest.mark.parametrize("size", [(10, 14), (5, 21), (3, 4), (1, 1), (11, 6), (5, 7)])
@pytest.mark.parametrize("name", TORCHS)
def test_torch_computes_the_same(name: str, size: tuple[int, int]) -> None:
    kind, *words = name.split()
    x = noise(2, 24, 5, 7)
    wanted = F.interpolate(torch.from_numpy(x), size, **TORCHS[name])
    line = f"{kind} n2 c24 h5 w7 to{size[0]}x{size[1]} nhwc {' '.join(words)}"
    made = dw.compile(line)(np.ascontiguousarray(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(made, wanted.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("nearest c4 hw9 by2", ParseError, "nearest is of nhwc images"),
        ("nearest c4 hw9 nhwc", SpecError, "there is a size or a factor; got None and None"),
        ("nearest c4 hw9 by2 to18 nhwc", SpecError, "there is a size or a factor"),
        ("linear c4 hw9 by2 by3 nhwc", ParseError, "factor is given once"),
        ("linear c4 hw9 by2 nhwc ceil", SpecError, "rounding is of a nearest pixel; got ceil"),
        ("linear c4 hw9 by0 nhwc", SpecError, "sizes are at least 1; got oh=0 ow=0"),
        ("linear c4 hw9 to3x0 nhwc", SpecError, "sizes are at least 1; got ow=0"),
        ("linear c4 by2 nhwc", ParseError, "linear needs h"),
        ("linear c4 hw9 by2 k3 nhwc", ParseError, "linear has no kernel"),
        ("linear c4 hw9 by2x2x2 nhwc", ParseError, "is not a token"),
        ("linear c4 hw9 by999999999 nhwc", SpecError, "no array has more than"),
    ],
)
def test_what_is_no_resize_is_refused(line: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        dw.parse(line)


@pytest.mark.parametrize("size", [3, "ab", (1, 2, 3), (1.5, 2), (None, 2)])
def test_a_size_is_a_pair_of_whole_numbers(size: object) -> None:
    with pytest.raises(SpecError, match="size"):
        ResizeSpec(kind="linear", channels=4, height=9, width=9, size=size)  # type: ignore[arg-type]


def test_another_size_of_image_keeps_the_factor_or_the_size() -> None:
    for target in ("by2", "to8"):
        spec = dw.parse(f"nearest c4 hw4 {target} nhwc")
        other = f"nearest n3 c4 h5 w6 {target} nhwc"
        assert str(spec.resized(3, 5, 6)) == other  # type: ignore[attr-defined]


def test_cost() -> None:
    cost = dw.cost("linear c64 hw14 by2 nhwc")
    assert (cost.macs, cost.params, cost.bytes) == (0, 0, 4 * 64 * 14 * 14 * 5)
