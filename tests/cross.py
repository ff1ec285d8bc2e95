"""Kernels for other devices, run here by emulators on arrays that a program of C reads."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from depthwise.errors import TargetError
from depthwise.machine.target import Target
from depthwise.machine.toolchains import Command, Toolchain, found
from depthwise.problem.arrays import Array
from depthwise.problem.problem import Problem
from depthwise.programs.build import SYMBOL, Built
from depthwise.programs.writers import programs
from depthwise.schedule import default_plan, rule_of
from depthwise.schedule.plan import AnyPlan
from depthwise.schedule.steps import INPUT, OUTPUT, Step

MAIN = """
#include <stdint.h>
#include <stdio.h>

extern void {symbol}({parameters}, int32_t first, int32_t last);

static uint8_t memory[{memory}] __attribute__((aligned(64)));

int main(void) {{
  enum {{ SIZES, GIVEN = {count}, RESULT, TASKS, STEP, NUMBERS }};
  int32_t number[NUMBERS];
  uint8_t *a[{count}], *free = memory;
  FILE *file = fopen("given", "rb");
  if (!file || fread(number, sizeof number, 1, file) != 1) return 2;
  for (int i = 0; i < {count}; i++) {{
    size_t size = (size_t)number[SIZES + i];
    a[i] = free + {offset};
    free += (size + {offset} + 63) / 64 * 64;
    if (free > memory + sizeof memory) return 3;
    if (i < number[GIVEN] && fread(a[i], 1, size, file) != size) return 4;
  }}
  fclose(file);
  for (int turn = 0; turn < {turns}; turn++)
    for (int32_t task = 0; task < number[TASKS]; task += number[STEP]) {{
      int32_t end = task + number[STEP];
      {symbol}({arguments}, task, end < number[TASKS] ? end : number[TASKS]);
    }}
  file = fopen("result", "wb");
  size_t size = (size_t)number[SIZES + number[RESULT]];
  return fwrite(a[number[RESULT]], 1, size, file) != size || fclose(file);
}}
"""
MEMORY_BYTES = 384 * 1024
"""Of all arrays of a call, on a device that has little."""
PATIENCE_SECONDS = 120
_START = Path(__file__).parent / "cortex_m"
_RAM = {"cortex-m55": (0x60000000, 2**24), "cortex-m0plus": (0x20000000, 2**23)}
"""Where memory for data begins on the boards of the emulators, and its bytes."""
_USUAL_RAM = 0x20000000, 2**22


def toolchain(target: Target) -> Toolchain:
    """Return what compiles and runs programs for a target; skip where it is not there."""
    try:
        return found(target, running=True)
    except TargetError as error:
        pytest.skip(str(error))


def result(
    problem: Problem, arrays: list[Array], target: Target, folder: Path, step: int = 2,
    plan: AnyPlan | None = None, emulator: Command | None = None,
) -> Array:  # fmt: skip
    """Return what the kernels for a target compute of arrays, `step` tasks in a call."""
    plan = plan or default_plan(problem, target)
    known = dict(zip((INPUT, *problem.operands), arrays, strict=True))
    for each in rule_of(plan, problem, target).steps(problem, plan, target):
        built = programs(each.problem, each.plan, target)[each.number].built
        given, name, output = arguments(each, known, problem)
        place = each.arguments.index(name), output
        run(built, given, place, target, folder, step, emulator=emulator)
        known[name] = output
    return known[OUTPUT]


def arguments(
    step: Step, known: dict[str, Array], problem: Problem
) -> tuple[list[Array], str, Array]:
    """Return what a step reads, and the array that it writes with its name."""
    between = {name: buffer.shape for name, buffer in step.buffers.items()}
    shapes = {**between, OUTPUT: problem.output_shape}
    given = []
    for argument in step.arguments:
        if argument in shapes and argument not in known:
            name = argument
            continue
        array = np.ascontiguousarray(known[argument])
        if packing := step.packings.get(argument):
            pack = packing.form.pack(packing.conv)
            array = pack(array) if pack else array
        given.append(array)
    kind = problem.dtype_of("y") if name == OUTPUT else problem.dtype
    return given, name, np.zeros(shapes[name], kind)


def instructions(
    problem: Problem, arrays: list[Array], target: Target, folder: Path, plan: AnyPlan | None = None
) -> int:
    """Return how many instructions the only kernel of a problem takes."""
    plan = plan or default_plan(problem, target)
    known = dict(zip((INPUT, *problem.operands), arrays, strict=True))
    (step,) = rule_of(plan, problem, target).steps(problem, plan, target)
    built = programs(step.problem, step.plan, target)[step.number].built
    given, name, output = arguments(step, known, problem)
    place = step.arguments.index(name), output
    program, *options = toolchain(target).emulator
    emulator = (program, "-plugin", counter(), "-d", "plugin", *options)
    counts = []
    for turns in (1, 2):
        said = run(built, given, place, target, folder, built.tasks, turns, emulator)
        counts.append(int(said.split("instructions")[1].split()[0]))
    return counts[1] - counts[0]


@cache
def counter() -> str:
    """Return QEMU's plugin that counts instructions."""
    plugin = Path(mkdtemp(prefix="depthwise-")) / "count.so"
    source = Path(__file__).with_name("count.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", str(source), "-o", str(plugin)], check=True)
    return str(plugin)


def run(
    built: Built, given: list[Array], output: tuple[int, Array], target: Target, folder: Path,
    step: int, turns: int = 1, emulator: Command | None = None,
) -> str:  # fmt: skip
    """Run a kernel; return what the emulator says.

    Args:
        built: its machine code.
        given: the arrays that it reads.
        output: which argument it writes, and the array for that.
        target: the device.
        folder: where files may lie.
        step: tasks in a call.
        turns: how often all tasks are computed.
        emulator: the command that runs the program, if not the usual one.
    """
    place, array = output
    blank = np.zeros_like(array)
    arrays = [*given[:place], blank, *given[place:]]
    sizes = [each.nbytes for each in arrays]
    sizes += [built.scratch_bytes] if built.scratch_bytes else []
    numbers = [*sizes, len(arrays), place, built.tasks, step]
    data = [np.array(numbers, np.int32), *arrays]
    (folder / "given").write_bytes(b"".join(each.tobytes() for each in data))
    (folder / "kernel.o").write_bytes(built.object)
    program = link(target, len(sizes), folder / "kernel.o", turns)
    command = emulator or toolchain(target).emulator
    done = subprocess.run(
        [*command, program], cwd=folder, capture_output=True, text=True, check=False,
        timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"{target}: ended with {done.returncode}: {done.stderr}"
    array[...] = np.fromfile(folder / "result", array.dtype).reshape(array.shape)
    return done.stderr


def link(target: Target, count: int, kernel: Path, turns: int = 1) -> str:
    """Return a static program that calls a kernel of so many arrays."""
    program = str(kernel.with_name("program"))
    objects = [str(kernel), main(target, count, turns), *alone(target)]
    subprocess.run([*toolchain(target).compiler, *objects, "-o", program, "-lm"], check=True)
    return program


def alone(target: Target) -> list[str]:
    """Return what makes a program of sources that an emulator of a device starts."""
    if target.triple.startswith("thumb"):
        origin, size = _RAM.get(target.device, _USUAL_RAM)
        return [
            str(_START / "start.c"), "--specs=rdimon.specs", "-T", str(_START / "memory.ld"),
            f"-Wl,--defsym=RAM={origin},--defsym=RAM_BYTES={size}",
        ]  # fmt: skip
    return [] if target.device in ("wasm32", "c") else ["-static"]


@cache
def main(target: Target, count: int, turns: int = 1, offset: int = 0) -> str:
    """Return the object of a program that calls a kernel of so many arrays."""
    text = MAIN.format(
        symbol=SYMBOL, parameters=", ".join(["void *"] * count), count=count, turns=turns,
        memory=MEMORY_BYTES, offset=offset, arguments=", ".join(f"a[{i}]" for i in range(count)),
    )  # fmt: skip
    folder = Path(mkdtemp(prefix="depthwise-"))
    (folder / "main.c").write_text(text)
    compiler, built = toolchain(target).compiler, str(folder / "main.o")
    subprocess.run([*compiler, "-O1", "-c", str(folder / "main.c"), "-o", built], check=True)
    return built
