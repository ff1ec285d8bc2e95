"""The examples of the pages run, and those of README.md would not pass with other results."""

from __future__ import annotations

import pytest
import torch

import depthwise.torch as dwt
import readme


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.stem == "from_timm" else ())
        for page in readme.FROM_ELSEWHERE
    ],
    ids=lambda page: page.stem,
)
def test_the_examples_for_those_from_elsewhere_run(page):
    """(`make readme` runs them too.)"""
    assert readme.run(page) >= 2


def test_there_are_such_pages():
    assert {page.stem for page in readme.FROM_ELSEWHERE} == {
        "from_causal_conv1d", "from_tensorflow", "from_timm",
    }  # fmt: skip


def optimized_as(monkeypatch, answer):
    """Run README's example of a network, with `answer(model, image)` for what it computes."""
    monkeypatch.setattr(dwt, "optimize", lambda model, _: lambda image: answer(model, image))
    assert readme.run(readme.README, "dwt.optimize") == 1


def test_the_example_of_a_network_takes_what_is_right(monkeypatch):
    optimized_as(monkeypatch, lambda model, image: model(image))


@pytest.mark.parametrize(
    "answer",
    [
        lambda model, image: model(torch.randn_like(image)),
        lambda model, image: model(0.99 * image),
        lambda model, image: model(torch.zeros_like(image)),
    ],
    ids=["of another image", "of a darker image", "of any image"],
)
def test_the_example_of_a_network_refuses_what_is_wrong(monkeypatch, answer):
    with pytest.raises(AssertionError):
        optimized_as(monkeypatch, answer)


def test_the_example_of_a_network_refuses_one_that_looks_at_no_image(monkeypatch):
    """Two images have to differ in its own results, not in the model's alone."""
    kept = {}
    with pytest.raises(AssertionError):
        optimized_as(monkeypatch, lambda model, image: kept.setdefault("logits", model(image)))
