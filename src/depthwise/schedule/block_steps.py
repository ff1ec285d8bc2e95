"""The steps of a block: a launch for each group of parts, and one for the gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import convolutions
from depthwise.schedule.chain import Chain
from depthwise.schedule.gate import Gate
from depthwise.schedule.groups import launches
from depthwise.schedule.plan import BlockPlan, Plan
from depthwise.schedule.steps import INPUT, OUTPUT, Buffer, Packing, Step, worth_waking

SUMS, SCALES = "sums", "scales"
"""The buffers of a gate: what the depthwise part sums of each row, and what comes of it."""


def block_steps(spec: BlockSpec, plan: BlockPlan, target: Target) -> tuple[Step, ...]:
    """Return the steps of a block: one for each launch, those that run code of its own numbered."""
    work = _Block(spec, plan, target)
    spans, number, source, found = iter(plan.groups), count(), INPUT, []
    for launch in launches(spec, plan, target):
        if isinstance(launch, Gate):
            found.append(work.gate(launch, next(number)))
            continue
        start, end = next(spans)
        result = OUTPUT if end == len(spec.parts) else f"after {work.names[end - 1]}"
        if isinstance(launch, Chain):
            found.append(work.chain(launch, next(number), source, result))
        else:
            found.append(work.convolution(*launch, start, source, result))
        source = result
    return tuple(found)


@dataclass(frozen=True)
class _Block:
    spec: BlockSpec
    plan: BlockPlan
    target: Target

    @property
    def names(self) -> tuple[str, ...]:
        """What the operands of each part are called."""
        return tuple(self.spec.named_parts)

    def convolution(self, conv: ConvSpec, plan: Plan, part: int, source: str, result: str) -> Step:
        """Return the launch of a part by itself, which runs the code of the convolution."""
        name = self.names[part]
        called = {INPUT: source, OUTPUT: result, "residual": "residual"}
        called |= {operand: f"{name}_{operand}" for operand in ("weight", "bias")}
        (step,) = convolutions.rule_named(plan.schedule).steps(conv, plan, self.target)
        return replace(
            step,
            title=str(conv),
            arguments=tuple(called[argument] for argument in step.arguments),
            packings={called[name]: packing for name, packing in step.packings.items()},
            buffers={} if result == OUTPUT else {result: Buffer(conv.output_shape, conv.dtype)},
        )

    def chain(self, chain: Chain, number: int, source: str, result: str) -> Step:
        """Return the launch of several parts, which runs code of the block's own."""
        names = [self.names[chain.first + index] for index in range(len(chain.parts))]
        weights = [f"{name}_weight" for name in names]
        biases = [
            f"{name}_bias" for name, part in zip(names, chain.parts, strict=True) if part.bias
        ]
        residual = ["residual"] * chain.parts[-1].residual
        forms = zip(weights, chain.inner, chain.forms, strict=True)
        packings = {weight: Packing(conv, form) for weight, conv, form in forms}
        if chain.scaled:
            del packings[weights[0]]
            weights[0] = SCALES
        last = chain.parts[-1]
        buffers = {} if result == OUTPUT else {result: Buffer(last.output_shape, last.dtype)}
        if chain.sums:
            conv = chain.depthwise
            size = chain.parts[0].batch * conv.out_height * conv.out_channels
            buffers[SUMS] = Buffer.of_sums((size,), conv)
        return Step(
            title=" + ".join(map(str, chain.parts)),
            problem=self.spec, plan=self.plan, number=number,
            arguments=(source, *weights, *biases, *residual, result, *[SUMS] * chain.sums),
            most_threads=sum(map(worth_waking, chain.parts)),
            packings=packings, buffers=buffers,
        )  # fmt: skip

    def gate(self, gate: Gate, number: int) -> Step:
        """Return the launch that turns sums into scales."""
        weights, biases = (
            [f"se_{name}_{operand}" for name in ("reduce", "expand")]
            for operand in ("weight", "bias")
        )
        products = zip(weights, (gate.reduce, gate.expand), gate.forms, strict=True)
        return Step(
            title=f"{gate.reduce} + {gate.expand}",
            problem=self.spec, plan=self.plan, number=number,
            arguments=(SUMS, *weights, *biases, SCALES),
            most_threads=gate.images,
            packings={weight: Packing(conv, form) for weight, conv, form in products},
            buffers={
                SCALES: Buffer.of_sums((gate.images * gate.reduce.channels,), gate.reduce)
            },
        )  # fmt: skip
