"""Optimized networks saved, copied, exported, called from threads and modes; who owns what."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils import _pytree as pytree

import depthwise.torch as dwt
from cpus import X86
from depthwise.torch.network import optimized
from optimizing import Model, check, close, depthwise, images, kinds, pointwise, random_

SHAPE = (2, 8, 12, 12)


class Network(nn.Module):
    """A separable pair, a gated block with a residual, what torch computes, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(depthwise(8), nn.BatchNorm2d(8), nn.ReLU6(), pointwise(8, 16))
        self.deep = depthwise(16, 5)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), pointwise(16, 4), nn.SiLU(), pointwise(4, 16), nn.Sigmoid()
        )
        self.last = pointwise(16, 16)
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = F.silu(self.deep(x))
        y = x + self.last(y * self.gate(y))
        return self.classifier(torch.sin(y).mean((2, 3)))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return random_(Network())


@pytest.fixture(scope="module")
def fast(model: nn.Module) -> nn.Module:
    return dwt.optimize(model, images(*SHAPE))


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# copies


def saved(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, saved, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies(fast: nn.Module, copied: Any) -> None:
    fast._start()  # as before the first call
    early, x = copied(fast), images(*SHAPE, seed=2)
    expected = fast(x)
    late = copied(fast)
    for other in (early, late, copied(late)):
        assert torch.equal(other(x), expected)
        assert str(other.report) == str(fast.report)
    assert torch.equal(early(x[:1]), fast(x[:1]))


LOAD = """
import os, sys
import torch
if len(sys.argv) > 3:
    import archspec.cpu
    elsewhere = archspec.cpu.TARGETS[sys.argv[3]]
    archspec.cpu.host = lambda: elsewhere
network = torch.load(sys.argv[1], weights_only=False)
x, expected = torch.load(sys.argv[2])
torch.save(network(x), sys.argv[2])
"""


@pytest.mark.parametrize(
    "cpu", [(), pytest.param(("x86_64_v2",), marks=pytest.mark.skipif(not X86, reason="of x86"))]
)
def test_a_saved_network_works_where_nothing_is_compiled(fast, tmp_path, cpu) -> None:
    network, tensors = tmp_path / "network.pt", tmp_path / "tensors.pt"
    x = images(*SHAPE, seed=2)
    expected = fast(x)
    torch.save(fast, network)
    torch.save((x, expected), tensors)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD, network, tensors, *cpu],
        env={**os.environ, "DEPTHWISE_CACHE": str(tmp_path / "empty")}, check=True, timeout=300,
    )  # fmt: skip
    result = torch.load(tensors)
    close(result, expected)
    assert torch.equal(result, expected) or cpu
    assert list((tmp_path / "empty").rglob("*"))


# torch's other ways to run a model


def test_export(model: nn.Module, fast: nn.Module, tmp_path: Any) -> None:
    batch = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(fast, (images(*SHAPE),), dynamic_shapes=(({0: batch},),))
    torch.export.save(program, tmp_path / "program.pt2")
    loaded = torch.export.load(tmp_path / "program.pt2").module()
    for module in (program.module(), loaded):
        for size in (2, 3):
            check(model, module, images(size, *SHAPE[1:], seed=size))
    close(program.module()(images(*SHAPE, seed=4)), fast(images(*SHAPE, seed=4)))


def test_compile(model: nn.Module, fast: nn.Module) -> None:
    compiled = torch.compile(fast, backend="eager")
    for seed in (2, 3):
        check(model, compiled, images(*SHAPE, seed=seed))


def test_an_optimized_network_in_a_model_that_is_optimized(model, fast) -> None:
    whole = nn.Sequential(nn.ReLU(), fast, nn.Softmax(1)).eval()
    again = dwt.optimize(whole, images(*SHAPE))
    x = images(*SHAPE, seed=3)
    close(again(x), model(x.relu()).softmax(1).detach())


def test_tensors_without_memory(fast) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        result = fast(mode.from_tensor(images(*SHAPE)))
    assert result.shape == (2, 5)


# modes and threads


def test_any_order_of_modes(model: nn.Module, fast: nn.Module) -> None:
    x = images(*SHAPE, seed=2)
    with torch.no_grad():
        expected = model(x)
    modes = [torch.no_grad, torch.inference_mode, torch.enable_grad]
    for order in permutations(modes):
        fast._start()
        for mode in (*order, *order):
            with mode():
                result = fast(x)
                close(result, expected)
                result += 1
        close(fast(x), expected)
    with torch.inference_mode():
        made_inside = dwt.optimize(model, images(*SHAPE))
        inside = images(*SHAPE, seed=2)
    close(made_inside(x), expected)
    close(made_inside(inside), expected)


def test_python_threads(fast: nn.Module) -> None:
    inputs = [images(1 + number % 3, *SHAPE[1:], seed=number) for number in range(24)]
    expected = [fast(x) for x in inputs]
    fast._start()  # executions are made while others are used
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for result, wanted in zip(pool.map(fast, inputs), expected, strict=True):
                assert torch.equal(result, wanted)


def test_more_shapes_than_are_remembered(fast: nn.Module, monkeypatch) -> None:
    inputs = [images(1 + number % 3, *SHAPE[1:], seed=number) for number in range(12)]
    expected = [fast(x) for x in inputs]
    monkeypatch.setattr(optimized, "_MOST_EXECUTIONS", 2)
    fast._start()
    with ThreadPoolExecutor(3) as pool:
        for result, wanted in zip(pool.map(fast, inputs), expected, strict=True):
            assert torch.equal(result, wanted)


def test_any_number_of_threads_gives_the_same_bits(fast: nn.Module, threads: None) -> None:
    x = images(*SHAPE, seed=2)
    results = []
    for count in (1, 2, 3, 1, 4):
        torch.set_num_threads(count)
        results.append(fast(x))
    for result in results[1:]:
        assert torch.equal(result, results[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_child(fast: nn.Module) -> None:
    fast(images(3, *SHAPE[1:]))  # compiled here, where the compiler is loaded
    code = """
import os, sys, torch
import depthwise.torch as dwt
from test_optimize_safety import Network, images, random_, SHAPE
fast = dwt.optimize(random_(Network()), images(*SHAPE))
x, y = images(*SHAPE, seed=2), images(3, *SHAPE[1:], seed=3)
expected = [fast(x), fast(y)]
child = os.fork()
if child == 0:
    torch.set_num_threads(1)  # as a data loader's workers do
    same = torch.equal(fast(x), expected[0]) and torch.equal(fast(y), expected[1])
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert torch.equal(fast(x), expected[0])
print(os.waitstatus_to_exitcode(status))
"""
    path = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.strip() == "0", done.stderr


# who owns what


def features(s: Any, x: Tensor) -> Any:
    """Return results of every kind: of kernels, of torch, views of both, constants and inputs."""
    y = s.d(x)
    z = s.p(y)
    w = F.max_pool2d(z, 2)
    return {
        "features": [y, z, w], "views": (y[:, 1:3], z.permute(0, 2, 3, 1), w.flatten(1)),
        "again": y, "chunks": z.chunk(2, 1), "input": x, "part of the input": x[:, :2],
        "constant": s.k, "part of a constant": s.k[1:], "number": 3, "nothing": None,
        "last": s.q(F.relu(z)),
    }  # fmt: skip


@pytest.fixture(scope="module")
def featured() -> nn.Module:
    modules = {"d": depthwise(8), "p": pointwise(8, 8), "q": pointwise(8, 4)}
    return random_(Model(features, **modules, k=nn.Buffer(images(4))))


def test_results_are_the_callers(featured: nn.Module) -> None:
    fast = dwt.optimize(featured, images(*SHAPE))
    x, y = images(*SHAPE, seed=2), images(*SHAPE, seed=3)
    first = fast(x)
    kept = pytree.tree_map_only(Tensor, torch.clone, first)
    check(featured, fast, y)
    for now, then in zip(pytree.tree_leaves(first), pytree.tree_leaves(kept), strict=True):
        assert torch.equal(now, then) if isinstance(now, Tensor) else now == then
    for name, value in first.items():
        if "input" not in name:
            pytree.tree_map_only(Tensor, Tensor.zero_, value)
    check(featured, fast, y)
    check(featured, fast, x)


def test_inputs_stay_as_they_are(featured: nn.Module) -> None:
    fast = dwt.optimize(featured, images(*SHAPE))
    x = images(*SHAPE, seed=2)
    for given in (
        x, x.to(memory_format=torch.channels_last), x.flip(1), x[:1].expand(*SHAPE),
        x.transpose(2, 3), images(*SHAPE[:3], 24)[..., ::2], images(x.numel() + 1)[1:].view(SHAPE),
    ):  # fmt: skip
        before = given.clone()
        check(featured, fast, given)
        assert torch.equal(given, before)


def test_the_model_and_the_network_have_nothing_in_common(model: nn.Module) -> None:
    own = copy.deepcopy(model)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    x = images(*SHAPE, seed=2)
    expected = own(x).detach()
    fast = dwt.optimize(own, images(*SHAPE))
    for name, value in own.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(own(x), expected)
    assert not own.training
    assert all(parameter.requires_grad for parameter in own.parameters())
    result = fast(x)
    with torch.no_grad():
        for value in own.state_dict().values():
            value.zero_()
    assert torch.equal(fast(x), result)
    assert torch.equal(fast(x[:1]), copy.deepcopy(fast)(x[:1]))
    close(fast(x), expected)
    del own
    gc.collect()
    assert torch.equal(fast(x), result)


def test_what_is_left_of_a_network_is_what_it_computes(fast: nn.Module) -> None:
    assert kinds(fast) == {"separable": 1, "inverted": 1, "mean": 1, "pointwise": 1}
