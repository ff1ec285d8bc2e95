"""`depthwise show` and `depthwise explain`: what is generated, and why it is this."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise import plan_database, schedule
from depthwise.block import BlockSpec
from depthwise.compiler import compile as compile_kernel
from depthwise.compiler import plan_of
from depthwise.console import out, print_json, print_table
from depthwise.parse import parse
from depthwise.spec import ConvSpec
from depthwise.target import Target, named


def show(text: str, stage: str, plan: str | None, cpu: str | None) -> None:
    """Print one stage of the program of a problem, exactly as it is."""
    out.file.write(compile_kernel(text, plan, cpu).show(stage).rstrip() + "\n")


def explain(text: str, cpu: str | None, as_json: bool) -> None:
    """Print, for each convolution of a problem, every schedule: the plan, or why it refuses."""
    spec, target = parse(text), named(cpu)
    convolutions = spec.parts if isinstance(spec, BlockSpec) else (spec,)
    described = [_describe(convolution, target) for convolution in convolutions]
    if as_json:
        print_json(described)
        return
    for conv in described:
        title = f"{conv['spec']}  for {target}"
        if conv["tuned"]:
            title += f"  (tuned: {conv['tuned']}, heuristic: {conv['heuristic']})"
        print_table(
            ("schedule", "", "plan, or the reason against it"), _rows(conv), title=title, left=3
        )


def _describe(spec: ConvSpec, target: Target) -> dict[str, Any]:
    tuned = plan_database.tuned_plan(spec, target)
    taken = plan_of(spec, target)
    rules = []
    for rule in schedule.RULES:
        plan = None
        if (reason := rule.rejects(spec, target)) is None:
            plan = taken if taken.schedule == rule.name else rule.default_plan(spec, target)
        rules.append({"schedule": rule.name, "rejects": reason, "plan": plan and str(plan)})
    return {
        "spec": str(spec),
        "target": target.cpu,
        "taken": taken.schedule,
        "tuned": tuned and str(tuned),
        "heuristic": str(schedule.default_plan(spec, target)),
        "schedules": rules,
    }


def _rows(conv: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rule in conv["schedules"]:
        if rule["rejects"]:
            yield rule["schedule"], "no", rule["rejects"]
        elif rule["schedule"] == conv["taken"]:
            yield rule["schedule"], "taken", rule["plan"]
        else:
            yield rule["schedule"], "could", rule["plan"]
