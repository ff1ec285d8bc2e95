"""Kernels of networks compiled side by side."""

from __future__ import annotations

import itertools
import subprocess

import pytest

import depthwise as dw
from depthwise.compiler import is_stored
from depthwise.network import prepare as preparing
from depthwise.network.prepare import prepare

LINES = ("depthwise c{} hw5 k3 p1 nhwc", "pointwise c{} o4 hw5 nhwc", "depthwise c{} hw4 k3 nhwc")
_channels = itertools.count(90)


@pytest.fixture
def specs(tmp_path, monkeypatch):
    """Return problems of which neither the cache nor this process has any."""
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(preparing, "_cores", lambda: 2)
    channels = next(_channels)
    return [dw.parse(line.format(channels)) for line in LINES]


def test_each_kernel_is_compiled_once_by_other_processes(specs):
    told: list[str] = []
    assert not any(map(is_stored, specs))
    prepare([*specs, *specs], told.append)
    assert all(map(is_stored, specs))
    assert told[0] == "compile 3 kernels in 2 processes"
    assert [words.partition(":")[0] for words in told[1:4]] == [
        "compiled 1 of 3", "compiled 2 of 3", "compiled 3 of 3",
    ]  # fmt: skip


def test_what_is_in_the_cache_is_not_compiled(specs, monkeypatch):
    prepare(specs)

    def refuse(*_args, **_kwargs):
        raise AssertionError

    monkeypatch.setattr(subprocess, "Popen", refuse)
    prepare(specs)


def test_processes_that_end_leave_the_rest_to_the_caller(specs, monkeypatch):
    monkeypatch.setattr(preparing, "_COMMAND", ["true"])  # which answers nothing
    prepare(specs)
    assert all(map(is_stored, specs))


def test_an_interrupt_keeps_what_is_done(specs):
    def interrupt(words: str) -> None:
        if words.startswith("compiled 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(specs, interrupt)
    assert any(map(is_stored, specs))
