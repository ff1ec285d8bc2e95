"""Problems printed as C, compiled by a compiler of this machine and run on arrays."""

from __future__ import annotations

import ctypes
import os
import subprocess
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np

import depthwise as dw
from depthwise import schedule
from depthwise.machine.target import named
from depthwise.programs.c99 import HELPERS, Source, c_source
from depthwise.programs.writers import programs
from depthwise.schedule.steps import INPUT, OUTPUT
from exact import poisoned

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
PLAIN = named("c")


@dataclass(frozen=True)
class Printed:
    """The steps of a problem as C, in a file of their own."""

    spec: dw.Problem
    plan: dw.Plan | dw.BlockPlan | None = None
    name: str = "kernel"
    steps: tuple = field(init=False)
    sources: tuple[Source, ...] = field(init=False)

    def __post_init__(self):
        plan = self.plan or schedule.default_plan(self.spec, PLAIN, 1)
        written = cache(programs)
        steps = schedule.rule_of(plan, self.spec, PLAIN).steps(self.spec, plan, PLAIN)
        sources = [
            c_source(written(s.problem, s.plan, PLAIN)[s.number], f"{self.name}_{i}")
            for i, s in enumerate(steps)
        ]
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "sources", tuple(sources))

    @property
    def text(self):
        """Definitions, and a function for each step that others can call."""
        parts = []
        for i, source in enumerate(self.sources):
            arrays = ", ".join(f"a[{place}]" for place in range(len(source.arguments)))
            call = f"{self.name}_{i}({arrays}, first, last);"
            head = f"void {self.name}_step_{i}(void **a, int32_t first, int32_t last)"
            parts += [source.text, f"{head};\n{head} {{\n  {call}\n}}\n"]
        return "\n".join(parts)

    def arrays(self, x, operands, out):
        """Return the arrays of each step, without scratch memory."""
        given = {INPUT: x, **dict(zip(self.spec.operands, operands, strict=True)), OUTPUT: out}
        for step in self.steps:
            for name, buffer in step.buffers.items():
                given[name] = np.full(buffer.shape, np.nan, buffer.dtype)
            for name, numbers in step.constants.items():
                given[name] = np.array(numbers, np.int64)
            for name, packing in step.packings.items():
                pack = packing.form.pack(packing.conv)
                given[name] = np.ascontiguousarray(pack(given[name]) if pack else given[name])
        return [[given[name] for name in step.arguments] for step in self.steps]


def file_of(*printed):
    """Return a file of C with these."""
    sources = [source for each in printed for source in each.sources]
    helpers = set().union(*(source.helpers for source in sources))
    headers = {"stdint.h", "string.h"}.union(*(source.headers for source in sources))
    return "\n".join([
        *(f"#include <{header}>" for header in sorted(headers)),
        *(text for name, text in HELPERS.items() if name in helpers),
        *(each.text for each in printed),
    ])  # fmt: skip


def compiled(text, folder, *flags, compiler="gcc"):
    """Return the shared library that a compiler makes of a text."""
    source, library = folder / "printed.c", folder / "printed.so"
    source.write_text(text)
    common = ["-std=c99", "-shared", "-fPIC", str(source), "-o", str(library), "-lm"]
    subprocess.run([compiler, *flags, *common], check=True)
    return library


def computed(spec, arrays, folder, plan=None, runs=1, flags=("-O1",)):
    """Return what a problem printed as C computes, its tasks in so many runs."""
    printed = Printed(spec, plan)
    library = ctypes.CDLL(str(compiled(file_of(printed), folder, *flags)))
    x, *operands = arrays
    out = poisoned(spec)
    for i, (source, taken) in enumerate(
        zip(printed.sources, printed.arrays(x, operands, out), strict=True)
    ):
        scratch = [np.full(source.scratch_bytes, 0xFF, np.uint8)] * bool(source.scratch_bytes)
        addresses = [each.ctypes.data for each in (*taken, *scratch)]
        function = library[f"kernel_step_{i}"]
        cuts = [source.tasks * run // runs for run in range(runs + 1)]
        for first, last in pairwise(cuts):
            function((ctypes.c_void_p * len(addresses))(*addresses), first, last)
    _close(library)
    return out


def _close(library):
    close = ctypes.CDLL(None).dlclose
    close.argtypes = [ctypes.c_void_p]
    close(library._handle)


_MAIN = """
#include <stdio.h>
#include <stdlib.h>

static void *memory(size_t bytes, size_t unit) {
  unsigned char *found = malloc(bytes + unit);
  return found ? found + unit : (exit(2), found);
}
"""


def run_all(printed, given, folder, *flags, compiler="gcc"):
    """Return the outputs of problems in a process of their own, each array just behind its bounds.

    Args:
        printed: the problems, with names of their own.
        given: the input and the operands of each.
        folder: where to put files.
        flags: of the compiler.
        compiler: its name.
    """
    lines, blob, outs = [], bytearray(), []
    for each, (x, *operands) in zip(printed, given, strict=True):
        outs.append(poisoned(each.spec))
        lines += _calls(each, each.arrays(x, operands, outs[-1]), outs[-1], blob)
    body = "\n  ".join(lines)
    main = f"int main(int count, char **files) {{\n  if (count != 3) return 4;\n  {_OPEN}\n  {body}"
    text = f"{file_of(*printed)}\n{_MAIN}\n{main}\n  return fclose(from) | fclose(to);\n}}\n"
    (folder / "all.c").write_text(text)
    (folder / "given").write_bytes(bytes(blob))
    program, paths = folder / "all", [str(folder / "given"), str(folder / "result")]
    subprocess.run(
        [compiler, "-std=c99", *flags, str(folder / "all.c"), "-o", str(program), "-lm"], check=True
    )
    quiet = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    subprocess.run([str(program), *paths], check=True, env=quiet)
    found, start = (folder / "result").read_bytes(), 0
    for out in outs:
        out[...] = np.frombuffer(found[start : start + out.nbytes], out.dtype).reshape(out.shape)
        start += out.nbytes
    return outs


_OPEN = 'FILE *from = fopen(files[1], "rb"), *to = fopen(files[2], "wb");'


def _calls(printed, steps, out, blob):
    """Return the lines of C that run a problem, whose arrays go into a blob."""
    places, lines = {}, ["{"]
    for arrays in steps:
        for array in arrays:
            if id(array) in places:
                continue
            name = places[id(array)] = f"a{len(places)}"
            lines.append(f"void *{name} = memory({array.nbytes}, {array.itemsize});")
            lines.append(f"if (fread({name}, 1, {array.nbytes}, from) != {array.nbytes}) return 3;")
            blob += array.tobytes()
    for i, (source, arrays) in enumerate(zip(printed.sources, steps, strict=True)):
        names = [places[id(array)] for array in arrays]
        if source.scratch_bytes:
            lines.append(f"void *s{i} = memory({source.scratch_bytes}, 16);")
            names.append(f"s{i}")
        lines.append(f"void *t{i}[] = {{{', '.join(names)}}};")
        lines.append(f"{printed.name}_step_{i}(t{i}, 0, {source.tasks});")
    lines.append(f"fwrite({places[id(out)]}, 1, {out.nbytes}, to);")
    return [*lines, "}"]
