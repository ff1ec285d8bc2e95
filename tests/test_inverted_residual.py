"""`inverted_residual`: torch's results in either layout, and bad input refused untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.problem import reference
from depthwise.problem.block import BlockSpec, SqueezeExcite

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, dtype=np.float32)


X = normal(2, 6, 9, 11)
WEIGHTS = {
    "expand_weight": normal(10, 6), "depthwise_weight": normal(10, 1, 3, 2),
    "project_weight": normal(6, 10),
}  # fmt: skip
BIASES = {"expand_bias": normal(10), "depthwise_bias": normal(10), "project_bias": normal(6)}
GATE = normal(3, 10), normal(3), normal(10, 3), normal(10), "silu", "sigmoid"


def torchs(
    x: torch.Tensor, arrays: dict[str, Any], activation: str | None = "relu6", **window: Any
) -> torch.Tensor:
    """Compute the three convolutions of an inverted residual without the residual."""
    given = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def act(y: torch.Tensor) -> torch.Tensor:
        return getattr(F, activation)(y) if activation else y

    def part(y: torch.Tensor, name: str, **attributes: Any) -> torch.Tensor:
        weight = given[f"{name}_weight"]
        weight = weight if weight.ndim == 4 else weight[:, :, None, None]
        return F.conv2d(y, weight, given.get(f"{name}_bias"), **attributes)

    if "expand_weight" in given:
        x = act(part(x, "expand"))
    return part(act(part(x, "depthwise", groups=x.shape[1], **window)), "project")


def in_layout(array: Any, layout: str) -> Any:
    return (
        array if layout == "NCHW" else np.ascontiguousarray(np.moveaxis(np.asarray(array), 1, -1))
    )


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("window", "biases"),
    [({}, BIASES), ({"stride": (2, 1)}, {}), ({"padding": (2, 1), "dilation": (2, 1)}, BIASES),
     ({"padding": 1, "stride": 2}, {})],
)  # fmt: skip
def test_it_is_torchs_three_convolutions(layout, window, biases):
    arrays = WEIGHTS | biases
    y = dw.inverted_residual(in_layout(X, layout), layout=layout, **arrays, **window)
    close(y, in_layout(torchs(torch.from_numpy(X), arrays, **window), layout))


@pytest.mark.parametrize("activation", [None, "relu", "hardswish"])
def test_the_activation_follows_the_first_two_convolutions(activation):
    arrays = WEIGHTS | BIASES
    y = dw.inverted_residual(X, **arrays, activation=activation)
    close(y, torchs(torch.from_numpy(X), arrays, activation))


def test_without_an_expansion_it_begins_with_the_depthwise_convolution():
    arrays = {"depthwise_weight": normal(12, 1, 3, 3), "project_weight": normal(5, 12)}
    y = dw.inverted_residual(X, None, **arrays, padding=1)
    close(y, torchs(torch.from_numpy(X), arrays, padding=1))


def test_weights_may_have_the_axes_of_a_1x1_convolution():
    matrices = dw.inverted_residual(X, **WEIGHTS)
    convolutions = {
        name: weight if weight.ndim == 4 else weight[:, :, None, None]
        for name, weight in WEIGHTS.items()
    }
    assert np.array_equal(dw.inverted_residual(X, **convolutions), matrices)


SAME = {**WEIGHTS, "depthwise_weight": normal(10, 1, 3, 3), "padding": 1}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_residual_is_added_last(layout):
    x = in_layout(X, layout)
    alone = dw.inverted_residual(x, **SAME, layout=layout)
    assert np.array_equal(dw.inverted_residual(x, **SAME, layout=layout, residual=False), alone)
    other = np.full_like(x, 100)
    close(dw.inverted_residual(x, **SAME, layout=layout, residual=other), alone + 100)
    itself = dw.inverted_residual(x, **SAME, layout=layout, residual=True)
    close(itself, alone + x)
    assert np.array_equal(dw.inverted_residual(x, **SAME, layout=layout, residual=x), itself)


def test_without_a_batch_axis_there_is_none_in_the_result():
    for layout in ("NCHW", "NHWC"):
        x = in_layout(X[:1], layout)
        whole = dw.inverted_residual(x, **SAME, layout=layout, residual=True)
        alone = dw.inverted_residual(x[0], **SAME, layout=layout, residual=True)
        assert np.array_equal(alone, whole[0])


BLOCKS = {
    "separable": lambda x, **more: dw.separable_conv2d(
        x, SAME["depthwise_weight"][:6], WEIGHTS["project_weight"][:, :6], padding=1, **more
    ),
    "inverted": lambda x, **more: dw.inverted_residual(x, **SAME, **more),
}


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("residual", [False, True])
def test_a_torch_tensor_gives_one_and_keeps_its_memory_format(kind, residual):
    block, contiguous = BLOCKS[kind], torch.from_numpy(X)
    expected = torch.from_numpy(block(X, residual=residual))
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = contiguous.contiguous(memory_format=memory_format)
        y = block(x, residual=residual)
        assert isinstance(y, torch.Tensor)
        assert y.is_contiguous(memory_format=memory_format)
        close(y, expected)
        out = torch.full_like(y, torch.nan)
        assert block(x, residual=residual, out=out) is out
        assert torch.equal(out, y)
        given = x.clone() if residual else None
        assert torch.equal(block(x, residual=given), y)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_given_output_may_lie_in_any_order_and_is_written_whole(kind, layout):
    x = in_layout(X, layout)
    expected = BLOCKS[kind](x, layout=layout, residual=True)
    around = np.full((*expected.shape[:-1], 2 * expected.shape[-1]), np.nan, np.float32)
    for out in (np.full_like(expected.T, np.nan).T, around[..., ::2]):
        assert BLOCKS[kind](x, layout=layout, residual=True, out=out) is out
        assert np.array_equal(out, expected)
    assert np.isnan(around[..., 1::2]).all()


def test_new_values_of_a_weight_are_used():
    arrays = {name: array.copy() for name, array in WEIGHTS.items()}
    before = dw.inverted_residual(X, **arrays)
    arrays["project_weight"] *= 2
    close(dw.inverted_residual(X, **arrays), 2 * before)


@pytest.mark.parametrize(("layout", "arrays"), [("NCHW", {}), ("NHWC", BIASES)])
def test_a_gate_is_what_the_oracle_says(layout, arrays):
    spec = BlockSpec.inverted(
        6, 6, (9, 11), (3, 2), expanded=10, batch=2, layout=layout, activation="relu6",
        squeeze_excite=SqueezeExcite(channels=3, activation="silu"),
        **dict.fromkeys(arrays, True),
    )  # fmt: skip
    x = in_layout(X, layout)
    y = dw.inverted_residual(x, **WEIGHTS, **arrays, squeeze_excite=GATE, layout=layout)
    close(y, reference.forward(spec, x, *WEIGHTS.values(), *arrays.values(), *GATE[:4]))
    convolutions = [array if array.ndim == 1 else array[:, :, None, None] for array in GATE[:4]]
    gate = *convolutions, *GATE[4:]
    same = dw.inverted_residual(x, **WEIGHTS, **arrays, squeeze_excite=gate, layout=layout)
    assert np.array_equal(same, y)


def gate(**changed: Any) -> tuple[Any, ...]:
    names = "reduce_weight", "reduce_bias", "expand_weight", "expand_bias", "activation", "gate"
    return tuple((dict(zip(names, GATE, strict=True)) | changed).values())


REFUSED = [
    ({"x": X.tolist()}, DTypeError, "x is a NumPy array or a DLPack tensor"),
    ({"x": X[0, 0]}, ArrayError, "x has 4 axes, or 3 without a batch"),
    ({"expand_weight": normal(10, 5)}, ArrayError, r"expand_weight has shape \(10, 6\)"),
    ({"expand_weight": normal(10)}, ArrayError, "expand_weight has 2 or 4 axes"),
    ({"expand_weight": normal(4, 6)}, ArrayError, r"depthwise_weight has 4 axes.*with C = 4"),
    ({"expand_weight": None}, ArrayError, r"depthwise_weight has 4 axes.*with C = 6"),
    ({"depthwise_weight": None}, DTypeError, "depthwise_weight is a NumPy array.*NoneType"),
    ({"depthwise_weight": normal(10, 2, 3, 2)}, ArrayError, "depthwise_weight has 4 axes"),
    ({"project_weight": normal(6, 9)}, ArrayError, r"project_weight has shape \(6, 10\)"),
    ({"project_weight": WEIGHTS["project_weight"].astype("f8")}, DTypeError, "project_weight has"),
    ({"expand_bias": normal(6)}, ArrayError, r"expand_bias has shape \(10,\); got \(6,\)"),
    ({"depthwise_bias": normal(6)}, ArrayError, r"depthwise_bias has shape \(10,\)"),
    ({"project_bias": normal(10)}, ArrayError, r"project_bias has shape \(6,\)"),
    (
        {"expand_weight": None, "depthwise_weight": normal(6, 1, 3, 2),
         "project_weight": normal(6, 6), "expand_bias": normal(6)},
        SpecError, "an expand_bias needs an expansion",
    ),
    ({"stride": 0}, SpecError, "at least 1"),
    ({"padding": "full"}, SpecError, "padding"),
    ({"dilation": 9}, SpecError, "the dilated kernel fits"),
    ({"layout": "NHCW"}, SpecError, "layout is one of"),
    ({"activation": "tanh"}, SpecError, "activation is one of"),
    ({"threads": 0}, SpecError, "threads are at least 1"),
    ({"residual": True}, ArrayError, r"residual has shape \(2, 6, 7, 10\)"),
    ({"residual": X[0]}, ArrayError, "residual has as many axes as x"),
    ({"residual": 1}, DTypeError, "residual is a NumPy array .* got int"),
    ({"out": np.full((2, 6, 7, 9), 7, "f4")}, ArrayError, "out has shape"),
    ({"out": np.full((2, 6, 7, 10), 7, "f8")}, DTypeError, "out has the problem's dtype"),
    ({"squeeze_excite": 3}, SpecError, "squeeze_excite is .reduce_weight, .*; got 3"),
    ({"squeeze_excite": GATE[:4]}, SpecError, "squeeze_excite is .reduce_weight"),
    ({"squeeze_excite": gate(activation="tanh")}, SpecError, "excite activation is one of relu"),
    ({"squeeze_excite": gate(gate=None)}, SpecError, "excite gate is one of relu"),
    ({"squeeze_excite": gate(gate=["relu"])}, SpecError, "excite gate is one of relu"),
    ({"squeeze_excite": gate(reduce_bias=None)}, DTypeError, "se_reduce_bias is a NumPy array"),
    ({"squeeze_excite": gate(reduce_weight=normal(3, 6))}, ArrayError, "se_reduce_weight has sh"),
    ({"squeeze_excite": gate(expand_weight=normal(10, 2))}, ArrayError, r"\(10, 3\); got \(10, 2"),
    ({"squeeze_excite": gate(expand_bias=normal(3))}, ArrayError, "se_expand_bias has shape"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "kind", "words"), REFUSED)
def test_what_cannot_be_computed_is_refused_and_out_is_left_alone(arguments, kind, words):
    out = np.full((2, 6, 7, 10), 7, np.float32)
    call = {"x": X, "out": out, **WEIGHTS, **BIASES, **arguments}
    with pytest.raises(kind, match=words):
        dw.inverted_residual(**call)
    assert np.all(call["out"] == 7)


@pytest.mark.parametrize("kind", BLOCKS)
def test_an_output_over_the_input_is_refused(kind):
    x = X.copy()
    with pytest.raises(ArrayError, match="out shares no memory with an input"):
        BLOCKS[kind](x, residual=True, out=x)
    assert np.array_equal(x, X)
