"""Attention found in networks, in whatever way it is written: a kernel, and the same results."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise.torch as dwt
from depthwise.network.network import Network
from depthwise.network.steps import Stage
from depthwise.problem.attention import AttentionSpec
from onnx_models import assert_close, by_runtime, called, checked, left, model, node, noise, port

PIXELS, CHANNELS, HEADS = 21, 24, 3


class Separate(nn.Module):
    """Queries, keys and values of their own products, and what else a block has."""

    def __init__(self, attend: Callable[..., Tensor], width: int = CHANNELS) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)
        self.q, self.k = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.v, self.o = nn.Linear(CHANNELS, width, bias=False), nn.Linear(width, CHANNELS)
        self.attend = attend

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.o(self.attend(self.q(y), self.k(y), self.v(y)))


def heads(x: Tensor) -> Tensor:
    return x.view(x.shape[0], x.shape[1], HEADS, -1).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = heads(q) @ heads(k).transpose(-2, -1) * 8**-0.5
    return joined(scores.softmax(-1) @ heads(v))


def divided(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(heads(q), heads(k).permute(0, 1, 3, 2)) / 2.5
    return joined(torch.matmul(F.softmax(scores, dim=3), heads(v)))


def scaled_before(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = heads(q * 0.7) @ (heads(k) * 0.5).transpose(-2, -1)
    return joined(scores.softmax(-1) @ (heads(v) * 0.5))


def whole_operator(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return joined(F.scaled_dot_product_attention(heads(q), heads(k), heads(v)))


def whole_operator_scaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return joined(F.scaled_dot_product_attention(heads(q), heads(k), heads(v), scale=0.3))


def by_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("bhlk,bhtk->bhlt", heads(q), heads(k)) * 0.4
    return joined(torch.einsum("bhlt,bhtv->bhlv", scores.softmax(-1), heads(v)))


def by_einsum_of_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.reshape(x.shape[0], -1, HEADS, x.shape[-1] // HEADS) for x in (q, k, v))
    weights = torch.einsum("nqhd,nkhd->nhqk", q, k).softmax(dim=-1)
    return torch.einsum("nhqk,nkhd->nqhd", weights, v).flatten(2)


def turned(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Keys times queries, a softmax over the keys, and the values times that."""
    scores = (heads(k) @ heads(q).transpose(-2, -1) * 0.3).softmax(2)
    return (heads(v).transpose(-2, -1) @ scores).flatten(1, 2).transpose(1, 2)


def heads_with_images(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `F.multi_head_attention_forward` has them."""
    n, length, _ = q.shape
    q, k, v = (heads(x).reshape(n * HEADS, length, -1) for x in (q, k, v))
    y = torch.bmm(torch.bmm(q * 0.35, k.transpose(1, 2)).softmax(-1), v)
    return y.view(n, HEADS, length, -1).transpose(1, 2).reshape(n, length, -1)


def heads_interleaved(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The channels of a head are every third one."""
    q, k, v = (x.view(x.shape[0], x.shape[1], -1, HEADS).permute(0, 3, 1, 2) for x in (q, k, v))
    return ((q @ k.transpose(-2, -1) * 0.2).softmax(-1) @ v).permute(0, 2, 3, 1).flatten(2)


def of_one_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(1, 2)).softmax(-1) @ v


WAYS = (
    plain, divided, scaled_before, whole_operator, whole_operator_scaled, by_einsum,
    by_einsum_of_rows, turned, heads_with_images, heads_interleaved, of_one_head,
)  # fmt: skip


class Fused(nn.Module):
    """One product for queries, keys and values, which are cut from it in some way."""

    def __init__(self, cut: Callable[[Tensor], Any], norm: bool = False) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.norm = nn.BatchNorm1d(3 * CHANNELS) if norm else None
        self.bias = nn.Parameter(torch.randn(HEADS, PIXELS, PIXELS))
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        y = self.qkv(x)
        if self.norm is not None:
            y = self.norm(y.flatten(0, 1)).reshape_as(y)
        q, k, v = self.cut(y)
        scores = q @ k.transpose(-2, -1) * 8**-0.5
        if self.norm is not None:
            scores = scores + self.bias
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        return self.o(F.hardswish(y))


def taken_apart(y: Tensor) -> Any:
    n, length, _ = y.shape
    return y.reshape(n, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)


def indexed(y: Tensor) -> Any:
    n, length, _ = y.shape
    y = y.reshape(n, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    return y[0], y[1], y[2]


def in_chunks(y: Tensor) -> Any:
    return map(heads, y.chunk(3, dim=-1))


def per_head(y: Tensor) -> Any:
    """As LeViT has them: a head's queries, keys and values side by side."""
    y = y.view(*y.shape[:2], HEADS, -1)
    return (x.permute(0, 2, 1, 3) for x in y.split([8, 8, 8], dim=3))


CUTS = (taken_apart, indexed, in_chunks, per_head)


class OfImages(nn.Module):
    """1x1 convolutions on both sides, as networks of convolutions have them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Conv2d(CHANNELS, 3 * CHANNELS, 1), nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        q, k, v = self.qkv(x).view(n, HEADS, -1, h * w).split([8, 8, 8], dim=2)
        weights = (q.transpose(-2, -1) @ k * 0.3).softmax(dim=-1)
        return self.o((v @ weights.transpose(-2, -1)).view(n, c, h, w))


class Reduced(nn.Module):
    """Keys and values of fewer pixels, as PVT has them."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, 2 * CHANNELS)
        self.reduce, self.o = nn.Conv2d(CHANNELS, CHANNELS, 2, 2), nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows = x.flatten(2).transpose(1, 2)
        fewer = self.reduce(x).flatten(2).transpose(1, 2)
        kv = self.kv(fewer).reshape(n, -1, 2, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(heads(self.q(rows)), kv[0], kv[1])
        return self.o(joined(y)).transpose(1, 2).reshape(n, c, h, w)


class Shrunk(nn.Module):
    """Queries of fewer pixels, as LeViT has them between its stages."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv = nn.Linear(3 * CHANNELS, CHANNELS), nn.Linear(CHANNELS, 2 * CHANNELS)
        self.o = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        n, length, c = x.shape
        kv = self.kv(x).reshape(n, -1, 2, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        q = heads(self.q(x.reshape(n, length // 3, 3 * c)))
        return self.o(F.hardswish(joined(F.scaled_dot_product_attention(q, kv[0], kv[1]))))


class Windows(nn.Module):
    """Attention within windows, as Swin has it, with a mask for each of them or without."""

    def __init__(self, *, mask: bool, viewed: bool) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.bias = nn.Parameter(torch.randn(HEADS, 16, 16))
        blocked = torch.where(torch.rand(6, 1, 16, 16) < 0.8, 0.0, -100.0)
        self.register_buffer("mask", blocked if mask else None)
        self.viewed = viewed

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        y = x.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(y).reshape(-1, 16, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        scores = (q * 0.3) @ k.transpose(-2, -1) + self.bias
        if self.viewed:
            scores = scores.view(n, 6, HEADS, 16, 16) + self.mask
            scores = scores.view(-1, HEADS, 16, 16)
        elif self.mask is not None:
            scores = scores + self.mask
        y = self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, 16, c))
        return y.view(n, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)


class OfTorch(nn.Module):
    """`nn.MultiheadAttention`, which has pixels before images on the inside."""

    def __init__(self, *, need_weights: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)
        self.attention = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.attention(y, y, y, need_weights=self.need_weights)[0]


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            CHANNELS, HEADS, 2 * CHANNELS, batch_first=True, activation="gelu", norm_first=True
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


BLOCKS = {
    "attention": lambda: OfTorch(need_weights=False),
    "attention with weights": lambda: OfTorch(need_weights=True),
    "encoder": Encoder,
}
"""torch's own."""


def exported(module: nn.Module, x: Tensor, *, any_batch: bool) -> onnx.ModelProto:
    axes = {"x": {0: "n"}} if any_batch else None
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (x,), file, opset_version=17, dynamo=False, input_names=["x"],
            output_names=["y"], dynamic_axes=axes,
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def randomized(module: nn.Module) -> nn.Module:
    """Return a module in which no norm does nothing."""
    torch.manual_seed(0)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm1d):
            nn.init.normal_(each.running_mean)
            nn.init.uniform_(each.running_var, 0.5, 2)
            nn.init.normal_(each.weight)
    return module.eval()


def kinds(network: Network) -> list[str]:
    return [step.work.spec.kind for step in network.program.steps if isinstance(step.work, Stage)]


def agrees(module: nn.Module, *shape: int, any_batch: bool) -> Network:
    """Fail where a module's file is computed otherwise, or its attention by no kernel."""
    x = torch.from_numpy(noise(*shape))
    made = exported(randomized(module), x, any_batch=any_batch)
    network = checked(made, x.numpy())
    with torch.no_grad():
        exact = module.double()(x.double()).numpy()
    module.float()
    np.testing.assert_allclose(network(x.numpy()), exact, rtol=0, atol=1e-5 * np.abs(exact).max())
    if any_batch:
        more = noise(2 * shape[0] + 1, *shape[1:])
        assert_close(called(network, more), by_runtime(made, [more]))
    assert kinds(network).count("attention") == 1
    assert left(network) == []
    return network


@pytest.mark.parametrize("attend", WAYS, ids=lambda way: way.__name__)
def test_ways_of_writing_it(attend: Callable[..., Tensor]) -> None:
    agrees(Separate(attend), 2, PIXELS, CHANNELS, any_batch=True)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("cut", CUTS, ids=lambda way: way.__name__)
def test_ways_of_cutting_one_product(cut: Callable[..., Any], norm: bool) -> None:
    network = agrees(Fused(cut, norm), 1, PIXELS, CHANNELS, any_batch=True)
    assert kinds(network).count("pointwise") == 4


@pytest.mark.parametrize("block", [OfImages, Reduced], ids=lambda block: block.__name__)
def test_attention_of_images(block: type[nn.Module]) -> None:
    agrees(block(), 1, CHANNELS, 6, 8, any_batch=True)


@pytest.mark.parametrize("any_batch", [False, True])
def test_fewer_queries_than_keys(any_batch: bool) -> None:
    network = agrees(Shrunk(), 2, PIXELS, CHANNELS, any_batch=any_batch)
    last = network.program.stages()[-1].spec
    assert last.input_shape[1] * last.input_shape[2] == PIXELS // 3


@pytest.mark.parametrize("block", [Fused(per_head), OfImages(), Reduced()], ids=type)
def test_networks_of_one_size(block: nn.Module) -> None:
    size = (PIXELS, CHANNELS) if isinstance(block, Fused) else (CHANNELS, 6, 8)
    agrees(block, 2, *size, any_batch=False)


@pytest.mark.parametrize(
    ("mask", "viewed", "any_batch"),
    [(False, False, True), (True, False, False), (True, True, False), (True, True, True)],
)
def test_windows(mask: bool, viewed: bool, any_batch: bool) -> None:
    module = randomized(Windows(mask=mask, viewed=viewed))
    x = torch.from_numpy(noise(1, 8, 12, CHANNELS))
    made = exported(module, x, any_batch=any_batch)
    network = checked(made, x.numpy())
    specs = [step.work.spec for step in network.program.steps if isinstance(step.work, Stage)]
    assert [s.biases for s in specs if isinstance(s, AttentionSpec)] == [6 if mask else 1]
    if any_batch:
        more = noise(3, 8, 12, CHANNELS)
        assert_close(called(network, more), by_runtime(made, [more]))
    fast = dwt.optimize(module, x)
    assert kinds(fast.network).count("attention") == 1
    with torch.no_grad():
        torch.testing.assert_close(fast(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("any_batch", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_of_torch(block: str, any_batch: bool) -> None:
    network = agrees(BLOCKS[block](), 2, PIXELS, CHANNELS, any_batch=any_batch)
    specs = [step.work.spec for step in network.program.steps if isinstance(step.work, Stage)]
    assert all(spec.input_shape[1:3] == (PIXELS, 1) for spec in specs)


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_of_torch_in_torch(block: str) -> None:
    module, x = randomized(BLOCKS[block]()), torch.randn(2, PIXELS, CHANNELS)
    fast = dwt.optimize(module, x)
    assert left(fast.network) == []
    assert kinds(fast.network).count("attention") == 1
    with torch.no_grad():
        torch.testing.assert_close(fast(x), module(x), rtol=1e-4, atol=1e-5)


def test_pixels_before_images_from_one_end_to_the_other() -> None:
    """There, nothing is an image; the results are right."""
    module = nn.MultiheadAttention(CHANNELS, HEADS).eval()
    x = torch.from_numpy(noise(PIXELS, 3, CHANNELS))

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = module

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x)[0]

    checked(exported(Alone().eval(), x, any_batch=False), x.numpy())


def test_values_of_more_channels() -> None:
    agrees(Separate(plain, width=2 * CHANNELS), 2, PIXELS, CHANNELS, any_batch=True)


@pytest.mark.parametrize("attend", WAYS, ids=lambda way: way.__name__)
def test_ways_of_writing_it_in_torch(attend: Callable[..., Tensor]) -> None:
    module, x = randomized(Separate(attend)), torch.randn(2, PIXELS, CHANNELS)
    network = dwt.optimize(module, x).network
    assert left(network) == []
    assert kinds(network).count("attention") == 1
    with torch.no_grad():
        torch.testing.assert_close(dwt.optimize(module, x)(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cut", CUTS, ids=lambda way: way.__name__)
def test_ways_of_cutting_one_product_in_torch(cut: Callable[..., Any]) -> None:
    module, x = randomized(Fused(cut)), torch.randn(2, PIXELS, CHANNELS)
    fast = dwt.optimize(module, x)
    assert left(fast.network) == []
    assert kinds(fast.network).count("attention") == 1
    with torch.no_grad():
        torch.testing.assert_close(fast(x), module(x), rtol=1e-4, atol=1e-5)


def masked(x: Tensor, mask: Tensor) -> Tensor:
    q, k, v = (heads(each) for each in (x, x.flip(-1), x * 0.5))
    return joined((q @ k.transpose(-2, -1) * 0.3 + mask).softmax(-1) @ v)


def over_queries(x: Tensor) -> Tensor:
    q, k, v = (heads(each) for each in (x, x.flip(-1), x * 0.5))
    return joined((q @ k.transpose(-2, -1) * 0.3).softmax(-2) @ v)


def of_channels(x: Tensor) -> Tensor:
    """Each channel is a mean of channels, as in EdgeNeXt."""
    q, k, v = (heads(each).transpose(-2, -1) for each in (x, x.flip(-1), x * 0.5))
    return ((q @ k.transpose(-2, -1) * 0.3).softmax(-1) @ v).permute(0, 3, 1, 2).flatten(2)


def with_weights(x: Tensor) -> Any:
    q, k, v = (heads(each) for each in (x, x.flip(-1), x * 0.5))
    weights = (q @ k.transpose(-2, -1) * 0.3).softmax(-1)
    return joined(weights @ v), weights


def each_head_scaled(x: Tensor) -> Tensor:
    q, k, v = (heads(each) for each in (x, x.flip(-1), x * 0.5))
    scale = torch.tensor([0.1, 0.2, 0.5]).view(-1, 1, 1)
    return joined((q @ k.transpose(-2, -1) * scale).softmax(-1) @ v)


def turned_round(x: Tensor) -> Tensor:
    """The scale is negative."""
    q, k, v = (heads(each) for each in (x, x.flip(-1), x * 0.5))
    return joined((q @ k.transpose(-2, -1) * -0.3).softmax(-1) @ v)


def each_image_its_bias(x: Tensor) -> Tensor:
    q, k, v = (heads(each) for each in (x, x.flip(-1), x * 0.5))
    bias = torch.arange(2 * PIXELS).view(2, 1, 1, PIXELS) * 0.1
    return joined((q @ k.transpose(-2, -1) * 0.3 + bias).softmax(-1) @ v)


def scaled_afterwards(x: Tensor) -> Tensor:
    q, k, v = (heads(each) for each in (x, x.flip(-1), x * 0.5))
    return joined(((q @ k.transpose(-2, -1)).softmax(-1) * 0.5) @ v)


OTHERS = (
    over_queries, with_weights, each_head_scaled, turned_round, scaled_afterwards,
)  # fmt: skip


class Between(nn.Module):
    """What two products surround."""

    def __init__(self, attend: Callable[..., Any], width: int = CHANNELS) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(CHANNELS, width), nn.Linear(CHANNELS, CHANNELS)
        self.attend = attend

    def forward(self, x: Tensor, *others: Tensor) -> Any:
        y = self.attend(self.before(x), *others)
        return (self.after(y[0]), *y[1:]) if isinstance(y, tuple) else self.after(y)


@pytest.mark.parametrize("attend", OTHERS, ids=lambda way: way.__name__)
def test_what_is_no_attention_stays_what_it_is(attend: Callable[..., Any]) -> None:
    module, x = Between(attend).eval(), torch.from_numpy(noise(2, PIXELS, CHANNELS))
    network = checked(exported(module, x, any_batch=False), x.numpy())
    assert "attention" not in kinds(network)


def test_a_mask_that_is_computed_stays_with_the_engine() -> None:
    module = Between(masked).eval()
    x, mask = noise(2, PIXELS, CHANNELS), noise(2, 1, PIXELS, PIXELS)
    given = torch.from_numpy(x), torch.from_numpy(mask)
    fast = dwt.optimize(module, given)
    assert "attention" not in kinds(fast.network)
    with torch.no_grad():
        torch.testing.assert_close(fast(*given), module(*given), rtol=1e-4, atol=1e-5)


def some_pixels(x: Tensor) -> Tensor:
    """Queries are some of the pixels, keys others, and heads share their channels."""
    q, k, v = heads(x)[:, :, 1:], heads(x)[:, :1, :-2], heads(x)[:, 1:2, :-2]
    q, k, v = torch.broadcast_tensors(q[:, :, :1], k, v)
    return joined((q @ k.transpose(-2, -1) * 0.3).softmax(-1) @ v)


@pytest.mark.parametrize("attend", [some_pixels, of_channels, each_image_its_bias])
def test_what_is_attention_of_something_else(attend: Callable[..., Any]) -> None:
    module, x = Between(attend).eval(), torch.from_numpy(noise(2, PIXELS, CHANNELS))
    checked(exported(module, x, any_batch=False), x.numpy())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", ["none", "numbers", "flags"])
def test_masks_that_are_constants(mask: str, causal: bool) -> None:
    flags = torch.rand(PIXELS, PIXELS) < 0.7
    flags |= torch.eye(PIXELS, dtype=torch.bool)
    masks = {"none": None, "numbers": torch.randn(PIXELS, PIXELS), "flags": flags}

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", masks[mask])

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            arrays = heads(q), heads(k), heads(v)
            own = None if causal else self.mask
            return joined(F.scaled_dot_product_attention(*arrays, own, is_causal=causal))

    module, x = Separate(Masked()).eval(), torch.randn(1, PIXELS, CHANNELS)
    fast = dwt.optimize(module, x)
    assert ("attention" in kinds(fast.network)) == (not causal)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_dropout_of_the_weights(training: bool) -> None:
    """Of chance in training alone, which no kernel has."""
    nodes = [
        node("MatMul", "x p", "a"), node("MatMul", "x r", "b"),
        node("Transpose", "b", "t", perm=[0, 2, 1]), node("MatMul", "a t", "s"),
        node("Softmax", "s", "w"),
        node("Dropout", "w zero training", "d"), node("MatMul", "d x", "y"),
    ]  # fmt: skip
    constants = {
        "p": noise(CHANNELS, CHANNELS), "r": noise(CHANNELS, CHANNELS),
        "zero": np.float32(0), "training": np.array(training),
    }  # fmt: skip
    made = model(nodes, [port("x", (2, PIXELS, CHANNELS))], ["y"], constants)
    network = checked(made, noise(2, PIXELS, CHANNELS))
    assert ("attention" in kinds(network)) == (not training)


def test_softmax_over_all_that_follows_an_axis_as_older_files_have_it() -> None:
    nodes = [
        node("MatMul", "x p", "a"), node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("MatMul", "a t", "s"), node("Softmax", "s", "w", axis=1), node("MatMul", "w x", "y"),
    ]  # fmt: skip
    constants = {"p": noise(CHANNELS, CHANNELS)}
    made = model(nodes, [port("x", (2, PIXELS, CHANNELS))], ["y"], constants, opset=11)
    assert "attention" not in kinds(checked(made, noise(2, PIXELS, CHANNELS)))
