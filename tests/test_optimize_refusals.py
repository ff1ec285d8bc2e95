"""What `optimize` and its networks refuse, and that they say why."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import depthwise.torch as dwt
from depthwise.errors import ArrayError, ModelError
from depthwise.kernel.kernel import Kernel
from optimizing import Model, check, depthwise, images, pointwise, random_

X = images(1, 8, 6, 6)
TORCHSCRIPT = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def model(*more: nn.Module) -> nn.Sequential:
    return random_(nn.Sequential(depthwise(8), nn.BatchNorm2d(8), nn.ReLU(), *more))


@pytest.fixture(scope="module")
def fast() -> nn.Module:
    return dwt.optimize(model(), X)


def with_hook(kind: str) -> nn.Module:
    made = model()
    getattr(made[0], f"register_forward_{kind}")(lambda *_: None)
    return made


def training(made: nn.Module, part: int) -> nn.Module:
    made[part].train()
    return made


BROKEN = {
    "training": (lambda: model().train(), X, r"evaluation mode.*got training mode in the model it"),
    "a part in training": (
        lambda: training(model(nn.Dropout(0.5)), 3), X, r"evaluation mode.*training mode in 3$",
    ),
    "hook": (lambda: with_hook("hook"), X, r"no hooks.*hooks of 0$"),
    "hook before": (lambda: with_hook("pre_hook"), X, r"no hooks.*hooks of 0$"),
    "8 bits": (model, X.to(torch.float8_e5m2), r"bfloat16 or float16; got torch\.float8_e5m2$"),
    "mixed": (model, X.half(), r"of one type; got torch\.float16, torch\.float32$"),
    "complex": (model, X.to(torch.complex64), r"got torch\.complex64$"),
    "meta": (lambda: model().to("meta"), X, r"on the CPU; got meta$"),
    "meta input": (model, X.to("meta"), r"on the CPU; got meta$"),
    "no tensor": (model, "image", r"an example input holds a tensor; got \('image',\)$"),
    "no input": (model, (), r"an example input holds a tensor; got \(\)$"),
    "script": (lambda: torch.jit.script(model()), X, r"is Python.*got RecursiveScriptModule$"),
    "trace": (lambda: torch.jit.trace(model(), X), X, r"is Python.*got TopLevelTracedModule$"),
    "frozen": (lambda: torch.jit.freeze(torch.jit.script(model())), X, r"got RecursiveScript"),
    "no module": (lambda: torch.relu, X, r"nn\.Module; got builtin_function_or_method$"),
}  # fmt: skip


@TORCHSCRIPT
@pytest.mark.parametrize("case", BROKEN.values(), ids=list(BROKEN))
def test_models_and_examples_that_are_refused(case) -> None:
    make, example, message = case
    with pytest.raises(ModelError, match=message):
        dwt.optimize(make(), example)


def test_hooks_of_all_modules_are_refused() -> None:
    handle = register_module_forward_hook(lambda *_: None)
    try:
        with pytest.raises(ModelError, match="no hooks of all modules"):
            dwt.optimize(model(), X)
    finally:
        handle.remove()


def test_autocast_is_refused_and_does_not_change_a_network(fast) -> None:
    expected = fast(X)
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ModelError, match="in its own type; got autocast"):
            dwt.optimize(model(), X)
        assert torch.equal(fast(X), expected)


def test_weights_normed_by_a_hook_are_refused() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        made = nn.Sequential(nn.utils.weight_norm(depthwise(8))).eval()
    with pytest.raises(ModelError, match=r"parametrize.*hooks of 0$"):
        dwt.optimize(made, X)


class Counting(nn.Module):
    """Changes a buffer in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = depthwise(8)
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.conv(x) + self.calls


class Ramified(nn.Module):
    """Goes one of two ways, as the data say."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(depthwise(8), pointwise(8, 8))
        self.second = nn.Sequential(depthwise(8), nn.ReLU6())
        self.third = nn.Sequential(depthwise(8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.second(y) if y.sum() > 0 else self.third(y)


def test_what_cannot_be_traced_as_a_whole_is_optimized_in_parts() -> None:
    made = random_(Ramified())
    assert made.first(X).sum() > 0
    fast = dwt.optimize(made, X)
    assert fast.report.traced == "module by module"
    assert [row.name for row in fast.report.rows if row.kind == "separable"] == ["first.0 to 1"]
    reasons = dict(fast.report.untouched)
    assert "torch.export" in reasons["the model as a whole"]
    assert "called once; got 0 calls" in reasons["third.0"]
    for x in (X, -5 * X, images(2, 8, 6, 6)):
        check(made, fast, x)
    with pytest.raises(ModelError, match=r"infers \(use \.eval\(\)\)"):
        copy.deepcopy(fast).train()(X)
    with pytest.raises(ModelError, match="keeps its weights"):
        fast.load_state_dict(fast.state_dict())
    with pytest.raises(ModelError, match="stays on the CPU"):
        fast.double()
    check(made, fast, X)


@TORCHSCRIPT
def test_a_part_in_torchscript_stays_as_it_is() -> None:
    made = random_(Ramified())
    made.second = torch.jit.script(made.second)
    fast = dwt.optimize(made, X)
    assert [row.name for row in fast.report.rows if row.kind == "separable"] == ["first.0 to 1"]
    for x in (X, -5 * X):
        check(made, fast, x)


def test_what_cannot_be_traced_prints_nothing(capfd) -> None:
    dwt.optimize(random_(Ramified()), X)
    assert capfd.readouterr() == ("", "")


def test_a_model_of_which_no_part_can_be_optimized_is_refused() -> None:
    with pytest.raises(ModelError, match=r"changes neither its buffers.*\['calls'\]"):
        dwt.optimize(Ignorant().eval(), X)


class Ignorant(Counting):
    """The same, with a convolution that is no module."""

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.conv2d(x, self.conv.weight, groups=8) + self.calls


def test_an_input_that_is_changed_is_refused() -> None:
    made = Model(lambda s, x: s.conv(x.relu_()), conv=depthwise(8)).eval()
    fast = dwt.optimize(made, X.clone())
    assert fast.report.traced == "module by module"
    assert "neither its buffers nor its inputs" in fast.report.untouched[0][1]
    x = X.clone()
    fast(x)
    assert torch.equal(x, X.relu())


def test_looking_changes_neither_the_model_nor_the_example() -> None:
    made, x = Counting().eval(), X.clone()
    made.conv = Model(lambda s, x: s.conv(x.add_(1)), conv=made.conv).eval()
    with pytest.raises(ModelError, match="computes the same each time"):
        dwt.optimize(made, x)
    assert made.calls == 0
    assert torch.equal(x, X)


def test_a_wrong_kernel_is_never_returned(monkeypatch) -> None:
    right = Kernel.launches

    def wrong(kernel, x, packed, between, out):
        return right(kernel, x, [packed[0] * 1.001, *packed[1:]], between, out)

    monkeypatch.setattr(Kernel, "launches", wrong)
    with pytest.raises(ModelError, match=r"at most 7\.6e-06\); got 1\.0e-03$"):
        dwt.optimize(random_(Model(lambda s, x: s.conv(x), conv=depthwise(8))), X)


@pytest.mark.parametrize("change", [nn.Module.double, nn.Module.half, lambda m: m.to("meta")])
def test_a_network_stays_as_it_is(fast, change) -> None:
    expected = fast(X)
    with pytest.raises(ModelError, match="stays on the CPU in the type"):
        change(fast)
    with pytest.raises(ModelError, match="stays on the CPU in the type"):
        change(nn.Sequential(fast))
    for same in (fast.float(), fast.to("cpu"), fast.cpu(), fast.to(torch.float32)):
        assert same is fast
    assert torch.equal(fast(X), expected)


def test_networks_take_no_weights(fast) -> None:
    whole = nn.Sequential(fast)
    with pytest.raises(ModelError, match="keeps its weights"):
        fast.load_state_dict(fast.state_dict())
    with pytest.raises(ModelError, match="keeps its weights"):
        whole.load_state_dict(whole.state_dict())


def test_networks_do_not_train() -> None:
    fast = dwt.optimize(model(), X)
    with pytest.raises(ModelError, match="got training mode"):
        fast.train()(X)
    assert torch.equal(fast.eval()(X), fast(X))


def test_inputs_that_are_not_the_examples(fast) -> None:
    for wrong, message in [
        ((X.double(),), r"torch\.float32 tensor; got torch\.float64$"),
        (([X],), "inputs like the example's"),
        ((3,), r"torch\.float32 tensor; got int$"),
        ((X, X), "got 2 inputs by position and none by name"),
        ((), "got 0 inputs"),
    ]:
        with pytest.raises(ArrayError, match=message):
            fast(*wrong)
    with pytest.raises(ArrayError, match="got 0 inputs by position and y by name"):
        fast(y=X)
    assert torch.equal(fast(input=X), fast(X))


def test_gradients_are_refused(fast) -> None:
    x = X.clone().requires_grad_()
    with pytest.raises(ArrayError, match="computes no gradients"):
        fast(x)
    with torch.no_grad():
        assert torch.equal(fast(x), fast(X))
    assert not fast(x.detach()).requires_grad
