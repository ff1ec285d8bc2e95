"""Words of command lines, drawn from the commands and options that there are."""

from __future__ import annotations

from typing import get_args

import typer

from depthwise.commands import cli
from fuzz.texts import JUNK, LINES, NUMBERS, PLANS, spoilt_line

INPUTS = {
    "layers.json": '[{"c": 4, "h": 5, "w": 5, "k": 3, "pad": 1, "pointwise_out": 4}]',
    "broken.json": '[{"c": 4, "h": 5',
    "wrong.json": '[{"c": "x", "h": 5, "w": [1, 2, 3], "k": {}}, 1]',
    "deep.json": 100_000 * "[",
    "model.pt2": "no archive",
    "model.pt": "no pickle",
    "tiny_models.py": (
        "import torch\n"
        "net = lambda: torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4), torch.nn.ReLU())\n"
        "number = lambda: 5\n"
        "leave = lambda: exit()\n"
        "def fail(): raise ValueError('first\\nsecond')\n"
        "class Loud(torch.nn.Module):\n"
        "    def forward(self, x): raise RuntimeError('line\\n' * 200)\n"
    ),
    "syntax.py": "def (",
}
"""Files of the folder that command lines run in."""
OUTPUTS = (
    "out.json", "out.png", "out.html", "new/out.png", "/dev/null", "/dev/full", ".", 300 * "a",
    "ü.png", "two\nlines.png", "/proc/out.png", "out", "layers.json/out.png", "", "/dev/full/x.png",
)  # fmt: skip
VALUES = {
    "specs": (LINES, ()), "spec": (LINES, ()),
    "workload": (("smoke",), ("smok", "SMOKE", "")),
    "layers": (("layers.json",), ("broken.json", "wrong.json", "deep.json", "none.json", ".", "")),
    "threads": (("1", "2"), ("0", "-1", "100000", "99999999999999999999", "1.5")),
    "batch": (("1", "2"), ("0", "-1", "2147483648", "99999999999999999999", "1.5")),
    "repeats": (("1",), ("0", "-1", "x")),
    "seconds": (("0.2",), ("0", "-1", "nan", "inf", "x", "1e999")),
    "older_than": (("30", "0"), ("-1", "nan", "inf", "1e308", "x")),
    "json": (OUTPUTS[:1], OUTPUTS), "plot": (OUTPUTS[1:2], OUTPUTS),
    "html": (OUTPUTS[2:3], OUTPUTS),
    "save": (("out.pt",), OUTPUTS),
    "peers": (("none", "torch"), ("nope", "", "torch,torch", ",")),
    "names": (("depthwise",), ("nope", "mxnet", "torch", "")),
    "target": (("znver3", "skylake-avx512"), ("nope", "", "ZNVER3", "-mcpu=x")),
    "pin": (("0",), ("", "x", "4096", "-1", "0,0", "99999999999999999999")),
    "schedule": (("packed", "channels_last"), ("nope", "", "packed tc8")),
    "plan": (PLANS, ()),
    "model": (("tiny_models:net",), (
        "tiny_models:number", "tiny_models:leave", "tiny_models:fail", "tiny_models:Loud",
        "tiny_models:x", "syntax:x", "nope:x", ":", "tiny_models", "model.pt2", "model.pt",
        ".pt2", "",
    )),
    "inputs": (("1,4,8,8",), (
        "1,4,8", "0,4,8,8", "1,4,x,8", "", ",", "1,4,99999,99999", "٣,4,8,8",
    )),
}  # fmt: skip
"""Right and odd values of arguments and options, by their names."""
FIXED = {"compare": ("--repeats", "1"), "sweep": ("--repeats", "1"), "tune": ("--seconds", "0.2"),
         "bench": ("--repeats", "1", "--workload", "smoke")}  # fmt: skip
"""What keeps lines short that measure."""
WEIGHTS = {
    "cost": 30, "show": 8, "explain": 15, "cache": 8, "peers": 2, "doctor": 0.2, "tune": 3,
    "bench": 2, "sweep": 2, "compare": 3, "optimize": 4,
}  # fmt: skip
USUAL_WEIGHT = 5


def tree() -> typer.main.TyperGroup:
    return typer.main.get_command(cli.app)


def odd(rng, name):
    _, odd_values = VALUES.get(name, ((), ()))
    if name in ("specs", "spec", "plan") and rng.random() < 0.8:
        drawn = spoilt_line(rng, PLANS if name == "plan" else LINES)
        return drawn if isinstance(drawn, str) else rng.choice(JUNK)
    return rng.choice([*odd_values, *odd_values, *JUNK, *NUMBERS])


def value(rng, param, oddity):
    """Return a value of a parameter, and whether it may be an odd one."""
    choices = [each for each in get_args(param.type_descriptor.annotation) if type(each) is str]
    right = choices or VALUES.get(param.name, (("1",), ()))[0]
    is_odd = rng.random() < oddity
    return (odd(rng, param.name) if is_odd else str(rng.choice([*right]))), is_odd


def line(rng):
    """Return the words of a command line, the name of its command, and whether any is odd."""
    command, words, name = tree(), [], ""
    while getattr(command, "commands", None) and rng.random() < 0.95:
        names = [*command.commands]
        weights = [WEIGHTS.get(each, USUAL_WEIGHT) for each in names]
        (chosen,) = rng.choices(names, weights)
        command, name = command.commands[chosen], name or chosen
        words.append(chosen)
        if name in ("cache", "peers") and rng.random() < 0.3:
            break
    words += FIXED.get(name, ())
    any_odd = False
    oddity = rng.choice([0.0, 0.1, 0.3])
    for param in command.params:
        required = param.required or (param.name in ("specs", "inputs") and name != "bench")
        if rng.random() > (0.95 if required else 0.25):
            any_odd |= required
            continue
        for _ in range(1 + (rng.random() < 0.05)):
            if param.param_type_name == "option":
                words.append(rng.choice(param.opts))
            if not getattr(param, "is_flag", False):
                drawn, is_odd = value(rng, param, oddity)
                words.append(drawn)
                any_odd |= is_odd
    if rng.random() < 0.05:
        at = rng.randrange(len(words) + 1)
        words.insert(at, rng.choice([*JUNK, "--", "-h", "--help", "--nope", "-x", "--json="]))
        any_odd = True
    return [word.replace("\0", "") for word in words], name, any_odd
