"""Pixels that are put together or cut in networks: class tokens, rolls, encodings of positions."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch

import depthwise as dw
from depthwise.network import channels
from depthwise.network.steps import Call, Stage
from onnx_models import assert_close, by_runtime, called, checked, left, model, noise, port
from test_network_rows import C, H, L, Rows, W

pytest.importorskip("onnxruntime")


@pytest.fixture
def rows() -> Rows:
    return Rows()


def problems(network) -> list[str]:
    """Return what kernels compute, without weights' details."""
    return [str(s.work.spec) for s in network.program.steps if isinstance(s.work, Stage)]


def launched(network, *arrays) -> list[str]:
    """Return what kernels compute in a call, at the sizes of its inputs."""
    return [str(each.spec) for each in network.execution(list(arrays)).kernels().values()]


def with_token(rows: Rows, batch: int) -> str:
    """Return a block of CvT without attention: a token beside an image that is convolved."""
    image = rows.rows_of(rows.convolved("x"))
    whole = rows.add("Concat", rows.array(noise(batch, 1, C)), image, axis=1)
    x = rows.linear(whole)
    token, pixels = rows.cut(x, 1, 0, 1), rows.cut(x, 1, 1, L + 1)
    convolved = rows.rows_of(rows.convolved(rows.image_of(pixels)))
    y = rows.add("Add", rows.linear(rows.add("Concat", token, convolved, axis=1)), x)
    return rows.linear(rows.norm(rows.at(y, 0)), C, 5)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_class_token_needs_no_engine(rows, batch):
    network = rows.check(with_token(rows, batch), (batch, C, H, W))
    assert left(network) == []


def test_of_one_image_nothing_is_copied_but_the_token(rows):
    """The image is computed in its place, and cut where it lies."""
    x = noise(1, C, H, W)
    made = model(rows.nodes, [port("x", x.shape)], [with_token(rows, 1)], rows.constants)
    network = checked(made, x)
    gathers = [line for line in launched(network, x) if line.startswith("gather")]
    assert gathers == [f"gather c{C} hw1 nhwc a[0:{C}]", f"gather c{C + L * C} hw1 nhwc a[0:{C}]"]


def test_tokens_of_any_batch(rows):
    """The token is repeated for each image, which depends on the shape of the input alone."""
    token, rest = rows.array(noise(1, 1, C)), [rows.array(np.array([n])) for n in (1, C)]
    batch = rows.at(rows.add("Shape", "x"), 0, axis=0)
    sizes = rows.add("Concat", rows.shape(batch, 1), *rest, axis=0)
    repeated, image = rows.add("Expand", token, sizes), rows.rows_of(rows.convolved("x"))
    whole = rows.add("Concat", repeated, image, axis=1)
    result = rows.add("Add", rows.linear(whole), rows.array(noise(1, L + 1, C)))
    made = model(rows.nodes, [port("x", ("n", C, H, W))], [result], rows.constants)
    network = dw.load(made)
    assert len([step for step in network.report.parts if step.kind == "call"]) == 1
    for batch in (1, 3, 1):
        x = noise(batch, C, H, W)
        assert_close(called(network, x), by_runtime(made, [x]))


@pytest.mark.parametrize("batch", [1, 2])
def test_rolls_are_copies_of_ours(rows, batch):
    """Swin's: windows of a rolled image, and back."""
    x = rows.norm(rows.rows_of("x"))
    rolled = rows.rolled(rows.shape(x, batch, H, W, C), 1, 2)
    windows = rows.shape(rolled, batch, H // 2, 2, W, C)
    turned = rows.add("Transpose", windows, perm=[0, 1, 3, 2, 4])
    made = rows.linear(rows.shape(turned, -1, 2 * W, C))
    back = rows.add("Transpose", rows.shape(made, batch, H // 2, W, 2, C), perm=[0, 1, 3, 2, 4])
    again = rows.rolled(rows.shape(back, batch, H, W, C), H - 1, W - 2)
    result = rows.add("Add", rows.shape(again, batch, L, C), x)
    network = rows.check(rows.linear(result), (batch, C, H, W))
    assert left(network) == []
    assert sum(line.startswith("gather") for line in problems(network)) == 4


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3)])
def test_patches_become_pixels_with_one_copy(rows, batch, order):
    """Swin's: every second pixel of every second row, four times, side by side as channels."""
    network = rows.check(patches(rows, batch, order), (batch, 24, C))
    assert left(network) == []


def test_patches_in_another_order_are_computed_too(rows):
    rows.check(patches(rows, 1, (3, 1, 0, 2)), (1, 24, C))


def patches(rows: Rows, batch: int, order: tuple[int, ...]) -> str:
    height, width = 4, 6
    x = rows.shape(rows.linear("x"), batch, height, width, C)
    starts = [(row, column) for row in (0, 1) for column in (0, 1)]
    parts = [
        rows.cut(rows.cut(x, 1, row, height, 2), 2, column, width, 2)
        for row, column in (starts[number] for number in order)
    ]
    merged = rows.shape(rows.add("Concat", *parts, axis=-1), batch, height * width // 4, 4 * C)
    return rows.linear(rows.norm(merged, 4 * C), 4 * C, C)


def test_patches_that_are_not_all_there_are_computed_too(rows):
    x = rows.shape(rows.linear("x"), 1, 3, 4, C)
    parts = [rows.cut(x, 2, start, 4, 2) for start in (0, 0)]
    rows.check(rows.linear(rows.add("Concat", *parts, axis=-1), 2 * C), (1, 12, C))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("shape", [(1, L, C), (L, C), (1, L, 1), (L, 1)])
def test_encodings_of_positions_are_added_by_kernels(rows, batch, shape):
    image = rows.rows_of(rows.convolved("x"))
    result = rows.linear(rows.add("Add", rows.array(noise(*shape)), image))
    network = rows.check(result, (batch, C, H, W))
    assert left(network) == []


def test_more_runs_than_a_line_says_are_left_to_the_engine(rows, monkeypatch):
    monkeypatch.setattr(channels, "LONGEST", 60)
    x = rows.linear("x")
    parts = [rows.cut(x, 1, start, start + 1) for start in range(0, L, 2)]
    network = rows.check(rows.add("Concat", *parts, axis=1), (1, L, C))
    assert any("60 characters" in (step.reason or "") for step in network.program.steps)


def test_parts_of_rows_are_results_as_well(rows):
    x = rows.linear("x")
    begin, end = rows.cut(x, 1, 0, 4), rows.cut(x, 1, 4, L)
    whole = rows.add("Concat", rows.linear(end), rows.linear(begin), axis=1)
    image = noise(1, L, C)
    outputs = [begin, whole, rows.linear(whole), end]
    checked(model(rows.nodes, [port("x", image.shape)], outputs, rows.constants), image)


def test_what_is_in_two_places_is_made_in_one_of_them(rows):
    x = rows.linear("x")
    first, second = rows.linear(x), rows.norm(x)
    one = rows.add("Concat", first, second, axis=1)
    two = rows.add("Concat", second, first, one, axis=1)
    rows.check(rows.add("Add", rows.linear(two), two), (1, L, C))


def test_what_lies_in_a_row_is_concatenated_with_channels(rows):
    """Runs of channels lie in a wider image, and not where that would lie in a row itself."""
    x = rows.linear("x")
    wide = rows.add("Concat", rows.linear(x), rows.norm(x), axis=2)
    narrow = rows.cut(rows.linear(wide, 2 * C, 2 * C), 2, 3, 3 + C)
    long = rows.add("Concat", wide, rows.linear(x, C, 2 * C), axis=1)
    result = rows.add("Concat", rows.linear(long, 2 * C), rows.linear(narrow), axis=1)
    rows.check(rows.linear(result), (1, L, C))


def test_open_lengths_are_left_to_the_engine(rows):
    whole = rows.add("Concat", rows.array(noise(1, 1, C)), rows.linear("x"), axis=1)
    made = model(rows.nodes, [port("x", (1, "l", C))], [rows.linear(whole)], rows.constants)
    network = checked(made, noise(1, 9, C))
    assert len(left(network)) == 1


class Token(torch.nn.Module):
    """A class token, an encoding of positions, a roll, and the token alone at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, C, 2, 2)
        self.token = torch.nn.Parameter(torch.randn(1, 1, C))
        self.positions = torch.nn.Parameter(torch.randn(1, L + 1, C))
        self.first, self.second = torch.nn.Linear(C, C), torch.nn.Linear(C, C)
        self.norm, self.last = torch.nn.LayerNorm(C), torch.nn.Linear(C, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.patches(x).flatten(2).transpose(1, 2)
        whole = torch.cat([self.token.expand(x.shape[0], -1, -1), rows], 1) + self.positions
        whole = whole + self.first(self.norm(whole))
        token, pixels = whole.split([1, L], 1)
        image = pixels.reshape(x.shape[0], H, W, C).roll((1, -1), (1, 2))
        whole = torch.cat([token, self.second(image).reshape(x.shape[0], L, C)], 1)
        return self.last(self.norm(whole)[:, 0])


@pytest.mark.parametrize("batch", [1, 2])
def test_models_of_torch(batch):
    from depthwise.torch import optimize

    torch.manual_seed(0)
    network, x = Token().eval(), torch.randn(batch, 3, 2 * H, 2 * W)
    with torch.no_grad():
        fast = optimize(network, x)
        np.testing.assert_allclose(fast(x), network(x), rtol=1e-4, atol=1e-5)
    calls = [s.work for s in fast.network.program.steps if isinstance(s.work, Call)]
    assert [call.title for call in calls if not call.of_shapes] == []


def test_files_of_torch_in_another_batch():
    network, content = Token().eval(), io.BytesIO()
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            network, (torch.randn(1, 3, 2 * H, 2 * W),), content, dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    loaded = dw.load(content.getvalue())
    for batch in (1, 4):
        x = torch.randn(batch, 3, 2 * H, 2 * W)
        with torch.no_grad():
            wanted = network(x)
        np.testing.assert_allclose(loaded(x.numpy()), wanted, rtol=1e-4, atol=1e-5)
