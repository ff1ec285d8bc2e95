"""Softmax over the channels behind a kernel, as passes over them: what ONNX Runtime computes."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_models import checked, left, model, node, noise, port

CONSTANTS = {"w": noise(8, 6, 1, 1), "m": noise(6, 10)}


@pytest.mark.parametrize("axis", [1, -3])
def test_of_images_no_engine_is_needed(axis):
    nodes = [node("Conv", "x w", "c"), node("Softmax", "c", "y", axis=axis)]
    image = 40 * noise(2, 6, 4, 3)  # exponentials of what is far apart
    network = checked(model(nodes, [port("x", (2, 6, 4, 3))], ["y"], CONSTANTS), image)
    assert left(network) == []
    np.testing.assert_allclose(network(image).sum(1), 1, rtol=1e-5)


def test_of_rows_no_engine_is_needed():
    nodes = [node("Gemm", "x m", "c"), node("Softmax", "c", "y", axis=-1)]
    network = checked(model(nodes, [port("x", (3, 6))], ["y"], CONSTANTS), noise(3, 6))
    assert left(network) == []


@pytest.mark.parametrize("axis", [2, 3])
def test_along_other_axes_it_is_left(axis):
    nodes = [node("Conv", "x w", "c"), node("Softmax", "c", "y", axis=axis)]
    shape = (2, 6, 4, 3)
    network = checked(model(nodes, [port("x", shape)], ["y"], CONSTANTS), noise(*shape))
    assert left(network) != []


def test_infinite_scores_are_what_they_are_elsewhere():
    nodes = [node("Conv", "x w", "c"), node("Softmax", "c", "y", axis=1)]
    network = checked(model(nodes, [port("x", (1, 6, 1, 1))], ["y"], CONSTANTS), noise(1, 6, 1, 1))
    assert np.isnan(network(np.full((1, 6, 1, 1), np.nan, np.float32))).all()
