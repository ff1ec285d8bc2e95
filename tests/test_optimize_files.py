"""Optimized networks in files: loaded without torch where all is ours, and never a pickle."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from typer.testing import CliRunner

import depthwise as dw
import depthwise.torch as dwt
from alone import run_alone
from depthwise.commands.cli import app
from depthwise.errors import ModelError
from depthwise.network.saved import container
from depthwise.network.steps import Call
from depthwise.torch.network.functions import is_pure
from optimizing import Model, depthwise, images, pointwise, random_
from test_network_files import CHANGES, mutate

pytestmark = pytest.mark.usefixtures("one_process")

SHAPE = (1, 8, 6, 6)
RARE = torch.complex32
X = images(*SHAPE)


def all_ours() -> nn.Module:
    body = nn.Sequential(depthwise(8), nn.BatchNorm2d(8), nn.ReLU(), pointwise(8, 8))
    ends = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    return random_(nn.Sequential(*body, *ends))


def some_of_torch(self, x):
    a = self.first(x)
    b, c = a.chunk(2, 1)
    weights = torch.log_softmax(torch.cat([c, b * self.scale], 1), 1)
    seen = F.max_pool2d(self.second(weights), 2)
    return {"scores": self.dense(seen.flatten(1)), "parts": (seen, x.transpose(2, 3))}


def partly_ours() -> nn.Module:
    made = Model(some_of_torch, first=depthwise(8), second=pointwise(8, 6), dense=nn.Linear(54, 3))
    made.register_buffer("scale", torch.rand(4, 1, 1))
    return random_(made)


def saved(folder: Path, model: nn.Module, *args) -> tuple[nn.Module, Path]:
    """Return an optimized network, and the file of it."""
    fast, path = dwt.optimize(model, args), folder / "fast.dw"
    fast.save(path)
    return fast, path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("whole"), all_ours(), X)


@pytest.fixture(scope="module")
def partly(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("partly"), partly_ours(), X)


def flat(fast: nn.Module, x: torch.Tensor) -> list[np.ndarray]:
    return [each.numpy() for each in torch.utils._pytree.tree_leaves(fast(x))]


def assert_same(loaded: dw.Network, fast: nn.Module, x: torch.Tensor) -> None:
    results = loaded(x.numpy())
    found = results if isinstance(results, tuple) else (results,)
    for result, right in zip(found, flat(fast, x), strict=True):
        assert (result.dtype, result.shape) == (right.dtype, right.shape)
        np.testing.assert_array_equal(result, right)


LOAD = """
import sys
sys.modules["torch"] = None  # whose import fails from now on
import numpy as np
import depthwise as dw
from depthwise.errors import ModelError
try:
    print(dw.load({path!r})(np.load({x!r})).tolist())
except ModelError as error:
    print(error)
"""


def without_torch(path: Path, folder: Path) -> str:
    np.save(folder / "x.npy", X.numpy())
    done = run_alone(LOAD.format(path=str(path), x=str(folder / "x.npy")))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_network_of_kernels_alone_loads_without_torch(whole, tmp_path):
    fast, path = whole
    assert not any(isinstance(step.work, Call) for step in dw.load(path).program.steps)
    assert json.loads(without_torch(path, tmp_path)) == fast(X).tolist()


def test_without_torch_a_network_that_needs_it_is_refused_in_words(partly, tmp_path):
    said = without_torch(partly[1], tmp_path)
    assert "computed by torch; it is not installed: pip install" in said


@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_loaded_computes_the_same(whole, partly, batch):
    x = images(batch, *SHAPE[1:])
    for fast, path in (whole, partly):
        assert_same(dw.load(path), fast, x)


def test_it_is_saved_again_as_it_came(partly, tmp_path):
    _, path = partly
    dw.load(path).save(tmp_path / "again.dw")
    assert (tmp_path / "again.dw").read_bytes() == path.read_bytes()


def test_machine_code_is_taken_along(tmp_path):
    fast = dwt.optimize(all_ours(), X)
    fast.save(tmp_path / "fast.dw", with_code=True)
    assert "code" in container.read(tmp_path / "fast.dw")[0]
    assert_same(dw.load(tmp_path / "fast.dw", trust=True), fast, X)


def test_the_command_saves_what_loads(tmp_path):
    file = tmp_path / "fast.dw"
    line = ["optimize", f"{__name__}:all_ours", "--input", "1,8,6,6", "--save", str(file)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(dw.load(file)(X.numpy()), all_ours()(X).detach(), atol=1e-5)


def test_ends_are_named_and_their_sizes_open_where_the_model_leaves_them(partly):
    net = dw.load(partly[1])
    assert [(port.name, port.shape, port.dtype) for port in net.inputs] == [
        ("x", (None, 8, 6, 6), "float32")
    ]
    assert [port.shape for port in net.outputs] == [(None, 3), (None, 6, 3, 3), (None, 8, 6, 6)]


def test_arrays_that_are_only_read_or_lie_backward_are_taken(partly):
    fast, path = partly
    net, given = dw.load(path), X.numpy()[:, ::-1]
    given.flags.writeable = False
    with warnings.catch_warnings(action="error"):
        scores, _, turned = net(given)
    right, _, other = flat(fast, torch.from_numpy(given.copy()))
    np.testing.assert_array_equal(scores, right)
    np.testing.assert_array_equal(turned, other)


def test_results_are_the_callers(partly):
    _, path = partly
    net, given = dw.load(path), X.numpy().copy()
    before = [each.copy() for each in net(given)]
    for each in net(given):
        np.add(each, 1, out=each)
    np.testing.assert_array_equal(given, X.numpy())
    for result, right in zip(net(given), before, strict=True):
        np.testing.assert_array_equal(result, right)


def test_constants_that_are_results_are_the_callers(tmp_path):
    """Whose memory is the file's, which is only read."""
    made = Model(lambda self, x: (self.layer(x), self.table.transpose(0, 1)), layer=depthwise(8))
    made.register_buffer("table", torch.arange(6.0).reshape(2, 3))
    _, path = saved(tmp_path, random_(made), X)
    net = dw.load(path)
    for _ in range(2):
        _, table = net(X.numpy())
        np.testing.assert_array_equal(table, [[0, 3], [1, 4], [2, 5]])
        table += 1


def test_autocast_is_no_matter_of_a_loaded_network(partly):
    fast, path = partly
    with torch.autocast("cpu", torch.bfloat16):
        results = dw.load(path)(X.numpy())
    for result, right in zip(results, flat(fast, X), strict=True):
        np.testing.assert_array_equal(result, right)


def test_where_a_model_asks_for_its_batch_the_file_takes_the_examples(tmp_path):
    def forward(self, x):
        return self.layer(x) if x.shape[0] < 4 else self.layer(x) + 1

    fast, path = saved(tmp_path, random_(Model(forward, layer=depthwise(8))), images(2, 8, 6, 6))
    assert fast(images(3, 8, 6, 6)).shape[0] == 3
    net = dw.load(path)
    assert net.inputs[0].shape == (2, 8, 6, 6)
    assert_same(net, fast, images(2, 8, 6, 6))


class Branching(nn.Module):
    """A model that cannot be read as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = all_ours()

    def forward(self, x):
        return self.layers(x) if x.sum() > 1e9 else self.layers(x) + 1


@torch.library.custom_op("depthwise_tests::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@doubled.register_fake
def _(x):
    return torch.empty_like(x)


class Times(nn.Module):
    """A model that takes a number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = depthwise(8)

    def forward(self, x, times):
        return self.layer(x) * times


def behind(function) -> nn.Module:
    """Return a model that computes something of what a layer makes."""
    return Model(lambda self, x: function(self.layer(x)), layer=depthwise(8))


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize(
    ("model", "args", "said"),
    [
        (Branching(), (X,), r"module by module: torch\.save"),
        (Times(), (X, 2), r"tensors alone .*torch\.save.*; got input times"),
        (behind(lambda x: (x, 3)), (X,), "tensors alone.*got result 3"),
        (
            behind(doubled), (X,),
            r"compute and do nothing else \(torch\.save.*; got depthwise_tests\.doubled",
        ),
        (
            Model(lambda self, x: (self.layer(x), x.to(RARE)), layer=depthwise(8)), (X,),
            "types that NumPy has.*got complex32",
        ),
    ],
)  # fmt: skip
def test_what_a_file_cannot_hold_is_refused(model, args, said, tmp_path):
    fast = dwt.optimize(model.eval(), args)
    with pytest.raises(ModelError, match=said):
        fast.save(tmp_path / "fast.dw")
    assert [*tmp_path.iterdir()] == []


IMPURE = [
    "torch.load", "torch.save", "torch.hub.load", "torch.os.system", "torch.sys.exit",
    "operator.methodcaller", "operator.attrgetter", "operator.setitem", "math.__loader__",
    "torch.ops.load_library", "torch.ops.aten.save.default", "torch.ops.aten.from_file.default",
    "torch.ops.aten.add_.Tensor", "torch.ops.aten.add.out", "torch.ops.aten.__class__",
    "torch.ops.profiler._record_function_enter.default", "builtins.eval", "eval", "", "torch",
    "torch.sym_int.__globals__",
]  # fmt: skip
PURE = [
    "reshape", "convolution", "operator.getitem", "math.ceil", "torch.sym_max",
    "torch.ops.aten.relu.default", "torch.ops.aten.__and__.Tensor", "torch.ops.aten.sym_size.int",
    "torch.ops.aten._to_copy.default", "torch.ops.aten.native_layer_norm.default",
]  # fmt: skip


def pure(name: str) -> bool:
    try:
        return is_pure(name)
    except (AttributeError, LookupError):
        return False


def test_which_functions_compute_and_do_nothing_else():
    assert [name for name in IMPURE if pure(name)] == []
    assert [name for name in PURE if not pure(name)] == []


def forged(path: Path, payload: bytes) -> bytes:
    """Return a file whose first call is another."""
    description, tensors = container.read(path)
    call = next(step for step in description["steps"] if "call" in step)
    tensors = {**tensors, call["payload"]: np.frombuffer(payload, np.uint8)}
    return bytes(container.written(description, tensors))


@pytest.mark.parametrize("name", IMPURE)
def test_a_forged_file_that_calls_what_does_more_is_refused(partly, name, tmp_path):
    target = tmp_path / "made"
    payload = json.dumps([name, [str(target), 8, {"ref": 0}], {}]).encode()
    with pytest.raises(ModelError, match=r"functions of torch that compute|net\.save wrote"):
        dw.load(forged(partly[1], payload))(X.numpy())
    assert not target.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"[", b"\x80\x04K\x01.", b"[]", b'["reshape"]', b"[1, [], {}]", b"[" * 100_000,
        b'["reshape", [{"ref": 7}, [0]], {}]', b'["reshape", [{"ref": -1}, [0]], {}]',
        b'["reshape", [{"ref": "x"}, [0]], {}]', b'["reshape", [{"dtype": "load"}, [0]], {}]',
        b'["reshape", [{"what": 1}], {}]', b'["reshape", 3, {}]', b'["reshape", [{"ref": 0}], {}]',
        b'["torch.ops.aten.relu.default", [], {"self": "x"}]',
        b'["torch.ops.aten.cat.default", [[{"ref": 0}, "x"]], {}]',
    ],
)  # fmt: skip
def test_a_forged_call_that_is_none_is_refused_in_words(partly, payload):
    for batch in (1, 2):
        with pytest.raises(ModelError):
            dw.load(forged(partly[1], payload))(images(batch, *SHAPE[1:]).numpy())


def test_descriptions_that_do_not_fit_are_refused_in_words(partly):
    assert mutate(*container.read(partly[1]), CHANGES, 1) == []
