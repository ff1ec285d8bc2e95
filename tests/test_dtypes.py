"""The element types: one entry each, and everything that lists them derived from the entries."""

import numpy as np
import pytest
import torch

from depthwise.machine.target import host
from depthwise.problem import arrays
from depthwise.problem.dtypes import DEFAULT, DTYPES, ELEMENT_TYPES, element, names_by
from depthwise.problem.values import nbytes
from depthwise.torch import dtypes as torch_dtypes
from test_cli import call_main


def test_there_are_two_and_the_first_is_the_default() -> None:
    assert DTYPES == tuple(ELEMENT_TYPES) == ("float32", "float64")
    assert DEFAULT == "float32"


@pytest.mark.parametrize("name", DTYPES)
def test_an_entry_agrees_with_what_it_names(name: str) -> None:
    entry = element(name)
    assert entry.name == name
    assert entry.bytes == np.dtype(entry.numpy).itemsize == torch_dtypes.torch_type(entry).itemsize
    assert entry.epsilon == np.finfo(entry.numpy).eps
    assert element(entry.accumulator).bytes >= entry.bytes


@pytest.mark.parametrize("name", DTYPES)
def test_sizes_are_counted_in_its_bytes(name: str) -> None:
    assert nbytes((3, 5), name) == np.zeros((3, 5), element(name).numpy).nbytes
    assert host().lanes(name) * element(name).bytes == host().vector_bytes


def test_arrays_and_tensors_have_the_names_of_problems() -> None:
    assert {np.dtype("f4"): "float32", np.dtype("f8"): "float64"} == arrays.DTYPE_NAMES
    assert {torch.float32: "float32", torch.float64: "float64"} == torch_dtypes.DTYPES


def test_where_entries_share_a_type_the_first_one_names_it() -> None:
    assert names_by(lambda _: "shared") == {"shared": DTYPES[0]}


@pytest.mark.parametrize("command", ["bench", "tune"])
def test_the_command_line_offers_all_and_refuses_others(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = call_main(monkeypatch, capsys, command, "--help")
    assert f"--dtype <{'|'.join(DTYPES)}>" in out
    code, _, err = call_main(monkeypatch, capsys, command, "--dtype", "float16")
    assert code == 2
    assert "'float16' is not one of 'float32', 'float64'" in err
