"""Exported networks on devices: each runs its own test under an emulator of the device."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import cross
import depthwise as dw
from depthwise.machine import target
from depthwise.machine.devices import DEVICES
from exporting import name_of, run, sources
from tiny_networks import NAMES, file

OTHERS = [name for name in DEVICES if not name.startswith("x86-64")]
DTYPES = "float32", "int8"


def assert_right_on(device: str, folder: Path) -> None:
    """Run the test of an export on a device."""
    own = target.named(device)
    toolchain = cross.toolchain(own)
    program = folder / "program"
    line = [*toolchain.compiler, "-std=c99", "-O2", *sources(folder), *cross.alone(own)]
    subprocess.run([*line, "-o", str(program), "-lm"], check=True)
    said = run(program, *toolchain.emulator)
    assert said.strip() == f"{name_of(folder)}: all right"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("device", OTHERS)
def test_a_small_network_is_right(device, dtype, tmp_path):
    cross.toolchain(target.named(device))
    dw.export(file("small", dtype), tmp_path / "net", target=device, optimize="memory", name="net")
    assert_right_on(device, tmp_path / "net")


@pytest.mark.parametrize("device", ["cortex-m4f", "aarch64", "wasm32"])
def test_its_c_is_right_too(device, tmp_path):
    cross.toolchain(target.named(device))
    dw.export(file("small", "int8"), tmp_path / "net", target=device, format="c", name="net")
    assert_right_on(device, tmp_path / "net")


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["speed", "memory"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", OTHERS)
def test_networks_of_microcontrollers_are_right(device, name, dtype, optimize, tmp_path):
    cross.toolchain(target.named(device))
    dw.export(file(name, dtype), tmp_path / name, target=device, optimize=optimize, name=name)
    assert_right_on(device, tmp_path / name)


@pytest.mark.parametrize("device", ["cortex-m4f", "aarch64", "riscv64", "wasm32"])
def test_static_libraries_are_made_for_devices(device, tmp_path):
    cross.toolchain(target.named(device))
    dw.export(
        file("small", "int8"), tmp_path / "net", target=device, format="static-library", name="net"
    )
    made = tmp_path / "net" / "libnet.a"
    assert made.read_bytes().startswith(b"!<arch>")
