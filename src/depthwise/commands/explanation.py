"""`depthwise show` and `depthwise explain`: what is generated, and why it is this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from depthwise import schedule
from depthwise.compiler import compile as compile_kernel
from depthwise.compiler import plan_of, planned_threads
from depthwise.console import Form, out, print_table, print_tables, publish, say
from depthwise.machine import team
from depthwise.machine.target import Target, named
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem
from depthwise.schedule import fusion
from depthwise.store import database

_COSTS = {
    "flops": "FLOPs", "far_bytes": "far bytes", "scratch_bytes": "scratch bytes",
    "cycles": "cycles",
}  # fmt: skip


def show(text: str, stage: str, plan: str | None, cpu: str | None) -> None:
    """Print one stage of the program of a problem, exactly as it is."""
    out.file.write(compile_kernel(text, plan, cpu).show(stage).rstrip() + "\n")


def explain(text: str, cpu: str | None, form: Form) -> None:
    """Print every way of computing a problem: the plan, or why it is none.

    For a block that is every way of fusing its parts with what it costs, then the schedules of each
    part; for a pass of training those of each of its kernels.
    """
    spec, target = parse(text), named(cpu)
    is_block = len(spec.parts) > 1
    described = [_describe(each, target) for each in (spec.parts if is_block else spec.kernels)]
    fused = _describe_block(spec, target) if is_block else None

    def tables() -> None:
        if fused:
            threads = team.in_words(fused["threads"])
            print_table(
                ("parts in one kernel", "", "plan or reason", *_COSTS.values()),
                _fused_rows(fused),
                title=f"{spec}  for {target}, {threads}",
                left=3,
            )
            say(f"taken: {fused['why']}\n")
        print_tables(
            ("schedule", "", "plan or reason"),
            [(_title(conv, target), _rows(conv)) for conv in described],
            left=3,
        )

    publish(
        form,
        value=[*([fused] if fused else []), *described],
        records=_records(fused, described),
        table=tables,
    )


def _describe_block(spec: Any, target: Target) -> dict[str, Any]:
    threads = planned_threads(spec, target)
    taken = plan_of(spec, target)
    ways = []
    for name, way in fusion.ways(spec, target, threads).items():
        if isinstance(way, str):
            ways.append({"parts": name, "rejects": way, "plan": None})
        else:
            costs = {f.name: getattr(way, f.name) for f in fields(way) if f.name != "plan"}
            ways.append({"parts": name, "rejects": None, "plan": str(way.plan), **costs})
    return {
        "spec": str(spec),
        "target": target.cpu,
        "threads": threads,
        "taken": str(taken),
        "why": fusion.why(fusion.ways(spec, target, threads)),
        "ways": ways,
    }


def _fused_rows(block: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for way in block["ways"]:
        if way["rejects"]:
            yield way["parts"], "no", way["rejects"], *[""] * len(_COSTS)
            continue
        costs = (f"{way[name]:,.0f}" for name in _COSTS)
        yield (
            way["parts"],
            "taken" if way["plan"] == block["taken"] else "could",
            way["plan"],
            *costs,
        )


def _describe(problem: Problem, target: Target) -> dict[str, Any]:
    threads = planned_threads(problem, target)
    tuned = database.tuned_plan(problem, target)
    heuristic = schedule.default_plan(problem, target, threads)
    taken = tuned or heuristic
    rules = []
    for rule, reason in schedule.ranking(problem, target, threads).items():
        plan = None
        if reason is None:
            mine = taken.schedule == rule.name
            plan = taken if mine else rule.default_plan(problem, target, threads)
        rules.append({"schedule": rule.name, "rejects": reason, "plan": plan and str(plan)})
    return {
        "spec": str(problem),
        "target": target.cpu,
        "taken": taken.schedule,
        "tuned": tuned and str(tuned),
        "heuristic": str(heuristic),
        "schedules": rules,
    }


def _title(conv: dict[str, Any], target: Target) -> str:
    title = f"{conv['spec']}  for {target}"
    if conv["tuned"]:
        title += f"\ntuned: {conv['tuned']}\nheuristic: {conv['heuristic']}"
    return title


def _records(
    fused: dict[str, Any] | None, described: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield every way of computing a problem and each of its parts."""
    for way in fused["ways"] if fused else ():
        assert fused is not None
        yield {"spec": fused["spec"], **way, "taken": way["plan"] == fused["taken"]}
    for conv in described:
        for rule in conv["schedules"]:
            yield {"spec": conv["spec"], **rule, "taken": rule["schedule"] == conv["taken"]}


def _rows(conv: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rule in conv["schedules"]:
        if rule["rejects"]:
            yield rule["schedule"], "no", rule["rejects"]
        elif rule["schedule"] == conv["taken"]:
            yield rule["schedule"], "taken", rule["plan"]
        else:
            yield rule["schedule"], "could", rule["plan"]
