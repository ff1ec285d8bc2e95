"""The files of an export, as texts and bytes by their names."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwise.errors import DepthwiseError, installs
from depthwise.exporting import chains
from depthwise.exporting.arrays_text import C_TYPES, number, weights_file, weights_header
from depthwise.exporting.building import Built, Library, built, library_name
from depthwise.exporting.driver import Names, Places, compute_body, prototype, task_text
from depthwise.exporting.kernels import Function, Kernels
from depthwise.exporting.memory.plan import Chain, Whole
from depthwise.exporting.model import Model, Tensor
from depthwise.exporting.names import distinct
from depthwise.exporting.planning import Plan
from depthwise.exporting.vectors import Vectors
from depthwise.machine.c99_helpers import HELPERS
from depthwise.machine.emitted import NAME, PLACE_BYTES, placed
from depthwise.machine.target import Target
from depthwise.network.prepare import Told
from depthwise.problem.arrays import Array
from depthwise.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

MADE_BY = "made by depthwise"
"""What the README of every export says."""


@dataclass(frozen=True)
class Export:
    """Everything that is written.

    Attributes:
        name: the function.
        target: what it is for.
        model: what it computes.
        plan: in which memory.
        kernels: of which functions and constants.
        workers: how many threads of the caller's may work at a time; 0 where there are none.
        blob: whether the constants are a file of bytes that the caller loads.
    """

    name: str
    target: Target
    model: Model
    plan: Plan
    kernels: Kernels
    workers: int
    blob: bool

    @property
    def arena_bytes(self) -> int:
        """The memory of a call, wherever it begins."""
        return self.plan.memory.peak + PLACE_BYTES - 1 if self.plan.memory.peak else 1

    @property
    def weight_bytes(self) -> int:
        """The bytes of the constants."""
        return sum(array.nbytes for array in self.kernels.weights)


def files(
    export: Export, vectors: Vectors, library: Library | None, step: Told
) -> tuple[dict[str, bytes], Built]:
    """Return the files of an export by name, as a reader wants them, and what compiling tells.

    Args:
        export: what is written.
        vectors: its test.
        library: what is linked of it; None where that is nothing.
        step: called before each piece of work with words that name it.

    Raises:
        DepthwiseError: a package is missing, or the library cannot be made.
    """
    name = export.name
    about = _About(export, vectors)
    step("compile it" if library else "compile it to see how large it is")
    needed = {
        f"{name}.h": about.rendered("header.h"), f"{name}.c": about.rendered("compute.c"),
        **about.weights(), **about.objects(),
    }  # fmt: skip
    made = built(name, _encoded(needed), export.target, library)
    about.know(made)
    found: dict[str, str | bytes] = {**needed, f"{name}.h": about.rendered("header.h")}
    found[f"{name}_test.c"] = about.rendered("test.c")
    found[f"{name}_vectors.c"] = about.vectors_file()
    if library:
        found[library_name(name, library)] = made.library
    found["CMakeLists.txt"] = about.rendered("CMakeLists.txt")
    described = _described(name, found)
    found["README.md"] = about.rendered("README.md", files=described, build=about.build_line())
    return _encoded(found), made


def _encoded(found: Mapping[str, str | bytes]) -> dict[str, bytes]:
    return {
        file: content if isinstance(content, bytes) else content.encode()
        for file, content in found.items()
    }


class _About:
    """What the templates say of an export."""

    def __init__(self, export: Export, vectors: Vectors) -> None:
        self._export, self._vectors = export, vectors
        model, kernels = export.model, export.kernels
        called = [*model.inputs, *model.outputs]
        names = distinct((model.tensors[each].name for each in called), export.name)
        self._parameters = dict(zip(called, names, strict=True))
        self._constants = {
            each: kernels.constant(array).number for each, array in model.fixed().items()
        }
        weights = self._weight_expressions()
        self._places = Places(model, export.plan, Names(
            self._parameters, weights,
            {each: weights[at] for each, at in self._constants.items()}, export.blob,
        ))  # fmt: skip
        self._words = self._all_words()

    def rendered(self, template: str, **more: Any) -> str:
        """Return a file."""
        return self._templates.get_template(f"{template}.j2").render(self._words, **more)

    @cached_property
    def _templates(self) -> Environment:
        try:
            from jinja2 import Environment, PackageLoader, StrictUndefined
        except ModuleNotFoundError:
            raise DepthwiseError(
                f"an export is written by jinja2; this installs it: {installs('export')}"
            ) from None
        return Environment(
            loader=PackageLoader("depthwise.exporting"), undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        )  # fmt: skip

    def weights(self) -> dict[str, str | bytes]:
        """Return the files of the constants."""
        name, arrays = self._export.name, self._export.kernels.weights
        if self._export.blob:
            return {f"{name}_weights.bin": _blob(arrays)}
        names = [f"{name}_w{place}" for place in range(len(arrays))]
        guard = f"{name}_weights_h".upper()
        return {
            f"{name}_weights.h": weights_header(guard, names, arrays),
            f"{name}_weights.c": weights_file(
                self._export.model.title, f"{name}_weights.h", names, arrays
            ),
        }

    def objects(self) -> dict[str, str | bytes]:
        """Return the files of kernels that are objects."""
        return {
            f"objects/{function.name}.o": function.emitted.object
            for function in self._export.kernels.functions
            if function.emitted.object
        }

    def know(self, made: Built) -> None:
        """Say from now on how large it is."""
        self._words |= {
            "code_bytes": made.code_bytes, "stack_bytes": made.stack_bytes,
            "compiler": made.compiler,
        }  # fmt: skip

    def vectors_file(self) -> str:
        """Return the arrays of the test."""
        name, vectors, model = self._export.name, self._vectors, self._export.model
        pairs = [
            *((f"{name}_test_{self._parameters[n]}", array)
              for n, array in zip(model.inputs, vectors.inputs, strict=True)),
            *((f"{name}_want_{self._parameters[n]}", array)
              for n, array in zip(model.outputs, vectors.outputs, strict=True)),
        ]  # fmt: skip
        if self._export.blob:
            blob = np.frombuffer(_blob(self._export.kernels.weights), np.uint64)
            pairs.append((f"{name}_test_weights", blob))
        arrays = [array.reshape(-1) for _, array in pairs]
        names = [each for each, _ in pairs]
        guard, title = f"{name}_vectors_h".upper(), self._export.model.title
        declared = weights_header(guard, names, arrays)
        defined = weights_file(title, "", names, arrays).replace('#include ""\n', "")
        return f"{declared}\n{defined}"

    def _weight_expressions(self) -> tuple[str, ...]:
        export = self._export
        arrays = export.kernels.weights
        if export.blob:
            return tuple(f"(const void *)(w + {start})" for start in _starts(arrays)[:-1])
        return tuple(f"{export.name}_w{place}" for place in range(len(arrays)))

    def _all_words(self) -> dict[str, Any]:
        export = self._export
        return {
            "name": export.name, "NAME": export.name.upper(), "title": export.model.title,
            "version": __version__, "made_by": MADE_BY, "target": export.target.name,
            "subject": _subject(export.model), "arena_bytes": export.arena_bytes,
            "weight_bytes": export.weight_bytes, "blob": export.blob,
            "threads": bool(export.workers), "workers": export.workers,
            "weight_file_bytes": len(_blob(export.kernels.weights)) if export.blob else 0,
            "code_bytes": None, "stack_bytes": None, "compiler": "",
            "arrays": self._arrays(), "prototype": self._prototype(), "align": PLACE_BYTES,
            "example": self._example(), "macs": f"{export.model.macs:,}",
            "kernels": len(export.kernels.functions),
            "launches": sum(len(call.launches) for call in export.plan.calls.values()),
            **self._code_words(), **self._test_words(),
        }  # fmt: skip

    def _code_words(self) -> dict[str, Any]:
        """Return what the function and its kernels are made of."""
        export, places = self._export, self._places
        functions, threaded = export.kernels.functions, self._threaded()
        segments = export.plan.memory.segments
        rows = [each for each in segments if isinstance(each, Chain)]
        parameters = self._signature(plain=True)
        texts = [chains.chain_text(places, each, at, parameters) for at, each in enumerate(rows)]
        objects = any(each.emitted.object for each in functions)
        headers = set().union(*(each.emitted.headers for each in functions))
        return {
            "headers": sorted(headers), "helpers": self._helpers(rows),
            "texts": [
                {"title": f.title, "text": f.emitted.text.replace(NAME, f.name)}
                for f in functions if f.emitted.text
            ],
            "prototypes": [prototype(each) for each in functions if each.emitted.object],
            "objects": objects, "math": "math.h" in headers or objects,
            "most_read": max((each.writes.count(False) for each in threaded), default=1),
            "most_made": max((each.writes.count(True) for each in threaded), default=1),
            "tasks": [task_text(each) for each in threaded], "runs": bool(threaded),
            "rings": chains.RINGS if any(chain.rings for chain in rows) else "",
            "chains": texts,
            "body": list(compute_body(places, threads=bool(export.workers))),
        }  # fmt: skip

    def _test_words(self) -> dict[str, Any]:
        """Return what the test is made of."""
        model, vectors = self._export.model, self._vectors
        return {
            "inputs": self._tested(model.inputs, vectors.inputs, None),
            "outputs": self._tested(model.outputs, vectors.outputs, vectors.tolerances),
            "call": self._call(),
        }

    def _threaded(self) -> list[Function]:
        """Return the functions whose tasks the caller's threads run."""
        plan = self._export.plan
        whole = [
            plan.calls[segment.node]
            for segment in plan.memory.segments
            if isinstance(segment, Whole) and segment.node in plan.calls
        ]
        found = [launch.function for call in whole for launch in call.launches]
        distinct_ones = dict.fromkeys(f for f in found if f.emitted.tasks > 1)
        return list(distinct_ones) if self._export.workers else []

    def _helpers(self, rows: Sequence[Chain]) -> str:
        """Return the small functions that kernels and chains share."""
        functions = self._export.kernels.functions
        wanted = set().union(*(each.emitted.helpers for each in functions))
        wanted |= set().union(*(chains.helpers_of(self._places, chain) for chain in rows))
        return "\n".join(HELPERS[each] for each in HELPERS if each in wanted)

    def _signature(self, *, plain: bool = False) -> str:
        """Return the parameters of the function; `plain`: its arrays and constants alone."""
        export, model = self._export, self._export.model
        words = [
            f"const {C_TYPES[model.tensors[n].dtype]} *{self._parameters[n]}" for n in model.inputs
        ]
        words += [
            f"{C_TYPES[model.tensors[n].dtype]} *{self._parameters[n]}" for n in model.outputs
        ]
        if plain:
            return ", ".join([*words, *["const unsigned char *w"] * export.blob])
        words += [*["const void *weights"] * export.blob, "void *arena"]
        if export.workers:
            words += [f"{export.name}_threads threads", "void *context"]
        return ", ".join(words)

    def _prototype(self) -> str:
        start = f"void {self._export.name}("
        lines = textwrap.wrap(f"{self._signature()});", 100 - len(start), break_long_words=False)
        return start + f"\n{' ' * len(start)}".join(lines)

    def _arguments(self) -> list[str]:
        return [*self._parameters.values()]

    def _call(self) -> str:
        """Return the arguments of the test's call."""
        words = [f"array_{each}" for each in self._arguments()]
        words += ["aligned"] * self._export.blob
        words += ["(unsigned char *)arena + shift"]
        return ", ".join([*words, *["split, NULL"] * bool(self._export.workers)])

    def _arrays(self) -> list[dict[str, Any]]:
        model = self._export.model
        found = []
        for role, numbers in (("input", model.inputs), ("output", model.outputs)):
            for each in numbers:
                tensor = model.tensors[each]
                found.append({
                    "role": role, "name": self._parameters[each], "dtype": tensor.dtype,
                    "words": _shape_words(tensor), "macro": self._parameters[each].upper(),
                    "elements": int(np.prod(tensor.shape)), "nbytes": tensor.nbytes,
                    "sizes": _sizes(tensor),
                })  # fmt: skip
        return found

    def _tested(
        self, numbers: Sequence[int], arrays: Sequence[Array], tolerances: Sequence[float] | None
    ) -> list[dict[str, Any]]:
        allowed = tolerances or [0.0] * len(arrays)
        return [
            {
                "name": self._parameters[each], "type": C_TYPES[array.dtype.name],
                "elements": array.size, "tolerance": most and number(most, "float64"),
            }
            for each, array, most in zip(numbers, arrays, allowed, strict=True)
        ]  # fmt: skip

    def _example(self) -> str:
        export, model = self._export, self._export.model
        lines = [f'#include "{export.name}.h"', ""]
        lines.append(f"static unsigned char arena[{export.name.upper()}_ARENA_BYTES];")
        for each in (*model.inputs, *model.outputs):
            kind, name = C_TYPES[model.tensors[each].dtype], self._parameters[each]
            size = f"{export.name}_{name}_elements".upper()
            lines.append(f"static {kind} {name}[{size}];")
        words = [*self._arguments(), *["weights"] * export.blob, "arena"]
        words += ["NULL, NULL"] * bool(export.workers)
        return "\n".join([*lines, "", f"{export.name}({', '.join(words)});"])

    def build_line(self) -> str:
        """Return the command that builds the test."""
        name = self._export.name
        own = [f"{name}.c", *[f"{name}_weights.c"] * (not self._export.blob)]
        objects = any(function.emitted.object for function in self._export.kernels.functions)
        compiler = self._words["compiler"] or "cc"
        words = [f"{compiler} -std=c99 -O2", *own, f"{name}_test.c {name}_vectors.c"]
        return " ".join([*words, *["objects/*.o"] * objects, f"-lm -o {name}_test"])


def _subject(model: Model) -> str:
    count = len(model.operations)
    return f"the network {model.title}: {count} operations" if count > 1 else model.title


def _starts(arrays: Sequence[Array]) -> list[int]:
    """Return where each constant begins in the file of them, and where the last ends."""
    return [*accumulate((placed(array.nbytes) for array in arrays), initial=0)]


def _blob(arrays: Sequence[Array]) -> bytes:
    starts = _starts(arrays)
    content = bytearray(starts[-1])
    for start, array in zip(starts, arrays, strict=False):
        content[start : start + array.nbytes] = array.tobytes()
    return bytes(content)


def _shape_words(tensor: Tensor) -> str:
    sizes = "x".join(map(str, tensor.shape)) or "1"
    return f"{sizes} ({', '.join(tensor.axes)})" if tensor.axes else sizes


_SIZES = {"N": "IMAGES", "H": "HEIGHT", "W": "WIDTH", "C": "CHANNELS", "L": "LENGTH"}
"""What macros call the size of an axis."""


def _sizes(tensor: Tensor) -> list[tuple[str, int]]:
    """Return the sizes of the axes that have a name."""
    return [(_SIZES[axis], size) for axis, size in zip(tensor.axes, tensor.shape, strict=False)]


def _described(name: str, found: Mapping[str, object]) -> list[dict[str, str]]:
    words = {
        f"{name}.h": "what the function takes, and how much memory it needs",
        f"{name}.c": "the function and its kernels in C99",
        f"{name}_weights.h": "the constant arrays, declared",
        f"{name}_weights.c": "the constant arrays",
        f"lib{name}.a": "all of these, compiled, as a library to link",
        f"lib{name}.so": "all of these, compiled, as a library to load",
        f"{name}_weights.bin": "the constant arrays, little-endian, which the caller loads",
        f"{name}_test.c": "a program that computes known inputs and compares the results",
        f"{name}_vectors.c": "these inputs and results",
    }
    listed = [{"name": file, "words": words[file]} for file in found if file in words]
    if any(file.startswith("objects/") for file in found):
        listed.append({"name": "objects/", "words": "the kernels, an object each"})
    return [*listed, {"name": "CMakeLists.txt", "words": "builds the library and its test"}]
