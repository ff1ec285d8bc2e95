"""The element types: one entry each, and everything that lists them derived from the entries."""

import ml_dtypes
import numpy as np
import pytest
import torch

from depthwise.commands.cost import measure_roofline
from depthwise.errors import SpecError
from depthwise.machine.target import host
from depthwise.problem.dtypes import (
    DEFAULT,
    DTYPES,
    ELEMENT_TYPES,
    QUANTIZED,
    element,
    names_by,
    worded,
)
from depthwise.problem.parse import parse
from depthwise.problem.values import nbytes
from depthwise.torch import dtypes as torch_dtypes
from test_cli import call_main


def test_there_are_four_of_real_numbers_and_the_first_is_the_default() -> None:
    assert DTYPES == ("float32", "float64", "bfloat16", "float16")
    assert QUANTIZED == ("int8", "uint8")
    assert {name for name, entry in ELEMENT_TYPES.items() if not entry.is_integer} == {*DTYPES}
    assert DEFAULT == "float32"


@pytest.mark.parametrize("name", DTYPES)
def test_an_entry_agrees_with_what_it_names(name: str) -> None:
    entry = element(name)
    assert entry.name == name
    assert entry.bytes == np.dtype(entry.numpy).itemsize == torch_dtypes.torch_type(entry).itemsize
    assert entry.epsilon == ml_dtypes.finfo(entry.numpy).eps
    assert element(entry.accumulator).bytes >= entry.computed.bytes >= entry.bytes


@pytest.mark.parametrize("name", DTYPES)
def test_sizes_are_counted_in_its_bytes(name: str) -> None:
    assert nbytes((3, 5), name) == np.zeros((3, 5), element(name).numpy).nbytes
    assert host().lanes(name) * element(name).computed.bytes == host().vector_bytes


def test_arrays_and_tensors_have_the_names_of_problems() -> None:
    assert [np.dtype(element(name).numpy).name for name in DTYPES] == [*DTYPES]
    assert {getattr(torch, name): name for name in DTYPES} == torch_dtypes.DTYPES


def test_where_entries_share_a_type_the_first_one_names_it() -> None:
    assert names_by(lambda _: "shared") == {"shared": DTYPES[0]}


@pytest.mark.parametrize("command", ["bench", "tune"])
def test_the_command_line_offers_all_and_refuses_others(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = call_main(monkeypatch, capsys, command, "--help")
    assert f"--dtype <{'|'.join(DTYPES + QUANTIZED)}>" in out
    code, _, err = call_main(monkeypatch, capsys, command, "--dtype", "half")
    assert code == 2
    assert "'half' is not one of 'float32', 'float64'" in err


def test_costs_speak_of_operations_on_whole_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for dtype, word in (("", "FLOPs"), (" uint8", "OPs")):
        _, out, _ = call_main(
            monkeypatch, capsys, "cost", f"depthwise c8 hw9 k3 p1 nhwc{dtype}", "--wide"
        )
        assert word in out.split()


def test_a_roofline_is_of_one_kind_of_numbers() -> None:
    mixed = map(parse, ("depthwise c8 hw9 k3 p1 nhwc uint8", "depthwise c8 hw9 k3 p1"))
    with pytest.raises(SpecError, match=r"of real or of whole numbers; got .* float32 and uint8"):
        measure_roofline(1, mixed)


def test_operations_are_named_by_what_they_compute_with() -> None:
    assert worded("GFLOP/s, FLOPs", ["float32", "float64"]) == "GFLOP/s, FLOPs"
    assert worded("GFLOP/s, FLOPs", ["float32", "int8"]) == "GOP/s, OPs"
