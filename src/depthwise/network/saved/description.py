"""A program as plain data for JSON beside its tensors, and read back with every value checked.

Kernels take addresses, so what does not fit together is refused before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from depthwise.errors import ModelError
from depthwise.network.engine import Engine
from depthwise.network.operators import Join, Permute, Reshape, Tail
from depthwise.network.states import check_states
from depthwise.network.steps import Call, Joined, Port, Program, Stage, State, Step, View, Work
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import numpy_type
from depthwise.problem.parse import parse
from depthwise.problem.values import MAX_ELEMENTS

Engines: TypeAlias = Mapping[str, Callable[[], Engine]]
"""What makes each engine, by its name."""
_DAMAGED = (
    LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError
)  # fmt: skip
"""What a description raises that is none of ours."""


def described(program: Program) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return a program as plain data, and its arrays by the names that this gives them.

    An array that is used twice is there once.
    """
    tensors = _Tensors()
    constants = [tensors.name(each, f"constant{n}") for n, each in enumerate(program.constants)]
    steps = [_step_described(step, n, tensors) for n, step in enumerate(program.steps)]
    values = range(
        len(program.inputs) + len(constants) + sum(len(s.outputs) for s in program.steps)
    )
    description = {
        "inputs": [_port_described(port) for port in program.inputs],
        "outputs": [_port_described(port) for port in program.outputs],
        "results": program.results,
        "constants": constants,
        "steps": steps,
        "shapes": [program.shapes.get(number) for number in values],
        "dtypes": [program.dtypes.get(number) for number in values],
        "dropped": dict(program.dropped),
    }
    if program.states:
        description["states"] = [
            _state_described(state, n, tensors) for n, state in enumerate(program.states)
        ]
    return description, tensors.arrays


class _Tensors:
    """Arrays, each once, by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self._names: dict[int, str] = {}

    def name(self, array: Array, wanted: str) -> str:
        """Return the name of an array, which is the one wanted where it has none yet."""
        name = self._names.setdefault(id(array), wanted)
        self.arrays[name] = array
        return name


def _port_described(port: Port) -> dict[str, Any]:
    return {"name": port.name, "sizes": port.sizes, "dtype": port.dtype}


def _state_described(state: State, number: int, tensors: _Tensors) -> dict[str, Any]:
    initial = state.initial
    name = None if initial is None else tensors.name(initial, f"state{number}.initial")
    return {"input": state.taken, "output": state.made, "initial": name}


def _step_described(step: Step, number: int, tensors: _Tensors) -> dict[str, Any]:
    return {
        "name": step.name,
        **_work_described(step.work, number, tensors),
        "inputs": step.inputs,
        "outputs": step.outputs,
        "before_us": step.before_us,
        "reason": step.reason,
        "remark": step.remark,
        "covers": step.covers,
    }


def _work_described(work: Work, number: int, tensors: _Tensors) -> dict[str, Any]:
    if isinstance(work, Stage):
        names = {
            name: tensors.name(array, f"step{number}.{name}")
            for name, array in work.operands.items()
        }
        return {"kernel": str(work.spec), "operands": names}
    if isinstance(work, View):
        operator = work.operator
        if isinstance(operator, Permute):
            return {"view": "permute", "order": operator.order}
        if isinstance(operator, Tail):
            return {"view": "tail", "axis": operator.axis, "count": operator.count}
        return {"view": "reshape", "shape": operator.shape}
    if isinstance(work, Joined):
        return {"join": work.operator.axis}
    payload = tensors.name(np.frombuffer(work.payload, np.uint8), f"step{number}.payload")
    return {
        "call": work.engine.name, "payload": payload, "title": work.title,
        "of_shapes": work.of_shapes, "may_view": work.may_view,
    }  # fmt: skip


@contextmanager
def damage_refused() -> Iterator[None]:
    """Say in words that what is read here is not as it was described."""
    try:
        yield
    except ModelError:
        raise
    except _DAMAGED as error:
        raise ModelError(
            f"a file of a network describes one whose steps fit together; got {error!r}"
        ) from None


def program_of(
    description: Mapping[str, Any], tensors: Mapping[str, Array], engines: Engines
) -> Program:
    """Return the program that `described` described; see `damage_refused`.

    Raises:
        ModelError: there is no such engine.
    """

    @cache
    def engine(name: str) -> Engine:
        if name not in engines:
            raise ModelError(f"the engines are {', '.join(engines)}; got {name!r}")
        return engines[name]()

    shapes, dtypes = description["shapes"], description["dtypes"]
    program = Program(
        inputs=tuple(map(_port, description["inputs"])),
        outputs=tuple(map(_port, description["outputs"])),
        results=_naturals(description["results"]),
        constants=tuple(tensors[name] for name in description["constants"]),
        steps=tuple(_step(each, tensors, engine) for each in description["steps"]),
        shapes={n: _shape(shape) for n, shape in enumerate(shapes) if shape is not None},
        dtypes={n: _dtype(dtype) for n, dtype in enumerate(dtypes) if dtype is not None},
        dropped={_text(why): _texts(names) for why, names in description["dropped"].items()},
        states=tuple(_state(each, tensors) for each in description.get("states", ())),
    )
    _check_numbers(program)
    check_states(program)
    for step in program.steps:
        if isinstance(step.work, Stage):
            _check_stage(step, step.work, program.dtypes)
    return program


def _port(port: Mapping[str, Any]) -> Port:
    sizes, dtype = port["sizes"], port["dtype"]
    if sizes is not None:
        sizes = tuple(each if isinstance(each, str) else _natural(each) for each in sizes)
    return Port(
        name=_text(port["name"]), sizes=sizes, dtype=None if dtype is None else _dtype(dtype)
    )


def _state(state: Mapping[str, Any], tensors: Mapping[str, Array]) -> State:
    name = state["initial"]
    return State(
        taken=_natural(state["input"]),
        made=_natural(state["output"]),
        initial=None if name is None else tensors[name],
    )


def _step(
    step: Mapping[str, Any], tensors: Mapping[str, Array], engine: Callable[[str], Engine]
) -> Step:
    return Step(
        name=_text(step["name"]),
        work=_work(step, tensors, engine),
        inputs=_naturals(step["inputs"]),
        outputs=_naturals(step["outputs"]),
        before_us=float(step["before_us"]),
        reason=None if step["reason"] is None else _text(step["reason"]),
        remark=None if step["remark"] is None else _text(step["remark"]),
        covers=_texts(step["covers"]),
    )


def _work(
    step: Mapping[str, Any], tensors: Mapping[str, Array], engine: Callable[[str], Engine]
) -> Work:
    if "kernel" in step:
        spec: Any = parse(step["kernel"])
        return Stage(spec, {key: tensors[name] for key, name in step["operands"].items()})
    if step.get("view") == "permute":
        return View(Permute(order=_naturals(step["order"])))
    if step.get("view") == "reshape":
        sizes = step["shape"]
        return View(Reshape(shape=tuple(-1 if size == -1 else _natural(size) for size in sizes)))
    if step.get("view") == "tail":
        return View(Tail(axis=_natural(step["axis"]), count=_natural(step["count"])))
    if "join" in step:
        return Joined(Join(axis=_natural(step["join"])))
    return Call(
        engine(step["call"]),
        tensors[step["payload"]].tobytes(),
        _text(step["title"]),
        of_shapes=bool(step["of_shapes"]),
        may_view=bool(step["may_view"]),
    )


def _check_numbers(program: Program) -> None:
    """See that each value is made once, before it is used, and views are of inputs or images."""
    made = len(program.inputs) + len(program.constants)
    viewed = {*range(len(program.inputs)), *program.images}
    for step in program.steps:
        if not all(number < made for number in step.inputs):
            raise ValueError(
                f"values {step.inputs} for step {step.name!r}, before which are {made}"
            )
        if not step.outputs or step.outputs != tuple(range(made, made + len(step.outputs))):
            raise ValueError(f"new values {step.outputs} behind {made} others")
        made += len(step.outputs)
        if isinstance(step.work, View):
            if (len(step.inputs), len(step.outputs)) != (1, 1) or step.inputs[0] not in viewed:
                raise ValueError(f"a view of {step.inputs} as {step.outputs}")
            viewed.update(step.outputs)
        elif isinstance(step.work, Joined):
            _check_joined(step, program.dtypes)
            viewed.update(step.outputs)
    if len(program.results) != len(program.outputs) or not all(n < made for n in program.results):
        raise ValueError(f"values {program.results} for {len(program.outputs)} outputs of {made}")


def _check_joined(step: Step, dtypes: Mapping[int, str]) -> None:
    """See that arrays that are put one behind the other are of one type."""
    kinds = {dtypes.get(number) for number in (*step.inputs, *step.outputs)}
    if not step.inputs or len(step.outputs) != 1 or len(kinds) != 1 or None in kinds:
        raise ValueError(f"values {step.inputs} of {kinds} joined")


def _check_stage(step: Step, stage: Stage, dtypes: Mapping[int, str]) -> None:
    """See that the arrays of a stage are what its kernel takes."""
    spec = stage.spec
    if spec.layout != "NHWC" or not hasattr(spec, "resized"):
        raise ValueError(f"a problem of no channels-last images: {spec}")
    if (len(step.inputs), len(step.outputs)) != (1 + len(spec.computed), 1):
        raise ValueError(f"values {step.inputs} and {step.outputs} for {spec}")
    given = {name: (array.size, array.dtype.name) for name, array in stage.operands.items()}
    fixed = {name: each for name, each in spec.operands.items() if name not in spec.computed}
    if given != {name: (prod(shape), spec.dtype_of(name)) for name, shape in fixed.items()}:
        raise ValueError(f"arrays {given} for {spec}")
    kinds = [dtypes.get(number) for number in (*step.inputs, *step.outputs)]
    names = spec.array_names[0], *spec.computed, "y"
    if kinds != [spec.dtype_of(name) for name in names]:
        raise ValueError(f"images of types {kinds} for {spec}")


def _shape(sizes: Iterable[Any]) -> tuple[int, ...]:
    shape = _naturals(sizes)
    if prod(shape) > MAX_ELEMENTS:
        raise ValueError(f"shape {shape}")
    return shape


def _naturals(numbers: Iterable[Any]) -> tuple[int, ...]:
    return tuple(map(_natural, numbers))


def _natural(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r} for a number that counts")
    return number


def _text(word: Any) -> str:
    if not isinstance(word, str):
        raise ValueError(f"{word!r} for words")
    return word


def _texts(words: Any) -> tuple[str, ...]:
    if not isinstance(words, list):
        raise ValueError(f"{words!r} for a list of words")
    return tuple(map(_text, words))


def _dtype(word: Any) -> str:
    name = _text(word)
    if numpy_type(name).name != name:
        raise ValueError(f"{name!r} for the name of a type")
    return name
