"""How much of models that nobody here wrote is recognised."""

from collections import Counter
from functools import cache

import pytest
import torch

from depthwise.network.steps import Call
from depthwise.torch.network.tracing import trace
from depthwise.torch.optimize import _network
from transformer_models import transformer_model

RECOGNISED = {
    "mobilenet_v2": {"conv": 1, "separable": 1, "inverted": 16},
    "convnext": {"conv": 4, "depthwise": 5},
}
LEFT = {"mobilenet_v2": set(), "convnext": {"mean.dim"}}
VIEWS = {"view.default", "reshape.default", "flatten.using_ints"}


@cache
def network(name):
    """Return what a model becomes before any of it is compiled."""
    image = (torch.randn(1, 3, 64, 64),)
    model = transformer_model(name, 64)
    return _network(model, trace(model, image, any_batch=False), image)[0].network


@pytest.mark.parametrize("name", RECOGNISED)
def test_blocks_of_transformers(name):
    found = Counter(stage.kind for stage in network(name).stages)
    assert RECOGNISED[name].items() <= found.items()
    works = [step.work for step in network(name).program.steps]
    called = {work.title for work in works if isinstance(work, Call)}
    left = {title.removeprefix("aten.") for title in called} - VIEWS
    assert left <= LEFT[name]


def test_layer_scales_and_residuals_of_convnext_are_in_its_projections():
    specs = [str(stage.spec) for stage in network("convnext").stages]
    assert sum(text.endswith("bias residual") for text in specs) == 5
