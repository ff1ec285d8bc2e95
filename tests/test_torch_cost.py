"""The MACs of torch models, layer by layer: every count against a formula or a sum of ones."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import depthwise as dw
from depthwise.torch import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    InvertedResidual,
    PointwiseConv2d,
    SeparableConv2d,
    cost,
)
from models import Call, mobilenet, passes

CONVOLUTIONS = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}


def products(conv: nn.Module, x: torch.Tensor) -> int:
    """Return how many products a convolution sums, by summing ones, on padding too."""
    ones = copy.deepcopy(conv).requires_grad_(False)
    nn.init.ones_(ones.weight)
    ones.bias, ones.padding = None, (0,) * len(conv.padding)
    if conv.transposed:
        ones.output_padding = (0,) * len(conv.padding)
        return round(ones(torch.ones_like(x)).sum().item())
    around = [side for padding in reversed(conv.padding) for side in (padding, padding)]
    return round(ones(F.pad(torch.ones_like(x), around, value=1.0)).sum().item())


@st.composite
def convolutions(draw):
    dims = draw(st.integers(1, 3))
    transposed = draw(st.booleans())
    groups, multiplier = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 2))
    sizes = st.tuples(*[st.integers(1, 3)] * dims)
    conv = CONVOLUTIONS[dims][transposed](
        channels,
        groups * multiplier,
        draw(sizes),
        stride=draw(sizes),
        padding=draw(st.tuples(*[st.integers(0, 1)] * dims)),
        dilation=draw(sizes),
        groups=groups,
        bias=draw(st.booleans()),
    )
    return conv, torch.randn(draw(st.integers(1, 2)), channels, *[9] * dims)


@given(convolutions(), st.booleans(), st.booleans())
def test_a_convolution_and_each_of_its_gradients_cost_the_products_that_it_sums(
    case, of_input: bool, of_weight: bool
) -> None:
    conv, x = case
    conv.weight.requires_grad_(of_weight)
    x.requires_grad_(of_input)
    expected = products(conv, x)
    assert cost(conv, x).macs == expected
    if of_input or of_weight or conv.bias is not None:
        given = cost(conv, x, backward=True)
        assert passes(given) == (expected, expected * of_input, expected * of_weight)


@pytest.mark.parametrize(
    ("text", "module"),
    [
        (
            "conv n2 c6 o10 h9 w7 k3x2 s2x1 p1 d1x2 bias",
            nn.Conv2d(6, 10, (3, 2), (2, 1), 1, (1, 2)),
        ),
        ("conv n2 c6 o10 h9 w7 k3 g2", nn.Conv2d(6, 10, 3, groups=2, bias=False)),
        ("depthwise n2 c6 h9 w7 k3 p1 m2 bias", nn.Conv2d(6, 12, 3, padding=1, groups=6)),
        ("pointwise n2 c6 o10 h9 w7", nn.Conv2d(6, 10, 1, bias=False)),
    ],
    ids=str,
)
def test_a_layer_costs_what_its_problem_does(text: str, module: nn.Module) -> None:
    problem = dw.cost(text)
    given = cost(module, torch.randn(dw.parse(text).input_shape))
    assert (given.params, given.macs, given.flops) == (problem.params, problem.macs, problem.flops)


def test_the_depthwise_weight_gradient_is_not_multiplied_by_the_groups_as_torch_does() -> None:
    conv, x = nn.Conv2d(6, 6, 3, padding=1, groups=6), torch.randn(2, 6, 8, 8)
    macs = 2 * 6 * 8 * 8 * 9
    assert passes(cost(conv, x, backward=True)) == (macs, 0, macs)
    with FlopCounterMode(display=False) as torchs:
        conv(x).sum().backward()
    counts = torchs.get_flop_counts()["Global"]
    assert counts[torch.ops.aten.convolution] == 2 * macs
    assert counts[torch.ops.aten.convolution_backward] == 6 * 2 * macs


def test_gradients_that_nobody_needs_are_not_counted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(16, 5))
    x = torch.randn(1, 3, 2, 2)
    first, second, last = 4 * 12, 4 * 16, 80

    def of_layers(**options):
        result = cost(model, options.get("x", x), backward=True)
        return [passes(layer)[1:] for layer in result.layers]

    asking = x.clone().requires_grad_()
    assert of_layers() == [(0, first), (second, second), (last, last)]
    assert of_layers(x=asking) == [
        (first, first),
        (second, second),
        (last, last),
    ]
    model[1].weight.requires_grad_(False)
    assert of_layers() == [(0, first), (second, 0), (last, last)]
    model[0].requires_grad_(False)
    assert of_layers() == [(0, 0), (0, 0), (last, last)]
    model[3].requires_grad_(False)
    assert of_layers(x=asking) == [(first, 0), (second, 0), (last, 0)]


def test_branches_without_a_way_to_an_output_have_no_gradients() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused, self.cut = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            self.unused(x)
            return {"out": self.used(x), "shapes": [self.cut(x).detach()], "n": 3}

    result = cost(Branches(), torch.randn(2, 4), backward=True)
    assert [passes(layer) for layer in result.layers] == [(32, 0, 32), (32, 0, 0), (32, 0, 0)]


PRODUCTS = [
    (lambda x, w: x @ w.t(), (5, 4), 6 * 4 * 5),
    (lambda x, w: x @ w, (3, 4, 5), 3 * 6 * 4 * 5),
    (lambda x, w: torch.einsum("bij,jk->bki", x[None], w), (4, 5), 6 * 4 * 5),
    (lambda x, w: torch.addmm(torch.ones(5), x, w), (4, 5), 6 * 4 * 5),
    (lambda x, w: torch.baddbmm(torch.ones(1), x[None], w), (1, 4, 5), 6 * 4 * 5),
    (lambda x, w: torch.addbmm(torch.ones(5), x.view(2, 3, 4), w), (2, 4, 5), 6 * 4 * 5),
    (lambda x, w: F.linear(x[0], w), (5, 4), 20),
    (lambda x, w: F.linear(x.view(2, 3, 4), w, torch.ones(5)), (5, 4), 120),
    (lambda x, w: torch.zeros(6, 5).addmm_(x, w), (4, 5), 120),
]


@pytest.mark.parametrize(("function", "shape", "macs"), PRODUCTS)
def test_products_of_inputs_with_weights(function, shape, macs: int) -> None:
    x = torch.randn(6, 4, requires_grad=True)
    assert passes(cost(Call(function, w=shape), x, backward=True)) == (macs, macs, macs)


def test_products_with_vectors() -> None:
    x = torch.randn(6, 4)
    assert cost(Call(lambda x, w: x @ w, w=4), x).macs == 24
    assert cost(Call(lambda x, w: torch.addmv(w[:1], x, w), w=4), x).macs == 24
    assert cost(Call(lambda x, w: torch.dot(x[0], w), w=4), x).macs == 4


def test_a_product_of_two_inputs_has_input_gradients_alone() -> None:
    x = torch.randn(2, 6, 4, requires_grad=True)
    result = cost(Call(lambda x: x @ x.transpose(1, 2)), x, backward=True)
    assert passes(result) == (2 * 36 * 4, 2 * 2 * 36 * 4, 0)


def test_a_product_without_gradients_after_another_does_not_stand_in_for_it() -> None:
    model = Call(lambda x: x @ x.t() + torch.ones(6, 2) @ torch.ones(2, 6))
    result = cost(model, torch.randn(6, 4, requires_grad=True), backward=True)
    assert passes(result) == (6 * 6 * 4 + 6 * 6 * 2, 2 * 6 * 6 * 4, 0)


def test_a_product_of_two_weights_has_weight_gradients_alone() -> None:
    low_rank = Call(lambda x, a, b: x @ (a @ b), a=(4, 2), b=(2, 5))
    merge, apply = 4 * 2 * 5, 6 * 4 * 5
    x = torch.randn(6, 4, requires_grad=True)
    assert passes(cost(low_rank, x, backward=True)) == (merge + apply, apply, 2 * merge + apply)


def test_a_weight_that_is_computed_is_one() -> None:
    layer = parametrizations.weight_norm(nn.Linear(4, 5))
    result = cost(layer, torch.randn(6, 4, requires_grad=True), backward=True)
    assert passes(result) == (120, 120, 120)
    assert result.params == 4 * 5 + 5 + 5


@pytest.mark.parametrize("causal", [False, True])
def test_attention_costs_its_two_products(causal: bool) -> None:
    def attention(x):
        return F.scaled_dot_product_attention(x, x, x[..., :4], is_causal=causal)

    x = torch.randn(2, 3, 5, 8, requires_grad=True)
    macs = 2 * 3 * 5 * 5 * (8 + 4)
    assert passes(cost(Call(attention), x, backward=True)) == (macs, 2 * macs, 0)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_transformer_costs_the_same_where_torch_would_fuse_it(frozen: bool) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    if frozen:
        model.eval().requires_grad_(False)
    rows, attention = 2 * 5, 2 * 5 * 5 * (8 + 8)
    result = cost(model, torch.randn(2, 5, 8))
    layers = {layer.name: layer.macs for layer in result.layers if layer.macs}
    assert layers == {
        f"layers.{i}.{name}": macs
        for i in range(2)
        for name, macs in {
            "self_attn": rows * 4 * 8 * 8 + attention,
            "linear1": rows * 8 * 16,
            "linear2": rows * 16 * 8,
        }.items()
    }


@pytest.mark.parametrize(("make", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_recurrent_layers_cost_two_products_a_step(make, gates: int) -> None:
    steps, batch, inputs, hidden = 5, 2, 3, 4
    result = cost(make(inputs, hidden), torch.randn(steps, batch, inputs), backward=True)
    step = batch * gates * hidden * hidden
    macs = steps * (batch * gates * hidden * inputs + step)
    assert passes(result) == (macs, (steps - 1) * step, macs)


def test_a_layer_counts_each_time_and_a_shared_parameter_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.tied = nn.Linear(4, 4), nn.Linear(4, 4)
            self.tied.weight = self.layer.weight
            self.alias = self.layer

        def forward(self, x):
            return self.tied(self.alias(self.layer(x)))

    result = cost(Twice(), torch.randn(3, 4), backward=True)
    layer, tied = result.layers
    assert (layer.name, layer.params, *passes(layer)) == ("layer", 20, 96, 48, 96)
    assert (tied.name, tied.params, *passes(tied)) == ("tied", 4, 48, 48, 48)
    assert result.params == sum(p.numel() for p in Twice().parameters())


def test_what_a_module_computes_itself_is_its_own() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 5)

        def forward(self, x):
            return self.inner(x) @ x.new_ones(5, 7)

    result = cost(Outer(), torch.randn(3, 4), backward=True)
    layers = [(layer.name, layer.kind, layer.params, *passes(layer)) for layer in result.layers]
    assert layers == [("", "Outer", 0, 105, 105, 0), ("inner", "Linear", 25, 60, 0, 60)]


def test_what_the_hooks_of_a_module_compute_is_the_modules() -> None:
    model = nn.Sequential(nn.Linear(4, 5))
    model[0].register_forward_pre_hook(lambda _, inputs: inputs[0] @ torch.ones(4, 4))
    model[0].register_forward_hook(lambda _, __, output: output @ torch.ones(5, 2))
    (layer,) = cost(model, torch.randn(3, 4)).layers
    assert (layer.name, layer.macs) == ("0", 48 + 60 + 30)


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_recomputed_is_counted_apart(reentrant: bool) -> None:
    inside = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inside = nn.Linear(4, 4), inside

        def forward(self, x):
            return checkpoint(self.inside, self.first(x), use_reentrant=reentrant)

    result = cost(Checkpointed(), torch.randn(3, 4), backward=True)
    assert [passes(layer) for layer in result.layers] == [(48, 0, 48), (48, 48, 48), (48, 48, 48)]
    assert [layer.recomputed_macs for layer in result.layers] == [0, 48, 48]
    assert result.recomputed_macs == 96


@pytest.mark.parametrize("recorded", [False, True])
def test_functions_with_a_backward_of_their_own(recorded: bool) -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight)
            return F.conv2d(x, weight).square()

        @staticmethod
        def backward(ctx, grad):
            x, weight = ctx.saved_tensors
            if not recorded:
                grad = grad * 2 * F.conv2d(x, weight)
                of_weight = (grad.flatten(2) @ x.flatten(2).mT).sum(0)
                return F.conv2d(grad, weight.transpose(0, 1)), of_weight[..., None, None]
            with torch.enable_grad():
                leaves = x.detach().requires_grad_(), weight.detach().requires_grad_()
                again = F.conv2d(*leaves).square()
            return torch.autograd.grad(again, leaves, grad)

    square = Call(lambda x, w: Square.apply(x, w) * 2, w=(3, 2, 1, 1))
    model = nn.Sequential(nn.Conv2d(2, 2, 1), square)
    result = cost(model, torch.randn(1, 2, 4, 4), backward=True)
    assert [passes(layer) for layer in result.layers] == [(64, 0, 64), (96, 96, 96)]
    assert [layer.recomputed_macs for layer in result.layers] == [0, 96]


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 5, 1, bias=False), nn.Linear(1, 1)], ids=str)
def test_gradients_that_a_model_computes_for_its_outputs_are_forward(layer: nn.Module) -> None:
    class Force(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.energy = layer

        def forward(self, x):
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.energy(x).square().sum(), x)[0]

    x = torch.randn(2, 4, 3, 1)
    once = cost(layer, x).macs
    result = cost(Force(), x)
    assert [passes(each) for each in result.layers] == [(once, 0, 0), (once, 0, 0)]


def test_it_counts_what_torch_counts_when_it_really_runs() -> None:
    model, x = mobilenet(), torch.randn(2, 3, 32, 32)
    with FlopCounterMode(display=False) as torchs:
        model(x)
    result = cost(model, x, backward=True)
    assert result.flops == torchs.get_total_flops()
    assert result.weight_gradient_macs == result.macs
    assert result.input_gradient_macs == result.macs - result.layers[0].macs
    assert result.uncounted == {}


def torch_depthwise(channels: int, multiplier: int = 1, **options) -> nn.Conv2d:
    return nn.Conv2d(channels, channels * multiplier, 3, groups=channels, **options)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (DepthwiseConv2d(4, 4, 3, padding=1), torch_depthwise(4, padding=1)),
        (
            DepthwiseConv2d(4, 8, 3, stride=(2, 1), dilation=(1, 2)),
            torch_depthwise(4, 2, stride=(2, 1), dilation=(1, 2)),
        ),
        (
            DepthwiseConv2d(4, 4, 3, padding=1, padding_mode="reflect", bias=False),
            torch_depthwise(4, padding=1, padding_mode="reflect", bias=False),
        ),
        (PointwiseConv2d(4, 6), nn.Conv2d(4, 6, 1)),
        (
            SeparableConv2d(4, 6, 3, padding="same"),
            nn.Sequential(torch_depthwise(4, padding="same"), nn.Conv2d(4, 6, 1)),
        ),
    ],
    ids=lambda module: type(module).__name__,
)
@pytest.mark.parametrize("frozen", [(), ("input",), ("weight",)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_our_modules_cost_what_torchs_do(ours, theirs, frozen, memory_format) -> None:
    x = torch.randn(2, 4, 9, 8).contiguous(memory_format=memory_format)
    x.requires_grad_("input" not in frozen)
    costs = []
    for module in (ours, theirs):
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name.rpartition(".")[-1] not in frozen)
        costs.append(cost(module, x, backward=True))
    mine, expected = costs
    assert (mine.params, *passes(mine)) == (expected.params, *passes(expected))
    assert mine.uncounted == {}
    assert all(passes(expected)[1:]) or frozen


@pytest.mark.parametrize("causal", [False, True])
def test_our_1d_module_costs_what_torchs_does(causal: bool) -> None:
    x = torch.randn(2, 4, 9, requires_grad=True)
    macs = 2 * 4 * (9 if causal else 6) * 4
    layer = DepthwiseConv1d(4, 4, 4, padding="causal" if causal else 0)
    assert passes(cost(layer, x, backward=True)) == (macs, macs, macs)


@pytest.mark.parametrize(
    ("module", "text", "again"),
    [
        (SeparableConv2d(4, 6, 3, 2, 1), "separable n2 c4 o6 hw8 k3 s2 p1", 1152),
        (InvertedResidual(4, 4, expansion=2), "inverted n2 c4 e8 o4 hw8 k3 p1", 9216),
        (InvertedResidual(4, 6, 5, 2, expansion=1), "inverted n2 c4 o6 hw8 k5 s2 p2", 0),
    ],
    ids=str,
)
def test_a_block_computed_as_one_costs_its_problem_and_what_backward_computes_again(
    module: nn.Module, text: str, again: int
) -> None:
    problem = dw.cost(text)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    result = cost(module, x, backward=True)
    assert (result.params, *passes(result)) == (
        sum(parameter.numel() for parameter in module.parameters()),
        *[problem.macs] * 3,
    )
    assert (result.layers[0].name, result.layers[0].macs) == ("", problem.macs)
    assert (result.recomputed_macs, result.uncounted) == (again, {})
    assert cost(module, x).macs == problem.macs
