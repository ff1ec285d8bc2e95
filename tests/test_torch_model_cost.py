"""The cost of torch models beside ptflops', what has no MACs, and models that stay as they are."""

import contextlib
import copy
import io
import json
import subprocess
import sys

import pytest
import torch
from ptflops import get_model_complexity_info
from torch import nn
from torch.nn import functional as F  # noqa: N812

from depthwise.errors import DTypeError, ModelError
from depthwise.torch import SeparableConv2d, cost
from models import Call, mobilenet, passes


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


@pytest.mark.parametrize("bias", [False, True])
def test_ptflops_counts_the_same_in_our_modules_made_torchs(bias: bool) -> None:
    module, x = SeparableConv2d(4, 6, 3, 2, 1, bias=bias), torch.randn(1, 4, 9, 8)
    given, twin = cost(module, x), module.to_conv()
    assert ptflops(twin, x, "aten") == (given.macs + bias_additions(twin, x), given.params)
    assert ptflops(twin, x, "pytorch") == (given.macs + bias_additions(twin, x), given.params)


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


@torch.library.custom_op("depthwise_tests::dense", mutates_args=())
def dense(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight


@dense.register_fake
def _(x, weight):
    return x.new_empty(len(x), weight.shape[1])


def dense_backward(ctx, grad):
    x, weight = ctx.saved_tensors
    return grad @ weight.t(), x.t() @ grad


def dense_setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


dense.register_autograd(dense_backward, setup_context=dense_setup)


def test_gradients_of_an_operator_without_a_rule_count_where_torch_computes_them() -> None:
    model = Call(lambda x, w: dense(x, w).relu(), w=(4, 5))
    result = cost(model, torch.randn(3, 4, requires_grad=True), backward=True)
    assert (passes(result), result.uncounted) == ((0, 60, 60), {"depthwise_tests::dense": 1})


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
    assert header.endswith("FLOPs MACs recomputed of input gradient of weight gradient")
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


def test_frozen_flags_of_torch_do_not_matter() -> None:
    code = """
import torch
from depthwise.torch import cost
torch.backends.disable_global_flags()
print(cost(torch.nn.Conv2d(2, 3, 1), torch.ones(1, 2, 4, 4)).macs)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(2 * 3 * 16)]
