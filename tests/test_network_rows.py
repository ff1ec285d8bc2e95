"""Rows of pixels, (N, L, C), are images: kernels compute what transformers do with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthwise.network.steps import Stage
from onnx_models import checked, left, model, node, noise, port

pytest.importorskip("onnxruntime")

C, H, W = 8, 4, 3
L = H * W


class Rows:
    """A model of rows of pixels, written node by node."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        """Add a node; return the name of what it makes."""
        made = f"v{len(self.nodes)}"
        self.nodes.append(node(operator, " ".join(inputs), made, **attributes))
        return made

    def array(self, array: np.ndarray) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = array
        return name

    def shape(self, x: str, *sizes: int) -> str:
        return self.add("Reshape", x, self.array(np.array(sizes, np.int64)))

    def rows_of(self, x: str, channels: int = C) -> str:
        return self.add("Transpose", self.shape(x, 0, channels, -1), perm=[0, 2, 1])

    def image_of(self, x: str, channels: int = C, height: int = H, width: int = W) -> str:
        planes = self.add("Transpose", x, perm=[0, 2, 1])
        return self.shape(planes, 0, channels, height, width)

    def linear(self, x: str, channels: int = C, out: int = C) -> str:
        product = self.add("MatMul", x, self.array(noise(channels, out)))
        return self.add("Add", self.array(noise(out)), product)

    def norm(self, x: str, channels: int = C) -> str:
        scale, shift = self.array(noise(channels)), self.array(noise(channels))
        return self.add("LayerNormalization", x, scale, shift, axis=-1)

    def convolved(self, x: str, channels: int = C) -> str:
        weight = self.array(noise(channels, 1, 3, 3))
        return self.add("Conv", x, weight, group=channels, pads=[1, 1, 1, 1])

    def cut(self, x: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        ends = [self.array(np.array([end])) for end in (start, stop, axis, step)]
        return self.add("Slice", x, *ends)

    def at(self, x: str, place: int, axis: int = 1) -> str:
        return self.add("Gather", x, self.array(np.array(place)), axis=axis)

    def rolled(self, x: str, rows: int, columns: int, height: int = H, width: int = W) -> str:
        """Roll (N, H, W, C) as torch's exporter writes it."""
        for axis, size, by in ((1, height, rows), (2, width, columns)):
            parts = self.cut(x, axis, by, size), self.cut(x, axis, 0, by)
            x = self.add("Concat", *parts, axis=axis)
        return x

    def check(self, result: str, *shapes: Sequence[int], names: str = "x"):
        """Hold the network of what made a value against ONNX Runtime; return it."""
        inputs = [port(name, shape) for name, shape in zip(names, shapes, strict=True)]
        made = model(self.nodes, inputs, [result], self.constants)
        return checked(made, *(noise(*shape) for shape in shapes))


def kernels(network) -> list[str]:
    return [step.work.spec.kind for step in network.program.steps if isinstance(step.work, Stage)]


@pytest.fixture
def rows() -> Rows:
    return Rows()


def test_products_and_norms_of_rows_are_kernels(rows):
    network = rows.check(rows.linear(rows.norm("x")), (2, L, C))
    assert (kernels(network), left(network)) == (["norm", "pointwise"], [])


def test_a_feed_forward_with_a_convolution_inside(rows):
    """SegFormer's: a product, a depthwise convolution, GELU, a product, and the sum with x."""
    x = rows.rows_of("x")
    inner = rows.convolved(rows.image_of(rows.linear(rows.norm(x), C, 2 * C), 2 * C), 2 * C)
    active = rows.add("Relu", rows.rows_of(inner, 2 * C))
    result = rows.add("Add", rows.linear(active, 2 * C, C), x)
    network = rows.check(rows.image_of(result), (1, C, H, W))
    assert left(network) == []
    assert kernels(network) in (["norm", "inverted"], ["norm", "pointwise", "separable"])


def test_what_an_engine_makes_is_added_as_an_image(rows):
    """Attention is left to ONNX Runtime; the sum behind it is part of the product's kernel."""
    x = rows.linear(rows.rows_of("x"))
    attention = rows.add("Softmax", rows.linear(x), axis=1)
    result = rows.add("Add", rows.linear(attention), x)
    network = rows.check(rows.image_of(result), (2, C, H, W))
    assert len(left(network)) == 1
    assert kernels(network) == ["pointwise"] * 3


def test_batch_norms_of_all_pixels_in_one_row(rows):
    """LeViT's: (N, L, C) as (N * L, C), where a batch norm is one of channels."""
    flat = rows.shape(rows.add("MatMul", "x", rows.array(noise(C, 2 * C))), -1, 2 * C)
    statistics = [rows.array(np.abs(noise(2 * C)) + 0.1) for _ in range(4)]
    result = rows.add("BatchNormalization", flat, *statistics)
    network = rows.check(rows.add("HardSwish", rows.shape(result, 2, L, 2 * C)), (2, L, C))
    assert (kernels(network), left(network)) == (["pointwise"], [])


@pytest.mark.parametrize("other", [(1, L, C), (2, 1, C), (1, 1, C), (L, C), (2, L, 1), (1,)])
def test_sums_with_fewer_elements(rows, other):
    result = rows.add("Add", rows.linear("x"), "y")
    rows.check(rows.linear(result), (2, L, C), other, names="xy")


@pytest.mark.parametrize("axes", [(2, 1, 4), (4, 4, 4), (4, 1, 4)])
def test_rows_of_an_axis_that_is_no_batch(rows, axes):
    """(H, 1, C) has the rank and the length of (N, L, C), but is a row of each image."""
    row = rows.linear("y", 4, 4)
    result = rows.add("Add", rows.linear(rows.shape("x", 4, 4, 4, 4), 4, 4), row)
    rows.check(result, (4, 16, 4), axes if axes[0] == 4 else (1, 4, 4), names="xy")


def test_rows_of_equal_length_of_other_images(rows):
    """Windows: twelve pixels of two images are as many as six of four."""
    windows = rows.linear(rows.shape(rows.linear("x"), 4, L // 2, C))
    result = rows.add("Add", rows.linear("x"), rows.shape(windows, 2, L, C))
    rows.check(result, (2, L, C))


def test_products_over_pixels(rows):
    """A mixer's: channels and pixels change places, and the product is of pixels."""
    mixed = rows.add("Transpose", rows.linear("x"), perm=[0, 2, 1])
    back = rows.add("Transpose", rows.linear(mixed, L, L), perm=[0, 2, 1])
    rows.check(rows.add("Add", back, "x"), (2, L, C))


def test_rows_are_results_and_used_inside(rows):
    x = rows.linear("x")
    inner = rows.norm(x)
    made = model(rows.nodes, [port("x", (2, L, C))], [x, inner], rows.constants)
    checked(made, noise(2, L, C))


def test_open_sizes(rows):
    inner = rows.norm(rows.rows_of(rows.convolved("x")))
    result = rows.add("Add", rows.add("Relu", rows.linear(inner)), inner)
    made = model(rows.nodes, [port("x", ("n", C, "h", "w"))], [result], rows.constants)
    network = checked(made, noise(1, C, 5, 6))
    assert left(network) == []
    checked(made, noise(2, C, 7, 3))


_STEPS = (
    "linear", "norm", "relu", "add", "mean", "image", "softmax", "windows", "mul", "heads",
    "token", "first", "parts", "roll", "position", "seconds",
)  # fmt: skip


@settings(max_examples=60)
@given(
    steps=st.lists(st.sampled_from(_STEPS), min_size=2, max_size=9),
    seed=st.integers(0, 99),
    batch=st.integers(1, 2),
)
def test_random_models_of_rows(steps, seed, batch):
    """Whatever follows whatever: the result is ONNX Runtime's."""
    draw = np.random.default_rng(seed)
    rows = Rows()
    made = [rows.rows_of("x")]
    for step in steps:
        x, other = made[-1], made[draw.integers(len(made))]
        made.append(_step(rows, step, x, other, batch))
    rows.check(rows.norm(made[-1]), (batch, C, H, W))


def _step(rows: Rows, step: str, x: str, other: str, batch: int) -> str:
    if step in ("linear", "norm"):
        return getattr(rows, step)(x)
    if step == "relu":
        return rows.add("Relu", x)
    if step == "add":
        return rows.add("Add", x, other)
    if step == "mul":
        return rows.add("Mul", x, rows.array(noise(L, 1)))
    if step == "mean":
        mean = rows.add("ReduceMean", other, axes=[1], keepdims=1)
        return rows.add("Sub", x, mean)
    if step == "image":
        return rows.rows_of(rows.convolved(rows.image_of(x)))
    if step == "softmax":
        return rows.add("Softmax", x, axis=-1)
    if step == "windows":
        windows = rows.linear(rows.shape(x, 2 * batch, L // 2, C))
        return rows.shape(windows, batch, L, C)
    if step in ("token", "first", "parts", "roll", "position", "seconds"):
        return _pixels(rows, step, x, other, batch)
    heads = rows.add("Transpose", rows.shape(x, batch, L, 2, C // 2), perm=[0, 2, 1, 3])
    scaled = rows.add("Relu", rows.linear(heads, C // 2, C // 2))
    return rows.shape(rows.add("Transpose", scaled, perm=[0, 2, 1, 3]), batch, L, C)


def _pixels(rows: Rows, step: str, x: str, other: str, batch: int) -> str:
    """Return what puts pixels together, or cuts them."""
    if step == "token":
        whole = rows.add("Concat", rows.array(noise(batch, 1, C)), x, axis=1)
        return rows.cut(rows.linear(whole), 1, 1, L + 1)
    if step == "first":
        return rows.add("Add", x, rows.shape(rows.at(other, 3), batch, 1, C))
    if step == "parts":
        begin, end = rows.cut(other, 1, 0, 5), rows.cut(x, 1, 5, L)
        return rows.add("Concat", rows.linear(end), begin, axis=1)
    if step == "seconds":
        seconds = [rows.cut(x, 1, start, L, 2) for start in (1, 0)]
        return rows.linear(rows.add("Concat", *seconds, axis=1))
    if step == "roll":
        return rows.shape(rows.rolled(rows.shape(x, batch, H, W, C), 1, 2), batch, L, C)
    return rows.add("Add", rows.array(noise(1, L, C)), x)
