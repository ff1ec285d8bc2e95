"""Sums, means and norms in networks, as operators and written out: kernels compute them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise.torch as dwt
from depthwise.network.steps import Stage
from onnx_models import by_runtime, called, checked, left, model, node, noise, port
from test_network_rows import C, H, L, Rows, W, kernels

pytest.importorskip("onnxruntime")


@pytest.fixture
def rows() -> Rows:
    return Rows()


def convolved(rows: Rows, x: str) -> str:
    """Return what a convolution makes, so that there is a kernel beside what follows."""
    return rows.add("Conv", x, rows.array(noise(C, C, 1, 1)))


@pytest.mark.parametrize("groups", [1, 2, C])
def test_norms_of_groups_as_torch_writes_them(rows, groups):
    """PoolFormer's: an instance norm between changes of shape, then a factor and a summand."""
    x = convolved(rows, "x")
    ones, zeros = rows.array(np.ones(groups, "f")), rows.array(np.zeros(groups, "f"))
    flat = rows.shape(x, 0, groups, -1)
    norm = rows.add("InstanceNormalization", flat, ones, zeros, epsilon=1e-3)
    back = rows.add("Reshape", norm, rows.add("Shape", x))
    scaled = rows.add("Mul", back, rows.array(noise(C, 1, 1)))
    network = rows.check(rows.add("Add", scaled, rows.array(noise(C, 1, 1))), (2, C, H, W))
    assert left(network) == []
    kinds = kernels(network)
    assert kinds == ["pointwise", "groupnorm"]
    assert network.program.stages()[1].spec.groups == groups


def test_norms_of_any_number_of_images(rows):
    x = convolved(rows, "x")
    arrays = [rows.array(noise(2)) for _ in range(2)]
    norm = rows.add("InstanceNormalization", rows.shape(x, 0, 2, -1), *arrays)
    rows.nodes.append(node("Reshape", f"{norm} {rows.add('Shape', x)}", "y"))
    made = model(rows.nodes, [port("x", ("n", C, H, W))], ["y"], rows.constants)
    for shape in ((1, C, H, W), (3, C, H, W)):
        assert kernels(checked(made, noise(*shape))) == ["pointwise", "groupnorm"]


def test_norms_of_groups_of_onnx():
    nodes = [
        node("Conv", "x k", "a"),
        node("GroupNormalization", "a w b", "y", num_groups=2, epsilon=1e-3),
    ]
    arrays = {"k": noise(C, C, 1, 1), "w": noise(C), "b": noise(C)}
    network = checked(
        model(nodes, [port("x", (2, C, H, W))], ["y"], arrays, opset=21), noise(2, C, H, W)
    )
    assert kernels(network) == ["pointwise", "groupnorm"]


def test_instance_norms(rows):
    x = convolved(rows, "x")
    norm = rows.add("InstanceNormalization", x, rows.array(noise(C)), rows.array(noise(C)))
    network = rows.check(norm, (2, C, H, W))
    assert (kernels(network), left(network)) == (["pointwise", "groupnorm"], [])


def test_norms_that_no_kernel_is_beside_are_left_to_onnx_runtime(rows):
    norm = rows.add("InstanceNormalization", "x", rows.array(noise(C)), rows.array(noise(C)))
    flat = rows.add("InstanceNormalization", rows.shape(norm, 0, 2, -1),
                    rows.array(noise(2)), rows.array(noise(2)))  # fmt: skip
    network = rows.check(rows.shape(flat, 2, C, H, W), (2, C, H, W))
    assert kernels(network) == []


def test_norms_of_sequences_are_left_to_onnx_runtime(rows):
    norm = rows.add("InstanceNormalization", "x", rows.array(noise(C)), rows.array(noise(C)))
    rows.check(norm, (2, C, L))


WRITTEN = {
    "last axis of rows": ((2, L, C), [-1], (C,), "norm"),
    "channels of images": ((2, C, H, W), [1], (C, 1, 1), "norm"),
    "pixels of images": ((2, C, H, W), [2, 3], (1, C, 1, 1), "groupnorm"),
    "all of images": ((2, C, H, W), [1, 2, 3], (C, 1, 1), "groupnorm"),
}


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("name", WRITTEN)
def test_norms_that_are_written_out(rows, name, square):
    shape, axes, each, kind = WRITTEN[name]
    x = rows.linear("x") if len(shape) == 3 else convolved(rows, "x")
    apart = rows.add("Sub", x, rows.add("ReduceMean", x, axes=axes))
    other = apart if square == "Mul" else rows.array(np.array(2, "f"))
    variance = rows.add("ReduceMean", rows.add(square, apart, other), axes=axes)
    root = rows.add("Sqrt", rows.add("Add", variance, rows.array(np.array(1e-3, "f"))))
    scaled = rows.add("Mul", rows.add("Div", apart, root), rows.array(noise(*each)))
    network = rows.check(rows.add("Add", rows.array(noise(*each)), scaled), shape)
    assert (kernels(network), left(network)) == (["pointwise", kind], [])


def test_what_is_no_norm_is_computed_as_it_is_written(rows):
    """Each differs from a norm in one thing: another mean, axes, what is divided or subtracted."""
    x, other = convolved(rows, "x"), convolved(rows, "x")
    epsilon = rows.array(np.array(1e-3, "f"))

    def written(subtracted: str, axes: list[int], divided: str | None = None) -> str:
        apart = rows.add("Sub", x, subtracted)
        squares = rows.add("Mul", apart, apart)
        variance = rows.add("ReduceMean", squares, axes=axes)
        root = rows.add("Sqrt", rows.add("Add", variance, epsilon))
        return rows.add("Div", divided or apart, root)

    mean = rows.add("ReduceMean", x, axes=[1])
    results = [
        written(rows.add("ReduceMean", other, axes=[1]), [1]), written(mean, [2, 3]),
        written(mean, [1], divided=x), written(rows.add("ReduceMax", x, axes=[1]), [1]),
    ]  # fmt: skip
    made = model(rows.nodes, [port("x", (2, C, H, W))], results, rows.constants)
    network = checked(made, noise(2, C, H, W))
    assert not {"norm", "groupnorm"} & set(kernels(network))


def test_a_norm_used_twice_keeps_its_own_weight(rows):
    norm = rows.add("InstanceNormalization", convolved(rows, "x"),
                    rows.array(noise(C)), rows.array(noise(C)))  # fmt: skip
    scaled = rows.add("Mul", norm, rows.array(noise(C, 1, 1)))
    rows.check(rows.add("Add", scaled, norm), (2, C, H, W))


@pytest.mark.parametrize("other", [(2, C, 1, 1), (W,), (H, 1), (C, H, W)])
def test_factors_of_other_shapes_are_no_weights(rows, other):
    norm = rows.add("InstanceNormalization", convolved(rows, "x"),
                    rows.array(noise(C)), rows.array(noise(C)))  # fmt: skip
    rows.check(rows.add("Mul", norm, rows.array(noise(*other))), (2, C, H, W))


def test_global_response_norm(rows):
    """ConvNeXtV2's, on (N, H, W, C): nothing goes to the engine."""
    x = rows.add("Transpose", rows.convolved("x"), perm=[0, 2, 3, 1])
    x = rows.add("Relu", rows.linear(x, C, 2 * C))
    size = rows.add("ReduceL2", x, axes=[1, 2])
    mean = rows.add("ReduceMean", size, axes=[-1])
    share = rows.add("Div", size, rows.add("Add", mean, rows.array(np.array(1e-6, "f"))))
    scaled = rows.add("Mul", rows.array(noise(1, 1, 1, 2 * C)), rows.add("Mul", x, share))
    inner = rows.add("Add", rows.add("Add", scaled, rows.array(noise(1, 1, 1, 2 * C))), x)
    result = rows.add("Transpose", rows.linear(inner, 2 * C), perm=[0, 3, 1, 2])
    network = rows.check(result, (2, C, H, W))
    assert left(network) == []
    assert {"l2", "mean"} <= set(kernels(network))


@pytest.mark.parametrize("keeps", [0, 1])
@pytest.mark.parametrize("operator", ["Mean", "Sum", "Max", "L2", "SumSquare"])
@pytest.mark.parametrize("axes", [[1], [2], [0], [0, 1]])
def test_reductions_of_rows(rows, axes, operator, keeps):
    """Over pixels, or over channels where the axis stays, they are kernels."""
    x = rows.linear("x")
    given = [x] if operator != "Sum" else [x, rows.array(np.array(axes))]
    how = {"axes": axes} if operator != "Sum" else {}
    made = rows.add(f"Reduce{operator}", *given, **how, keepdims=keeps)
    network = rows.check(made, (2, L, C))
    ours = axes == [1] or (axes == [2] and keeps)
    assert (kernels(network), bool(left(network))) == (
        ["pointwise", *[operator.lower()] * ours], not ours,
    )  # fmt: skip


def test_the_mean_of_rows_before_a_classifier(rows):
    mean = rows.add("ReduceMean", rows.norm("x"), axes=[1], keepdims=0)
    network = rows.check(rows.add("Gemm", mean, rows.array(noise(C, 5))), (2, L, C))
    assert (kernels(network), left(network)) == (["norm", "mean", "pointwise"], [])


@pytest.mark.parametrize("keeps", [0, 1])
def test_the_mean_of_planes(rows, keeps):
    """FocalNet's: rows of pixels turned to (N, C, L), whose mean is that of the pixels."""
    turned = rows.add("Transpose", rows.norm("x"), perm=[0, 2, 1])
    mean = rows.add("ReduceMean", turned, axes=[2], keepdims=keeps)
    result = rows.linear(rows.shape(mean, 0, C))
    network = rows.check(result, (2, L, C))
    assert (kernels(network), left(network)) == (["norm", "mean", "pointwise"], [])


def test_the_mean_of_an_image_as_planes(rows):
    planes = rows.shape(convolved(rows, "x"), 0, C, -1)
    network = rows.check(rows.add("ReduceMax", planes, axes=[2], keepdims=0), (2, C, H, W))
    assert (kernels(network), left(network)) == (["pointwise", "max"], [])


@pytest.mark.parametrize("keeps", [(0, 0), (1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("axes", [(2, 3), (3, 2)])
def test_means_of_rows_and_then_of_columns_are_one(rows, axes, keeps):
    """FocalNet's; but not where one axis stays and the other one goes."""
    first, second = axes
    mean = rows.add("ReduceMean", convolved(rows, "x"), axes=[first], keepdims=keeps[0])
    second -= second > first and not keeps[0]
    mean = rows.add("ReduceMean", mean, axes=[second], keepdims=keeps[1])
    network = rows.check(mean, (2, C, H, W))
    if len(set(keeps)) == 1:
        assert (kernels(network), left(network)) == (["pointwise", "mean"], [])


def test_the_root_of_a_sum_of_squares_is_a_norm_of_that_name(rows):
    x = convolved(rows, "x")
    axes = rows.array(np.array([2, 3]))
    total = rows.add("ReduceSum", rows.add("Mul", x, x), axes, keepdims=1)
    network = rows.check(rows.add("Mul", x, rows.add("Sqrt", total)), (2, C, H, W))
    assert (kernels(network), left(network)) == (["pointwise", "l2", "elementwise"], [])


def test_vectors_of_length_one_as_torch_writes_them(rows):
    """`F.normalize` of rows: the length is clipped and repeated for each channel."""
    x = rows.linear("x")
    length = rows.add("ReduceL2", x, axes=[-1])
    clipped = rows.add("Clip", length, rows.array(np.array(1e-6, "f")))
    wide = rows.add("Expand", clipped, rows.add("Shape", x))
    network = rows.check(rows.linear(rows.add("Div", x, wide)), (2, L, C))
    assert left(network) == []
    assert kernels(network) == ["pointwise", "l2", "elementwise", "elementwise", "pointwise"]


def test_rows_repeated_for_each_pixel(rows):
    """SwiftFormer's: a query of all pixels, repeated as often as there are."""
    x = rows.linear("x")
    total = rows.add("ReduceMean", x, axes=[1], keepdims=1)
    ones = rows.array(np.array([1, 1, 1]))
    wide = rows.add("Tile", rows.add("Expand", total, ones), rows.array(np.array([1, L, 1])))
    network = rows.check(rows.linear(rows.add("Mul", wide, x)), (2, L, C))
    assert (kernels(network), left(network)) == (
        ["pointwise", "mean", "elementwise", "pointwise"], [],
    )  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_numbers_of_each_channel_are_either_operand(rows, first):
    x = rows.linear("x")
    gate = rows.add("ReduceMax", x, axes=[1], keepdims=1)
    result = rows.add("Mul", *((gate, x) if first else (x, gate)))
    network = rows.check(rows.linear(result), (2, L, C))
    assert (kernels(network), left(network)) == (
        ["pointwise", "max", "elementwise", "pointwise"], [],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("other", "repeats"), [((2, 1, C), (1, 1, 1)), ((2, 1, C), (1, L, 1)), ((2, L, 1), (1, 2, C))]
)
def test_repetitions_that_are_more_than_broadcasting(rows, other, repeats):
    """The result is as wide as what is repeated, or what is repeated is not of one element."""
    wide = rows.add("Tile", "y", rows.array(np.array(repeats)))
    x = rows.add("ReduceMean", rows.linear("x"), axes=[1], keepdims=1)
    rows.check(rows.add("Mul", wide, x), (2, L, C), other, names="xy")


def test_numbers_of_pixels_that_an_engine_makes(rows):
    """They lie as the one channel of an image."""
    x = rows.linear("x")
    share = rows.add("Softmax", rows.linear("x", C, 1), axis=1)
    total = rows.add("ReduceSum", rows.add("Mul", share, x), rows.array(np.array([1])), keepdims=1)
    network = rows.check(total, (2, L, C))
    assert kernels(network)[-2:] == ["pointwise", "sum"]
    assert len(left(network)) == 1


@pytest.mark.parametrize("name", ["GlobalMaxPool", "GlobalAveragePool"])
def test_global_pools(rows, name):
    network = rows.check(rows.add(name, convolved(rows, "x")), (2, C, H, W))
    assert len(kernels(network)) == 2
    assert left(network) == []


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceL2", "ReduceMax"])
@pytest.mark.parametrize("axes", [[1], [2, 3], [0, 2], [3], [1, 2, 3], None])
def test_reductions_of_what_an_engine_makes(operator, axes):
    """Whatever becomes of them, the result is the same; some have no axes at all."""
    how = {} if axes is None else {"axes": axes}
    nodes = [node("Sin", "x", "a"), node(operator, "a", "y", **how, keepdims=0)]
    checked(model(nodes, [port("x", (2, C, H, W))], ["y"]), noise(2, C, H, W))


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_versions_in_which_axes_are_attributes_or_inputs(opset):
    nodes = [node("Sin", "x", "a")]
    for name, version in (("ReduceMean", 18), ("ReduceSum", 13), ("ReduceL2", 18)):
        taken, how = (" axes", {}) if opset >= version else ("", {"axes": [1, 2]})
        nodes.append(node(name, f"a{taken}", name, **how))
    nodes.append(node("Add", "ReduceMean ReduceSum", "y"))
    made = model(nodes, [port("x", (2, C, H, W))], ["y", "ReduceL2"],
                 {"axes": np.array([1, 2])}, opset=opset)  # fmt: skip
    checked(made, noise(2, C, H, W))


class Norms(nn.Module):
    """Convolutions with norms and reductions between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, C, 1), nn.Conv2d(C, 4, 1)
        self.group, self.instance = nn.GroupNorm(2, C), nn.InstanceNorm2d(C)
        for weight in self.group.parameters():
            nn.init.normal_(weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return an image."""
        x = self.instance(F.relu(self.group(self.first(x))))
        x = x * torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True)
        x = x / (1 + x.square().mean(1, keepdim=True)) + x.amax((2, 3), keepdim=True)
        return self.last(x + x.sum(1, keepdim=True))


def test_models_of_torch():
    network, x = Norms().eval(), torch.randn(2, 4, 6, 5)
    fast = dwt.optimize(network, x)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), network(x), rtol=1e-4, atol=1e-4)
    works = [step.work for step in fast.network.program.steps]
    assert all(isinstance(work, Stage) for work in works)
    kinds = [work.spec.kind for work in works]
    assert kinds.count("groupnorm") == 2
    assert {"l2", "meansquare", "max", "sum"} <= set(kinds)


def test_norms_of_large_numbers_are_no_worse_than_onnx_runtimes(rows):
    norm = rows.add("InstanceNormalization", convolved(rows, "x"),
                    rows.array(np.ones(C, "f")), rows.array(np.zeros(C, "f")))  # fmt: skip
    made = model(rows.nodes, [port("x", (1, C, 32, 32))], [norm],
                 rows.constants | {rows.nodes[0].input[1]: np.eye(C, dtype="f")[:, :, None, None]},
                 )  # fmt: skip
    x = noise(1, C, 32, 32) + 1000
    wide = x.astype(np.float64)
    apart = wide - wide.mean((2, 3), keepdims=True)
    exact = apart / np.sqrt((apart**2).mean((2, 3), keepdims=True) + 1e-5)
    network = checked(made, x)
    (ours,), (theirs,) = called(network, x), by_runtime(made, [x])
    assert np.abs(ours - exact).max() <= 1.5 * np.abs(theirs - exact).max()
