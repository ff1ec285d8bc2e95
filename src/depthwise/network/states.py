"""Which outputs of a network are inputs of its next call: told, stated by a file, or by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from depthwise.errors import ModelError
from depthwise.network.steps import Port, Program, State

_TAKEN = frozenset(
    ("in", "input", "past", "prev", "previous", "old", "last", "initial", "cur", "current")
)
"""Words that say of an input's name that it is a state from before."""
_MADE = frozenset(("out", "output", "present", "new", "next", "final", "updated", "n", "r"))
"""Words that say of an output's name that it is one for the next call."""
_OF_ANYTHING = frozenset(("in", "input", "cur", "current", "out", "output", "n", "r"))
"""Those that say nothing where they are all of a name."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


def states_of(program: Program, told: Mapping[str, str] | None) -> tuple[State, ...]:
    """Return the states of a network.

    Args:
        program: the network.
        told: the name of the input that an output is in the next call, by the name of the output;
            None takes those that the file states, or else those that the names tell.

    Raises:
        ModelError: there are none, or several for one input, or they do not fit one another.
    """
    if told is not None:
        return _told(program, told)
    return program.states or _named(program)


def check_states(program: Program) -> None:
    """See that the states of a file are of its inputs and outputs.

    Raises:
        ValueError, LookupError: they are not.
    """
    for state in program.states:
        port, made = program.inputs[state.taken], program.outputs[state.made]
        initial = state.initial
        fits = _fit(port, made) and (
            initial is None or (initial.shape, initial.dtype.name) == (port.sizes, port.dtype)
        )
        if not fits:
            raise ValueError(f"a state {port} from {made}")
    for ends in ([s.taken for s in program.states], [s.made for s in program.states]):
        if len(set(ends)) < len(ends):
            raise ValueError(f"states twice: {ends}")


def _told(program: Program, told: Mapping[str, str]) -> tuple[State, ...]:
    """Return the states that a user names."""
    inputs, outputs = _positions(program.inputs), _positions(program.outputs)
    rule = "state= has the name of an input for the name of each output that is kept for it"
    for made, taken in told.items():
        if made not in outputs or taken not in inputs:
            raise ModelError(f"{rule}; got {made!r}: {taken!r} {_ports(program)}")
    if twice := [name for name in told.values() if list(told.values()).count(name) > 1]:
        raise ModelError(f"{rule}, each input once; got {twice[0]!r} twice")
    if not told:
        raise ModelError(f"{rule}, at least one; got none {_ports(program)}")
    states = [State(taken=inputs[taken], made=outputs[made]) for made, taken in told.items()]
    for state in states:
        port, other = program.inputs[state.taken], program.outputs[state.made]
        if not _fit(port, other):
            raise ModelError(
                "a state is an output of the shape and the type of an input; got "
                f"{_said(other)} for {_said(port)}"
            )
    return tuple(states)


def _named(program: Program) -> tuple[State, ...]:
    """Return the states that the names of inputs and outputs tell."""
    pairs = [
        (taken, made)
        for taken, port in enumerate(program.inputs)
        for made, other in enumerate(program.outputs)
        if _is_state_for(port.name, other.name)
    ]
    fitting = [each for each in pairs if _fit(program.inputs[each[0]], program.outputs[each[1]])]
    said = {made for taken, made in fitting if _is_said(program.inputs[taken].name)}
    fitting = [  # sound_out is for sound_in, and not for sound
        (taken, made)
        for taken, made in fitting
        if made not in said or _is_said(program.inputs[taken].name)
    ]
    remedy = "say which with net.stream(state={'output': 'input'})"
    if not fitting:
        others = "".join(
            f"; {_said(program.outputs[made])} does not fit {_said(program.inputs[taken])}"
            for taken, made in pairs
        )
        raise ModelError(
            "a network that is streamed has states, outputs that its next call takes as inputs "
            f"({remedy}); none is known by its name{others} {_ports(program)}"
        )
    _check_once(program, fitting, remedy)
    for ends, of, what in ((0, program.inputs, "input"), (1, program.outputs, "output")):
        if len({pair[ends] for pair in fitting}) == len(of):
            all_of_them = ", ".join(
                f"{program.outputs[made].name} for {program.inputs[taken].name}"
                for taken, made in fitting
            )
            raise ModelError(
                f"a network that is streamed has an {what} that is no state ({remedy}); by their "
                f"names all are: {all_of_them}"
            )
    return tuple(State(taken=taken, made=made) for taken, made in fitting)


def _check_once(program: Program, pairs: Sequence[tuple[int, int]], remedy: str) -> None:
    """Refuse names that tell two outputs for one input, or two inputs for one output."""
    for taken, made in pairs:
        outputs = [program.outputs[m].name for t, m in pairs if t == taken]
        inputs = [program.inputs[t].name for t, m in pairs if m == made]
        if len(outputs) > 1:
            raise ModelError(
                f"one output is kept for an input ({remedy}); by their names {_and(outputs)} are "
                f"for {inputs[0]}"
            )
        if len(inputs) > 1:
            raise ModelError(
                f"an output is kept for one input ({remedy}); by their names {outputs[0]} is for "
                f"{_and(inputs)}"
            )


def _is_state_for(taken: str, made: str) -> bool:
    """Whether names say that an output is the input of the next call: state_in and state_out."""
    before = {tuple(_words(taken)), *_stems(taken, _TAKEN, "0")}
    return taken != made and not before.isdisjoint(_stems(made, _MADE, "n"))


def _is_said(taken: str) -> bool:
    """Whether the name of an input says itself that it is a state from before."""
    return not _TAKEN.isdisjoint(_words(taken))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name.replace("past_key_values", "past"))]


def _stems(name: str, marks: frozenset[str], end: str) -> Iterator[tuple[str, ...]]:
    """Yield what a name may be without what tells before from after: h of h0 and of hn."""
    words = _words(name)
    stem = tuple(word for word in words if word not in marks)
    if stem or not _OF_ANYTHING.issuperset(words):
        yield stem
    if stem and stem[-1] == end and stem[:-1]:
        yield stem[:-1]
    elif stem and stem[-1].endswith(end) and stem[-1] != end:
        yield (*stem[:-1], stem[-1][:-1])


def _fit(taken: Port, made: Port) -> bool:
    """Whether an output may be of the shape and the type of an input."""
    if taken.dtype is None or taken.dtype != made.dtype or taken.sizes is None:
        return False
    if made.sizes is None:
        return True
    return len(taken.sizes) == len(made.sizes) and all(
        mine == its or isinstance(mine, str) or isinstance(its, str)
        for mine, its in zip(taken.sizes, made.sizes, strict=True)
    )


def _positions(ports: Sequence[Port]) -> dict[str, int]:
    return {port.name: position for position, port in reversed(list(enumerate(ports)))}


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _ports(program: Program) -> str:
    inputs, outputs = (
        ", ".join(map(_said, ports)) or "none" for ports in (program.inputs, program.outputs)
    )
    return f"(inputs: {inputs}; outputs: {outputs})"


def _said(port: Port) -> str:
    """Return a port with its sizes and its type."""
    if port.sizes is None:
        return f"{port.name} {port.dtype}"
    sizes = ", ".join("any" if isinstance(size, str) else str(size) for size in port.sizes)
    return f"{port.name} ({sizes}) {port.dtype}"
