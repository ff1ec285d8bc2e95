"""A short run of each part of `make fuzz`, and that a run notices what is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import depthwise as dw
import depthwise.torch
from fuzz import driver
from fuzz.cases import CASES
from fuzz.parts import PARTS, Part
from fuzz.texts import TRIES

SHORT = {
    "operands": 800, "lines": 30, "kills": 4, "forks": 3, "reentrant": 300, "disks": 3, "widths": 4,
}  # fmt: skip
"""How many calls are made here of each part."""
REGISTERED = {
    name.partition("::")[2]
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("depthwise::")
}


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_wrong_in_a_short_run(part):
    calls, cache = SHORT[part], Path(os.environ["DEPTHWISE_CACHE"])
    tally = driver.run(part, 0, calls, float("inf"), cache=cache)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.calls >= calls
    assert tally.counts["right"] + tally.counts["refused"] > calls / 3 or tally.counts["skipped"]


def test_everything_public_is_called():
    called = {word for name in (*CASES, *TRIES) for word in name.split()}
    elsewhere = {
        "errors",
        "load",
        "Network",
        "quantize",
        "export",
        "from_tensorflow_filter",
    }  # files, and a transposition
    assert {*dw.__all__} - elsewhere <= called
    words = {"_".join(name.split()[1:]) for name in CASES if name.startswith("dispatched")}
    gradients = {f"conv2d_{kind}_gradient" for kind in ("input", "weight")}
    assert {f"conv2d_{word}" if word.endswith("_gradient") else word for word in words} | {
        "compute"
    } == (REGISTERED)
    assert gradients <= REGISTERED


@pytest.mark.parametrize(
    ("how", "counts", "said"),
    [
        ("crashes", {"crashed": 1, "right": 20}, "exit status -6: Fatal Python error: Aborted"),
        ("hangs", {"hung": 1, "right": 20}, r"faulty\.py., line \d+ in go_wrong"),
        ("raises", {"wrong": 1, "right": 20}, "KeyError: 'a reason'"),
        ("leaves", {"left behind": 2, "right": 20}, r"temporary files \['left'\]"),
    ],
)
def test_what_is_wrong_is_noticed_and_the_run_goes_on(how, counts, said, monkeypatch):
    monkeypatch.setitem(PARTS, "faulty", Part("", 0, 2.0))
    monkeypatch.setenv("FAULTY", how)
    tally = driver.run("faulty", 0, 20, float("inf"))
    assert tally.counts == counts
    assert re.search(said, "\n".join(tally.faults))


def test_the_end_is_a_table_and_a_status():
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "widths", "--calls", "1", "--seed", "7"],
        env=os.environ | {"PYTHONPATH": str(driver.TESTS)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    *_, seed, header, row = done.stdout.splitlines()
    assert seed == "seed 7"
    assert header.split()[:3] == ["part", "calls", "right"]
    name, calls, right, *others = row.split()
    assert (name, calls) == ("widths", right)
    assert others[:-1] == ["0"] * 6
