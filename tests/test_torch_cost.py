"""The cost of torch models: exact counts forward and backward, and that models stay as they are."""

import contextlib
import copy
import io
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ptflops import get_model_complexity_info
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import depthwise as dw
from depthwise.errors import DTypeError, ModelError
from depthwise.torch import cost

CONVOLUTIONS = {
    1: (nn.Conv1d, nn.ConvTranspose1d),
    2: (nn.Conv2d, nn.ConvTranspose2d),
    3: (nn.Conv3d, nn.ConvTranspose3d),
}


class Call(nn.Module):
    """A model of one function; what else it is given are its parameters."""

    def __init__(self, function, **shapes) -> None:
        super().__init__()
        self.function = function
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, *inputs):
        return self.function(*inputs, **dict(self.named_parameters()))


class Bottleneck(nn.Module):
    """The block of MobileNetV2."""

    def __init__(self, channels: int, out_channels: int, stride: int, expansion: int = 2) -> None:
        super().__init__()
        wide = channels * expansion
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        Bottleneck(8, 8, 1),
        Bottleneck(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16, 10),
    )


def passes(result) -> tuple[int, int, int]:
    return result.macs, result.input_gradient_macs, result.weight_gradient_macs


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


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_recomputed_counts_as_forward_again(reentrant: bool) -> None:
    inside = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.inside = nn.Linear(4, 4), inside

        def forward(self, x):
            return checkpoint(self.inside, self.first(x), use_reentrant=reentrant)

    result = cost(Checkpointed(), torch.randn(3, 4), backward=True)
    assert [passes(layer) for layer in result.layers] == [(48, 0, 48), (96, 48, 48), (96, 48, 48)]


def test_functions_with_a_backward_of_their_own() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight)
            return F.conv2d(x, weight).square()

        @staticmethod
        def backward(ctx, grad):
            x, weight = ctx.saved_tensors
            with torch.enable_grad():
                leaves = x.detach().requires_grad_(), weight.detach().requires_grad_()
                again = F.conv2d(*leaves).square()
            return torch.autograd.grad(again, leaves, grad)

    square = Call(lambda x, w: Square.apply(x, w) * 2, w=(3, 2, 1, 1))
    model = nn.Sequential(nn.Conv2d(2, 2, 1), square)
    result = cost(model, torch.randn(1, 2, 4, 4), backward=True)
    assert [passes(layer) for layer in result.layers] == [(64, 0, 64), (2 * 96, 96, 96)]


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


def ptflops(model: nn.Module, x: torch.Tensor, backend: str) -> tuple[int, int]:
    with contextlib.redirect_stdout(io.StringIO()):
        return get_model_complexity_info(
            model, tuple(x.shape[1:]), as_strings=False, print_per_layer_stat=False, backend=backend
        )


def elements(model: nn.Module, x: torch.Tensor, *kinds: type) -> int:
    """Return the elements that layers of these kinds are given together."""
    counts = []
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_pre_hook(lambda _, given: counts.append(given[0].numel()))
    model(x)
    return sum(counts)


def bias_additions(model: nn.Module, x: torch.Tensor) -> int:
    """Return the output elements of the layers that add a bias."""
    counts = []
    model = copy.deepcopy(model)
    for module in model.modules():
        if getattr(module, "bias", None) is not None and not isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, __, output: counts.append(output.numel()))
    model(x)
    return sum(counts)


@pytest.mark.parametrize("backend", ["pytorch", "aten"])
@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2), (4, 9, 8)),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), (4, 8, 8)),
        (nn.Conv2d(4, 8, 5, groups=4, padding=2), (4, 8, 8)),
        (nn.Conv1d(4, 6, 3), (4, 8)),
        (nn.Conv3d(2, 3, 3), (2, 5, 6, 7)),
        (nn.ConvTranspose2d(4, 6, 3, 2, 1, groups=2), (4, 8, 8)),
        (nn.Linear(4, 5), (3, 4)),
        (nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 8, 1, bias=False)), (3, 8, 8)),
    ],
    ids=str,
)
def test_ptflops_counts_one_more_an_output_for_each_bias(model, shape, backend: str) -> None:
    x = torch.randn(1, *shape)
    given = cost(model, x)
    assert ptflops(model, x, backend) == (given.macs + bias_additions(model, x), given.params)


def test_ptflops_counts_the_same_in_a_network_but_for_biases_and_what_has_no_macs() -> None:
    model, x = mobilenet().eval(), torch.randn(1, 3, 32, 32)
    given = cost(model, x)
    macs = given.macs + bias_additions(model, x)
    assert ptflops(model, x, "aten") == (macs, given.params)
    macs += 2 * elements(model, x, nn.BatchNorm2d) + elements(model, x, nn.ReLU6)
    pooled = 2 * elements(model, x, nn.AdaptiveAvgPool2d)  # the module, and the function it calls
    assert ptflops(model, x, "pytorch") == (macs + pooled, given.params)


@torch.library.custom_op("depthwise_tests::blur", mutates_args=())
def blur(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@blur.register_fake
def _(x):
    return torch.empty_like(x)


def test_operators_without_a_rule_are_named() -> None:
    model = Call(lambda x: torch.fft.fft(blur(blur(x)).softmax(-1)).real.sum())
    result = cost(model, torch.randn(3, 4))
    assert result.uncounted == {
        "depthwise_tests::blur": 2,
        "aten::_softmax": 1,
        "aten::_fft_r2c": 1,
    }
    assert result.macs == 0


def test_operators_that_call_python_are_named_and_not_entered() -> None:
    def either(x):
        return torch.cond(x.sum() > 0, lambda y: y @ y, lambda y: y + 1, (x,))

    result = cost(Call(either), torch.randn(4, 4))
    assert (result.macs, result.uncounted) == (0, {"cond": 1})


@pytest.mark.parametrize("train", [False, True])
def test_elementwise_operators_pooling_and_normalisation_have_no_macs(train: bool) -> None:
    layers = [
        nn.BatchNorm2d(4), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(8), nn.RMSNorm(8),
        nn.ReLU(), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.SiLU(), nn.GELU(),
        nn.GELU("tanh"), nn.LeakyReLU(), nn.ELU(), nn.SELU(), nn.CELU(), nn.Mish(), nn.Softplus(),
        nn.Sigmoid(), nn.Tanh(), nn.PReLU(4), nn.Hardtanh(), nn.LogSigmoid(), nn.GLU(1), nn.RReLU(),
        nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(4), nn.AdaptiveMaxPool2d(4),
        nn.LPPool2d(2, 2), nn.Dropout(), nn.Dropout2d(), nn.ZeroPad2d(1), nn.ReflectionPad2d(1),
        nn.ReplicationPad2d(1), nn.CircularPad2d(1), nn.Upsample(scale_factor=2),
        nn.PixelUnshuffle(2), nn.PixelShuffle(2), nn.ChannelShuffle(2), nn.Flatten(), nn.Unfold(2),
    ]  # fmt: skip
    for layer in layers:
        x = torch.randn(2, 4, 8, 8, requires_grad=True)
        result = cost(layer.train(train), x, backward=True)
        assert (passes(result), result.uncounted) == ((0, 0, 0), {}), layer


def test_an_embedding_is_a_look_up() -> None:
    result = cost(nn.Embedding(10, 4), torch.zeros(3, dtype=torch.int64), backward=True)
    assert (result.params, passes(result), result.uncounted) == (40, (0, 0, 0), {})


def state(model: nn.Module) -> dict:
    return {
        "tensors": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "identities": [id(tensor) for tensor in model.state_dict(keep_vars=True).values()],
        "modes": [module.training for module in model.modules()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in model.modules()
        ],
        "gradients": [parameter.grad for parameter in model.parameters()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "random": torch.get_rng_state(),
        "settings": (
            torch.is_grad_enabled(),
            torch.backends.mkldnn.enabled,
            torch.backends.mha.get_fastpath_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
        ),
    }


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_stays_as_it_is(mode, fails: bool) -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.calls, self.scale = [], 0, torch.ones(3, 1, 1)

        def forward(self, x):
            self.seen.append(x)
            self.calls += 1
            self.scale *= 2
            self.last = x
            return x * self.scale

    class Fails(nn.Module):
        def forward(self, x):
            raise RuntimeError(f"it fails for {x.dim()} axes")

    remembers = Remembers()
    model = nn.Sequential(remembers, mobilenet(), *([Fails()] if fails else []))
    model[1][3].eval()
    handle = model[1].register_forward_hook(lambda _, __, output: output + 1)
    x = torch.randn(2, 3, 32, 32)
    before, given = state(model), x.clone()
    with mode():
        outcome = (
            pytest.raises(RuntimeError, match="it fails") if fails else contextlib.nullcontext()
        )
        inside = torch.is_grad_enabled()
        with outcome:
            cost(model, x, backward=True)
        assert torch.is_grad_enabled() == inside
    after = state(model)
    torch.testing.assert_close(after.pop("tensors"), before.pop("tensors"), rtol=0, atol=0)
    assert torch.equal(after.pop("random"), before.pop("random"))
    assert after == before
    assert (remembers.seen, remembers.calls, remembers.scale.sum()) == ([], 0, 3)
    assert torch.equal(x, given)
    assert x.grad is None
    handle.remove()


def test_a_model_without_memory_is_counted() -> None:
    with torch.device("meta"):
        model, x = mobilenet(), torch.randn(2, 3, 32, 32)
    assert cost(model, x) == cost(mobilenet(), torch.randn(2, 3, 32, 32))


def test_inputs_made_in_inference_mode_have_a_backward_pass_too() -> None:
    with torch.inference_mode():
        x = torch.randn(3, 4)
        assert passes(cost(nn.Linear(4, 5), x, backward=True)) == (60, 0, 60)


def test_several_inputs_and_inputs_that_are_no_tensors() -> None:
    def function(x, others, scale, w):
        return sum(F.linear(y, w) for y in (x, *others["more"])) * scale

    x = torch.randn(3, 4)
    assert cost(Call(function, w=(5, 4)), (x, {"more": [x, x]}, 2.0)).macs == 3 * 60


def test_the_result_printed_and_as_json() -> None:
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.ReLU(), nn.Flatten(), nn.LogSoftmax(1))
    x = torch.randn(1, 8, 128, 128)
    forward, both = cost(model, x), cost(model, x, backward=True)
    lines = [line.split() for line in str(forward).splitlines() if line.split()]
    assert lines[0] == ["layer", "type", "params", "MACs", "FLOPs"]
    assert lines[2:] == [
        ["0", "Conv2d", "4,672", "73,156,608", "146,313,216"],
        ["total", "4,672", "73,156,608", "146,313,216"],
        ["not", "counted:", "aten::_log_softmax", "(1)"],
    ]
    header = " ".join(str(both).splitlines()[0].split())
    assert header.endswith("FLOPs MACs of input gradient MACs of weight gradient")
    assert json.loads(json.dumps(forward.as_dict())) == {
        "params": 4672,
        "macs": 73156608,
        "flops": 146313216,
        "layers": [
            {"name": "0", "kind": "Conv2d", "params": 4672, "macs": 73156608, "flops": 146313216}
        ],
        "uncounted": {"aten::_log_softmax": 1},
    }
    assert both.as_dict()["weight_gradient_macs"] == forward.macs
    assert both.as_dict()["layers"][0]["input_gradient_macs"] == 0


def test_what_is_no_model_or_no_example_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"torch\.nn\.Module; got function"):
        cost(lambda x: x, torch.ones(1))
    with pytest.raises(DTypeError, match=r"a tensor or a tuple that has one; got \(list, int\)"):
        cost(nn.ReLU(), ([1], 2))
    with pytest.raises(DTypeError, match=r"got \(\)"):
        cost(nn.ReLU(), ())


def test_models_that_cannot_be_counted_say_why() -> None:
    library = torch.library.Library("depthwise_tests", "FRAGMENT")
    library.define("faceless(Tensor x) -> Tensor")
    library.impl("faceless", torch.clone, "CPU")
    x = torch.ones(2, 3)
    with pytest.raises(ModelError, match=r"lazy ones get.*\['0.weight', '0.bias'\]"):
        cost(nn.Sequential(nn.LazyLinear(4)), x)
    with pytest.raises(ModelError, match="without the values of its tensors; Call"):
        cost(Call(lambda x: x if x.sum() > 0 else -x), x)
    with pytest.raises(ModelError, match="without the values of its tensors; Call"):
        cost(Call(lambda x: x[x > 0]), x)
    with pytest.raises(ModelError, match=r"no fake: depthwise_tests\.faceless"):
        cost(Call(lambda x: torch.ops.depthwise_tests.faceless(x) + 1), x)
    with pytest.raises(ModelError, match="outputs that require a gradient"):
        cost(nn.Linear(3, 4).requires_grad_(False), x, backward=True)
    wrapper = nn.parallel.DistributedDataParallel
    wrapped = wrapper.__new__(wrapper)
    nn.Module.__init__(wrapped)
    with pytest.raises(ModelError, match=r"without wrappers.*got DistributedDataParallel \(0\)"):
        cost(nn.Sequential(wrapped), x)
    model = nn.ReLU()
    model.lines = (line for line in "ab")
    with pytest.raises(ModelError, match="deep copy; ReLU has none: cannot pickle 'generator'"):
        cost(model, x)
    with pytest.raises(RuntimeError, match="must have same reduction dim"):
        cost(nn.Linear(4, 5), x)
