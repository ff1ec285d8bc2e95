"""What watches causal convolutions: compilers, autocast, `torch.func`; and the module."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.library import opcheck
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

from depthwise.errors import ArrayError, SpecError
from depthwise.torch import CausalConv1d, causal_conv1d_fn, causal_conv1d_update

ours = torch.ops.depthwise


def drawn(*shape, dtype=torch.float32, grad=False):
    return torch.randn(shape, dtype=dtype, requires_grad=grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_operators_keep_what_they_promise(dtype, grad, last):
    x = drawn(2, 9, 6, dtype=dtype).transpose(1, 2) if last else drawn(2, 6, 9, dtype=dtype)
    x.requires_grad_(grad)
    weight, bias = drawn(6, 4, dtype=dtype, grad=grad), drawn(6, dtype=dtype, grad=grad)
    state = drawn(2, 6, 5, dtype=dtype, grad=grad)
    seq_idx = torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2, 2], [0, 1, 2, 2, -1, 3, 3, 3, 3]]).int()
    for arguments in (
        (x, weight, bias, state, None, "silu", 1, True),
        (x, weight, bias, None, None, "silu", 2, True),
        (x, weight, None, None, seq_idx, None, 1, False),
        (x[..., :1].detach(), weight, None, state, None, None, 1, True),
    ):
        opcheck(ours.causal_conv1d.default, arguments)
    if not grad:
        for others in ((state, None, "silu", 1), (None, seq_idx, None, 2)):
            opcheck(ours.causal_conv1d_gradients.default, (x.clone(), x, weight, bias, *others))


def test_the_operator_that_updates_says_so():
    x, weight, bias = drawn(2, 6, 3), drawn(6, 4), drawn(6)
    chosen, rings = torch.tensor([3, -1], dtype=torch.int32), torch.tensor([3, 9])
    for arguments in (
        (x, drawn(2, 6, 5), weight, bias, None, None, "silu"),
        (x, drawn(2, 6, 5), weight, bias, rings, None, "silu"),
        (x, drawn(4, 6, 3), weight, None, None, chosen, None),
        (x.double(), drawn(4, 6, 4), weight.double(), bias.double(), rings, chosen, None),
    ):
        opcheck(ours.causal_conv1d_update.default, arguments)


def both(x, weight, bias, initial, state):
    y, final = causal_conv1d_fn(x, weight, bias, None, initial, True, activation="silu")
    return y + causal_conv1d_update(y[..., 0], state, weight, bias, "silu")[..., None], final


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_both_compile_as_one_graph(backend):
    torch.compiler.reset()
    tensors = [drawn(*s, grad=True) for s in ((2, 6, 9), (6, 4), (6,), (2, 6, 3))]
    compiled = torch.compile(both, fullgraph=True, backend=backend)
    for grad in (True, False):
        states = drawn(2, 6, 4), torch.empty(2, 6, 4)
        states[1].copy_(states[0])
        with torch.set_grad_enabled(grad):
            got, expected = compiled(*tensors, states[0]), both(*tensors, states[1])
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(*states)
        if grad:
            losses = (y.sum() + final.square().sum() for y, final in (got, expected))
            torch.testing.assert_close(*(torch.autograd.grad(loss, tensors) for loss in losses))


def test_the_compiled_backward_pass_is_one_operator():
    torch.compiler.reset()
    names = []

    def seen(graph, _):
        names.extend(str(node.target) for node in graph.graph.nodes)
        return make_boxed_func(graph.forward)

    module = torch.compile(
        lambda x, w: causal_conv1d_fn(x, w, activation="silu"), fullgraph=True,
        backend=aot_autograd(fw_compiler=seen, bw_compiler=seen),
    )  # fmt: skip
    module(drawn(2, 6, 9, grad=True), drawn(6, 4, grad=True)).sum().backward()
    assert [name for name in names if "depthwise" in name] == [
        "depthwise.causal_conv1d.default", "depthwise.causal_conv1d_gradients.default",
    ]  # fmt: skip


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = CausalConv1d(6, 4, activation="silu")
        self.register_buffer("state", torch.zeros(2, 6, 4))

    def forward(self, x):
        with torch.no_grad():
            step = causal_conv1d_update(x[..., 0], self.state, self.conv.weight[:, 0], None, "silu")
        return self.conv(x), step


def test_modules_are_exported_with_any_length():
    block = Block()
    length = torch.export.Dim("length", min=2, max=64)
    exported = torch.export.export(block, (drawn(2, 6, 9),), dynamic_shapes=({2: length},))
    x = drawn(2, 6, 21)
    module = exported.module()
    module.state.zero_()
    got = module(x)
    after = module.state.clone()
    block.state.zero_()
    torch.testing.assert_close(got, block(x))
    torch.testing.assert_close(after, block.state)


def test_autocast_casts_as_it_does_for_convolutions():
    x, weight, bias = drawn(2, 6, 9, grad=True), drawn(6, 4, grad=True), drawn(6, grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        for given in (x, x.bfloat16()):
            y = causal_conv1d_fn(given, weight, bias, activation="silu")
            theirs = F.silu(F.conv1d(F.pad(given, (3, 0)), weight[:, None], bias, groups=6))
            assert y.dtype == theirs.dtype == torch.bfloat16
            torch.testing.assert_close(y, theirs, rtol=5e-2, atol=5e-2)
            y.sum().backward()
        assert x.grad.dtype == weight.grad.dtype == torch.float32
        state = drawn(2, 6, 4, dtype=torch.bfloat16)
        with torch.no_grad():
            step = causal_conv1d_update(x[..., 0].bfloat16(), state, weight, bias)
        assert step.dtype == torch.bfloat16
        assert torch.equal(state[..., -1], x[..., 0].bfloat16())
        assert causal_conv1d_fn(x.double(), weight.double()).dtype == torch.float64


@pytest.mark.parametrize("mapped", [*product((True, False), repeat=4)][:-1])
def test_any_tensor_is_mapped(mapped):
    tensors = drawn(3, 2, 6, 9), drawn(3, 6, 4), drawn(3, 6), drawn(3, 2, 6, 3)
    given = [t if m else t[0] for t, m in zip(tensors, mapped, strict=True)]

    def convolved(x, weight, bias, initial):
        return causal_conv1d_fn(x, weight, bias, None, initial, True, activation="silu")

    got = torch.vmap(convolved, in_dims=tuple(0 if m else None for m in mapped))(*given)
    each = [
        convolved(*[t[i] if m else t for t, m in zip(given, mapped, strict=True)]) for i in range(3)
    ]
    torch.testing.assert_close(got, tuple(torch.stack(parts) for parts in zip(*each, strict=True)))


def test_sequences_in_rows_are_mapped():
    x, weight = drawn(3, 2, 6, 9), drawn(3, 6, 4)
    seq_idx = torch.randint(0, 3, (3, 2, 9), dtype=torch.int32)
    for dims in ((0, None, 0), (0, 0, 0), (0, 0, None), (None, None, 0)):
        given = [t if d == 0 else t[0] for t, d in zip((x, weight, seq_idx), dims, strict=True)]
        one = lambda a, w, s: causal_conv1d_fn(a, w, None, s)  # noqa: E731
        each = torch.stack(
            [
                one(*[t[i] if d == 0 else t for t, d in zip(given, dims, strict=True)])
                for i in range(3)
            ]
        )
        torch.testing.assert_close(torch.vmap(one, in_dims=dims)(*given), each)


def test_functional_gradients_are_those_of_autograd():
    x, weight = drawn(2, 6, 9), drawn(6, 4, grad=True)

    def loss(weight, x):
        return causal_conv1d_fn(x, weight, activation="silu").square().sum()

    expected = torch.autograd.grad(loss(weight, x), weight)[0]
    torch.testing.assert_close(torch.func.grad(loss)(weight.detach(), x), expected)
    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight.detach(), x[:, None])
    torch.testing.assert_close(each.sum(0), expected)


def test_other_devices_are_left_to_torch():
    x, weight = torch.empty(2, 6, 9, device="meta"), torch.empty(6, 4, device="meta")
    assert causal_conv1d_fn(x, weight, activation="silu").shape == x.shape
    state = torch.empty(2, 6, 4, device="meta")
    assert causal_conv1d_update(x[..., 0], state, weight).shape == (2, 6)
    with pytest.raises(ArrayError, match="on one device"):
        causal_conv1d_update(drawn(2, 6), state, drawn(6, 4))


def test_flops_are_those_of_the_taps():
    x, weight = drawn(2, 6, 9, grad=True), drawn(6, 4, grad=True)
    with FlopCounterMode(display=False) as forward:
        y = causal_conv1d_fn(x, weight)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    assert forward.get_total_flops() == 2 * x.numel() * 4
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_a_module_has_the_parameters_of_torchs():
    theirs = nn.Conv1d(6, 6, 4, groups=6, padding=3)
    module = CausalConv1d(6, 4, activation="silu")
    module.load_state_dict(theirs.state_dict())
    x = drawn(2, 6, 9)
    expected = F.silu(theirs(x)[..., :9])
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module(x[0]), expected[0], rtol=1e-4, atol=1e-5)
    torch.manual_seed(3)
    made = CausalConv1d(6, 4)
    torch.manual_seed(3)
    assert torch.equal(made.weight, nn.Conv1d(6, 6, 4, groups=6).weight)
    same = CausalConv1d.from_conv(theirs, "silu")
    assert same.weight is theirs.weight
    assert str(same) == "CausalConv1d(6, 4, activation='silu')"
    for conv in (nn.Conv1d(6, 6, 4), nn.Conv1d(6, 12, 4, groups=6), nn.Linear(6, 6)):
        with pytest.raises(SpecError, match="groups=in_channels=out_channels"):
            CausalConv1d.from_conv(conv)
    with pytest.raises(ArrayError, match="an input is"):
        module(x[:, :5])
    with pytest.raises(SpecError, match="activation"):
        CausalConv1d(6, 4, activation="none")


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    ("taps", "dilation", "activation"), [(4, 1, "silu"), (3, 2, "gelu"), (1, 1, None)]
)
def test_chunks_of_a_stream_are_the_whole(taps, dilation, activation, grad):
    module = CausalConv1d(6, taps, dilation, activation=activation)
    x = drawn(2, 6, 23)
    with torch.set_grad_enabled(grad):
        whole = module(x)
        lengths = (1, 1, 5, 0, 2, 14)
        for _ in range(2):
            with module.streaming() as stream:
                again = []
                for _ in range(2):
                    again.append(torch.cat([module(part) for part in x.split(lengths, 2)], 2))
                    module.reset()
                assert stream.state is None
            assert all(torch.equal(each, whole) for each in again)
        first, second = module.stream(), module.stream()
        parts = []
        for part in x[0].split(4, 1):
            parts.append(first(part))
            second(part * 2)
    assert torch.equal(torch.cat(parts, 1), whole[0])
    assert first.state.shape == (1, 6, dilation * (taps - 1))
    with pytest.raises(ArrayError, match="chunks of a stream have one batch"):
        first(x)
    with pytest.raises(SpecError, match="no stream of CausalConv1d"):
        module.reset()
    torch.testing.assert_close(module(x), whole)
