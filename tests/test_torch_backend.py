"""torch.compile with our kernels: which graphs are taken, and which are left to torch."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from depthwise.torch import backend  # noqa: E402
from optimizing import close, depthwise, images, pointwise, random_  # noqa: E402

SHAPE = 1, 8, 6, 6


def model():
    return random_(nn.Sequential(pointwise(8, 12), nn.ReLU6(), depthwise(12), pointwise(12, 8)))


@pytest.fixture
def compiled(monkeypatch):
    """Return what compiles a model, and the list of what was optimized for it."""
    torch._dynamo.reset()
    made = []
    real = backend.optimize

    def optimize(*args, **kwargs):
        made.append(real(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(backend, "optimize", optimize)
    return lambda each: torch.compile(each, backend=backend.depthwise), made


def test_a_graph_runs_on_our_kernels(compiled):
    compile_, made = compiled
    given, x = model(), images(*SHAPE)
    with torch.no_grad():
        close(compile_(given)(x), given(x))
    assert [stage.kind for stage in made[0].network.kernels()] == ["pointwise", "separable"]


def test_weights_that_change_are_seen(compiled):
    compile_, _ = compiled
    given, x = model(), images(*SHAPE)
    fast = compile_(given)
    with torch.no_grad():
        fast(x)
        given[0].weight.mul_(2)
        close(fast(x), given(x))


def test_graphs_that_record_gradients_are_left_to_torch(compiled, caplog):
    compile_, made = compiled
    given, x = model(), images(*SHAPE)
    with caplog.at_level(logging.WARNING, backend.log.name):
        compile_(given)(x).sum().backward()
    assert given[0].weight.grad is not None
    assert not made
    assert "gradients" in caplog.text


def test_a_model_with_a_graph_break(compiled):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = model(), model()

        def forward(self, x):
            y = self.first(x)
            torch._dynamo.graph_break()
            return self.second(y)

    compile_, made = compiled
    given, x = Broken().eval(), images(*SHAPE)
    with torch.no_grad():
        close(compile_(given)(x), given(x))
    assert len(made) == 2


def test_what_cannot_be_optimized_is_left_to_torch(compiled, caplog):
    compile_, _ = compiled
    x = images(*SHAPE)
    with caplog.at_level(logging.WARNING, backend.log.name), torch.no_grad():
        close(compile_(nn.BatchNorm2d(8).train())(x), nn.BatchNorm2d(8).train()(x))
    assert "left to torch" in caplog.text


def test_torch_knows_it_by_name():
    given, x = model(), images(*SHAPE)
    torch._dynamo.reset()
    with torch.no_grad():
        close(torch.compile(given, backend="depthwise")(x), given(x))
