"""Packed weights: known again as long as not a byte of them has changed."""

from __future__ import annotations

import numpy as np
import pytest

import depthwise as dw
from depthwise.kernel import packing
from depthwise.kernel.packing import Packer
from depthwise.machine import team
from depthwise.problem import reference
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.form import PlainForm

SPEC = ConvSpec.depthwise(128, 9, 3, layout="NHWC")


def weights(seed=0):
    return np.random.default_rng(seed).random(SPEC.weight_shape, np.float32)


def test_weights_are_packed_once_from_the_second_call_on():
    pack, weight = Packer(SPEC, PlainForm()), weights()
    assert pack(weight) is not pack(weight)
    assert pack(weight) is pack(weight)
    np.testing.assert_array_equal(pack(weight).reshape(3, 3, 128), weight[:, 0].transpose(1, 2, 0))


@pytest.mark.parametrize("index", [0, -1])
def test_a_changed_element_is_packed_anew(index):
    pack, weight = Packer(SPEC, PlainForm()), weights()
    for _ in range(3):
        pack(weight)
    weight.flat[index] += 1
    np.testing.assert_array_equal(pack(weight).reshape(3, 3, 128), weight[:, 0].transpose(1, 2, 0))


def test_few_weights_are_known_at_a_time(monkeypatch):
    monkeypatch.setattr(packing, "_MOST_KEPT", 2)
    pack, many = Packer(SPEC, PlainForm()), [weights(seed) for seed in range(4)]
    for _ in range(2):
        for weight in many:
            packed = pack(weight).reshape(3, 3, 128)
            np.testing.assert_array_equal(packed, weight[:, 0].transpose(1, 2, 0))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_function_sees_weights_that_are_changed_in_place(layout):
    spec = dw.parse(f"separable c64 o48 hw6 k3 {layout.lower()}")
    x, depthwise, pointwise, _ = dw.random_problem(spec)
    for step in range(6):
        (depthwise, pointwise)[step % 2].flat[step] += 1
        for _ in range(3):
            got = dw.separable_conv2d(x, depthwise, pointwise, layout=layout)
        wanted = reference.forward(spec, x, depthwise, pointwise)
        np.testing.assert_allclose(got, wanted, *reference.tolerance(spec))


def test_comparing():
    kept = weights()
    same = team.native().same
    assert same(kept.copy(), kept)
    assert same(kept.ctypes.data, kept)
    assert not same(weights(1), kept)
    with pytest.raises(TypeError):
        same(kept)
