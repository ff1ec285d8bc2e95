"""Packed weights: known again as long as not a byte of them has changed."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict

import numpy as np
import pytest
import torch

import depthwise as dw
from depthwise.compiler import plan_of, steps_of
from depthwise.kernel import packing
from depthwise.kernel.packing import Packer
from depthwise.machine import team
from depthwise.machine.target import named
from depthwise.problem import reference
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import form
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


@pytest.fixture
def room_for_three(monkeypatch):
    """Let three weights of `SPEC` be known in the whole process, none at first."""
    monkeypatch.setattr(packing, "_kept", OrderedDict())
    monkeypatch.setattr(packing, "MOST_BYTES", 3 * Packer(SPEC, PlainForm()).kept_bytes)


def known(pack, weight):
    """Whether a weight is known, so that it is not packed again."""
    return pack(weight) is pack(weight)


def test_what_is_known_takes_no_more_than_a_bound(room_for_three):
    packers = [Packer(SPEC, PlainForm()) for _ in range(2)]
    many = [weights(seed) for seed in range(8)]
    tracemalloc.start()
    for number, weight in enumerate(many):
        for _ in range(3):
            packed = packers[number % 2](weight).reshape(3, 3, 128)
            np.testing.assert_array_equal(packed, weight[:, 0].transpose(1, 2, 0))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(packing._kept) == 3
    assert held < 4 * packers[0].kept_bytes


def test_what_was_not_used_for_longest_is_forgotten_first(room_for_three):
    pack, other = Packer(SPEC, PlainForm()), Packer(SPEC, PlainForm())
    first, second, third, fourth = map(weights, range(4))
    for weight in (first, second, third):
        pack(weight), pack(weight)
    kept = {id(weight): pack(weight) for weight in (second, third, first)}  # so the second goes
    other(fourth), other(fourth)
    assert pack(first) is kept[id(first)]
    assert pack(third) is kept[id(third)]
    assert pack(second) is not kept[id(second)]


def test_a_weight_that_changes_with_each_call_takes_the_room_of_one(room_for_three):
    pack, weight = Packer(SPEC, PlainForm()), weights()
    for _ in range(8):
        weight += 1
        packed = pack(weight).reshape(3, 3, 128)
        np.testing.assert_array_equal(packed, weight[:, 0].transpose(1, 2, 0))
    assert len(packing._kept) == 1


def test_weights_beyond_the_bound_are_packed_in_each_call(room_for_three, monkeypatch):
    monkeypatch.setattr(packing, "MOST_BYTES", packing.MOST_BYTES // 4)
    pack, weight = Packer(SPEC, PlainForm()), weights()
    assert not any(known(pack, weight) for _ in range(3))
    assert not packing._kept


VIEWS = {
    "array": lambda weight: weight,
    "view": lambda weight: weight[:, :, ::1],
    "reversed": lambda weight: weight[::-1],
    "tensor": torch.from_numpy,
    "parameter": lambda weight: torch.nn.Parameter(torch.from_numpy(weight), requires_grad=False),
    "storage": torch.tensor,
    "storage, anew": lambda weight: torch.tensor(weight).numpy(),
}
"""What may be given for a weight; each has its memory, or keeps who has it."""


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_what_is_known_of_weights_goes_when_their_memory_does(monkeypatch, view):
    monkeypatch.setattr(packing, "_kept", OrderedDict())
    x, rng = np.ones((1, 9, 9, 128), np.float32), np.random.default_rng(0)
    for _ in range(10):
        given = view(rng.random(SPEC.weight_shape, np.float32))
        image = x if isinstance(given, np.ndarray) else torch.from_numpy(x)
        first, *others = (dw.depthwise_conv2d(image, given[:], layout="NHWC") for _ in range(3))
        assert packing.kept_bytes() == 2 * given.nbytes
        assert all(np.array_equal(first, other) for other in others)
        expected = reference.forward(SPEC, x, np.from_dlpack(given))
        np.testing.assert_allclose(first, expected, rtol=1e-4)
        del given
        assert packing.kept_bytes() == 0


def test_the_end_of_memory_leaves_what_is_known_of_its_address_by_now(monkeypatch):
    monkeypatch.setattr(packing, "_kept", OrderedDict())
    pack, weight = Packer(SPEC, PlainForm()), weights()
    before, now = np.empty(1), np.empty(1)
    pack(weight, before), pack(weight, before)
    weight += 1
    packed = pack(weight, now)
    del before
    assert pack(weight, now) is packed
    del now
    assert not packing._kept
    assert pack(weight) is not packed


def test_many_weights_may_be_seen_once(monkeypatch):
    monkeypatch.setattr(packing, "_MOST_SEEN", 2)
    pack, many = Packer(SPEC, PlainForm()), [weights(seed) for seed in range(4)]
    for _ in range(2):
        for weight in many:
            packed = pack(weight).reshape(3, 3, 128)
            np.testing.assert_array_equal(packed, weight[:, 0].transpose(1, 2, 0))
    assert all(known(pack, weight) or known(pack, weight) for weight in many)


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


@pytest.mark.parametrize("cpu", [None, "x86-64-v3", "cortex-m4f", "cortex-a76", "c"])
@pytest.mark.parametrize("line", [
    "pointwise c65 o33 hw5 nhwc int8", "conv c3 o9 hw7 k3 nhwc uint8", "pointwise c65 o33 hw5 nhwc",
    "depthwise c13 hw7 k3 nhwc uint8", "depthwise c13 hw7 k5 m2 nhwc", "conv c6 o10 hw7 k3 g2",
    "conv c3 o9 hw7 k3 nhwc",
])  # fmt: skip
def test_every_byte_of_packed_weights_is_written(line, cpu, monkeypatch):
    spec, target = dw.parse(line), named(cpu)
    _, weight, *_ = dw.random_problem(spec)
    (step,) = steps_of(spec, plan_of(spec, target), target)
    found = []
    for filled in (0, 77):

        def aligned(shape, dtype, filled=filled):
            return np.frombuffer(
                bytearray([filled]) * (int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype
            ).reshape(shape)

        monkeypatch.setattr(form, "aligned", aligned)
        for each in step.packings.values():
            pack = each.form.pack(each.conv)
            found.append(weight.tobytes() if pack is None else np.asarray(pack(weight)).tobytes())
    assert found[0] == found[1]
