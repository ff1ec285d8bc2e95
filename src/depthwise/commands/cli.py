"""The command line: one thin function a subcommand.

The work is in the module that a function imports when it runs, so that `depthwise --help` starts
fast.  Whatever a subcommand raises is turned into a message and an exit code in one place, `main`.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from depthwise.commands import ending, interrupts, networks
from depthwise.commands.options import (
    NAMES,
    POSED,
    AsCsv,
    AsJson,
    DType,
    Layout,
    Op,
    Wide,
    examples,
    form,
    threads_option,
)
from depthwise.problem.dtypes import DEFAULT
from depthwise.version import __version__

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "depthwise bench",
        'depthwise cost "separable c144 o24 hw56 k3 p1"',
        'depthwise show "depthwise c256 hw12 k3 p1" --stage definition',
        "depthwise bench --help",
    ),
)


def print_version(wanted: bool) -> None:
    """Print the version and leave, when `--version` is given."""
    if wanted:
        typer.echo(f"depthwise {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def depthwise(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=print_version),
    ] = False,
) -> None:
    """Depthwise and depthwise-separable convolution at the speed of the hardware."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    short_help="What problems cost: MACs, FLOPs, bytes.",
    epilog=examples(
        'depthwise cost "separable c144 o24 hw56 k3 p1" "conv c144 o24 hw56 k3 p1"',
        "depthwise cost --workload mobilenet_v2 --op separable --batch 8",
        "depthwise cost --workload convnext_tiny --op training --batch 8",
        'depthwise cost "depthwise c256 hw64 k3 p1" --plot roofline.png',
    ),
)
def cost(
    specs: Annotated[
        list[str] | None, typer.Argument(help="Problems in their text form.", metavar="SPEC")
    ] = None,
    workload: Annotated[str | None, typer.Option(help=f"The layers of {NAMES}.")] = None,
    layers: Annotated[Path | None, typer.Option(help="A layer file (JSON).")] = None,
    op: Annotated[
        Op, typer.Option(help=f"What the layers pose: {POSED}.", metavar="OP")
    ] = "depthwise",
    batch: Annotated[int, typer.Option(help="The batch of the layers.")] = 1,
    roofline: Annotated[
        bool, typer.Option("--roofline", help="Measure this machine's limit of each problem.")
    ] = False,
    threads: Annotated[int, threads_option(help="Threads of the roofline.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the roofline to this file (measures it).")
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Print what problems cost: parameters, MACs, FLOPs (2 per MAC), bytes moved at least."""
    from depthwise.bench.layers import collect
    from depthwise.commands import cost as cost_report
    from depthwise.drawing import check_plot

    problems = collect(specs or [], workload, layers, op, batch=batch)
    if plot:
        check_plot(plot)
    measured = cost_report.measure_roofline(threads, problems) if roofline or plot else None
    cost_report.report(problems, measured, form=form(as_json, as_csv), plot=plot)


@app.command(
    short_help="A convolution beside its separable one.",
    epilog=examples(
        'depthwise compare "conv c8 o64 hw128 k3 bias"',
        'depthwise compare "conv c256 o512 hw12 k3 p1 nhwc" --threads 2 --json',
    ),
)
def compare(
    spec: Annotated[
        str,
        typer.Argument(help="A standard convolution, e.g. conv c8 o64 hw128 k3.", metavar="SPEC"),
    ],
    threads: Annotated[int, threads_option(help="Threads of each engine.")] = 1,
    repeats: Annotated[int, typer.Option(help="Samples of each time.", min=1)] = 20,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Compare a standard convolution with its separable counterpart: shapes, costs, times."""
    from depthwise.commands import compare as comparison
    from depthwise.problem.parse import parse

    raise typer.Exit(
        comparison.compare(
            parse(spec), threads=threads, repeats=repeats, form=form(as_json, as_csv)
        )
    )


bench_app = typer.Typer(
    invoke_without_command=True,
    short_help="Measure beside other engines.",
    rich_markup_mode=None,
    epilog=examples(
        "depthwise bench",
        "depthwise bench --workload blocks --op inverted --epilogue network",
        "depthwise bench --workload training --op training --batch 8 --peers torch",
        "depthwise bench --workload causal --op causal --epilogue network",
        "depthwise bench --workload efficientnet_b0 --op network --batch 16 --threads 2",
        "depthwise bench --op network --model model.onnx --input 1,3,224,224 --threads 2",
        "depthwise bench --layers my_layers.json --clock call --layout nhwc --threads 2",
        "depthwise bench --workload seeds --peers torch,onnxruntime --json seeds.json",
        "depthwise bench --workload mobilenet_v2 --threads 2 --html report.html",
        "depthwise bench compare before.json after.json",
    ),
)
app.add_typer(bench_app, name="bench")


@bench_app.callback()
def bench(
    context: typer.Context,
    op: Annotated[
        Literal[Op, "network"],
        typer.Option(
            help=f"What the layers pose: {POSED}; network: the workload itself, as a whole.",
            metavar="OP",
        ),
    ] = "depthwise",
    workload: Annotated[
        list[str] | None,
        typer.Option(
            help=f"The layers of {NAMES}; may be repeated.  [default: seeds, mobilenet_v2]"
        ),
    ] = None,
    layers: Annotated[Path | None, typer.Option(help="A layer file (JSON).")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="With --op network: a file of ONNX, of net.save or of torch.export.save (.pt2), "
            "or module:factory."
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="Sizes of an input of --model: 1,3,224,224 or x=1,3,224,224."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images at once.")] = 1,
    dtype: Annotated[DType, typer.Option(help="Element type.")] = DEFAULT,
    layout: Layout = None,
    threads: Annotated[int, threads_option(help="Threads of every engine.")] = 1,
    clock: Annotated[
        Literal["kernel", "call"],
        typer.Option(help="Raw kernels in each engine's own layout, or what a person calls."),
    ] = "kernel",
    epilogue: Annotated[
        Literal["none", "network"], typer.Option(help="Also bias and the network's activations.")
    ] = "none",
    peers: Annotated[
        str | None, typer.Option(help="Names with commas, or none.  [default: all installed]")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Samples of each time.", min=1)] = 20,
    target: Annotated[
        str | None, typer.Option(help="The CPU to compile for.  [default: this machine]")
    ] = None,
    pin: Annotated[str | None, typer.Option(help="Cores to stay on, e.g. 0,1.")] = None,
    json: Annotated[Path, typer.Option(help="The file of results.")] = Path("results/bench.json"),
    plot: Annotated[
        Path | None, typer.Option(help="The folder of pictures.  [default: results]")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also a page of everything: this one file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Also a table of all results: this CSV.")] = None,
    _wide: Wide = False,
) -> int:
    """Measure depthwise convolution on this machine beside other engines, each verified first."""
    if context.invoked_subcommand is not None:
        return 0
    from depthwise.bench import command
    from depthwise.bench.options import Options, cores, names
    from depthwise.commands.shapes import named_shapes

    return command.bench(
        Options(
            op=op, workloads=workload or (), layers=layers, model=model,
            inputs=named_shapes(inputs or ()), batch=batch, dtype=dtype, layout=layout,
            threads=threads, clock=clock, epilogue=epilogue,
            peers=names(peers), repeats=repeats, cpu=target, pin=cores(pin),
            json=json, csv=csv, plot=plot, html=html,
            command=shlex.join(["depthwise", *sys.argv[1:]]),
        )
    )  # fmt: skip


@bench_app.command(
    name="compare",
    short_help="What got faster or slower.",
    epilog=examples("depthwise bench compare before.json after.json"),
)
def compare_results(
    before: Annotated[Path, typer.Argument(help="The results before (bench --json).")],
    after: Annotated[Path, typer.Argument(help="The results after.")],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Say which results got faster or slower, and which changes are inside the spreads."""
    from depthwise.bench import changes

    changes.compare(before, after, form(as_json, as_csv))


peers_app = typer.Typer(
    invoke_without_command=True,
    short_help="Other engines to compare with.",
    rich_markup_mode=None,
    epilog=examples(
        "depthwise peers",
        "depthwise peers install mxnet tensorflow onednn",
        "depthwise peers verify",
    ),
)
app.add_typer(peers_app, name="peers")


@peers_app.callback()
def peers(
    context: typer.Context,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Other engines to compare with: installed, version, verified on this machine."""
    from depthwise.bench.peers import command

    if context.invoked_subcommand is None:
        command.listing(form(as_json, as_csv))


@peers_app.command(
    name="install",
    short_help="Install engines, and verify them.",
    epilog=examples("depthwise peers install mxnet"),
)
def install_peers(
    names: Annotated[list[str], typer.Argument(help="Engines of `depthwise peers`.")],
) -> int:
    """Install engines into environments of their own (the folder DEPTHWISE_PEERS), and verify."""
    from depthwise.bench.peers import command

    return command.install(names)


@peers_app.command(
    name="verify",
    short_help="Hold engines against the oracle.",
    epilog=examples("depthwise peers verify mxnet onednn"),
)
def verify_peers(
    names: Annotated[
        list[str] | None, typer.Argument(help="Engines.  [default: all that are installed]")
    ] = None,
) -> int:
    """Hold engines against the oracle on a few problems; exit with 1 where a result is wrong."""
    from depthwise.bench.peers import command

    return command.verify(names or [])


@app.command(
    short_help="Print what is generated for a problem.",
    epilog=examples(
        'depthwise show "depthwise c256 hw12 k3 p1" --stage definition --plan default',
        'depthwise show "depthwise c144 hw56 k3 p1 nhwc" --stage asm --target skylake-avx512',
        'depthwise show "depthwise c32 hw64 k3 p1" --plan "packed tc16 tw4"',
    ),
)
def show(
    spec: Annotated[str, typer.Argument(help="A problem in its text form.", metavar="SPEC")],
    stage: Annotated[
        Literal["definition", "schedule", "llvm", "asm"],
        typer.Option(help="The program before and after scheduling, LLVM IR, machine code."),
    ] = "schedule",
    plan: Annotated[
        str | None, typer.Option(help="E.g. 'packed tc16 tw4'.  [default: the heuristic's]")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The CPU to compile for.  [default: this machine]")
    ] = None,
) -> None:
    """Print what is generated for a problem."""
    from depthwise.commands import explanation

    explanation.show(spec, stage, plan, target)


@app.command(
    short_help="Why a problem is computed as it is.",
    epilog=examples(
        'depthwise explain "depthwise c144 hw56 k3 p1 nhwc"',
        'depthwise explain "separable c144 o24 hw56 k3 p1" --json',
    ),
)
def explain(
    spec: Annotated[str, typer.Argument(help="A problem in its text form.", metavar="SPEC")],
    target: Annotated[
        str | None, typer.Option(help="The CPU to compile for.  [default: this machine]")
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Say which schedule takes a problem, and why each other one does not."""
    from depthwise.commands import explanation

    explanation.explain(spec, target, form(as_json, as_csv))


@app.command(
    short_help="Every tiling of a schedule, timed.",
    epilog=examples(
        'depthwise sweep "depthwise c32 hw64 k3 p1"',
        'depthwise sweep "depthwise c144 hw56 k3 p1 nhwc" --threads 2 --plot tilings.png',
        'depthwise sweep "inverted c24 e144 o24 hw56 k3 p1 nhwc"',
    ),
)
def sweep(
    spec: Annotated[str, typer.Argument(help="A problem in its text form.", metavar="SPEC")],
    schedule: Annotated[
        str | None,
        typer.Option(help="Whose tiles.  [default: packed, or channels_last for such data]"),
    ] = None,
    threads: Annotated[int, threads_option(help="Threads of each kernel.")] = 1,
    repeats: Annotated[int, typer.Option(help="Samples of each time.", min=1)] = 9,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="The file of the heat map (of a convolution).  [default: results/sweep.png]"
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Try every tiling of a schedule: each verified, timed, ranked and drawn.

    Of a block, every way of fusing its parts in strips of every height is tried.
    """
    from depthwise.commands import sweep as tilings

    tilings.sweep(spec, schedule, threads, repeats, plot, form(as_json, as_csv))


@app.command(
    short_help="Search for the fastest plans; keep them.",
    epilog=examples(
        'depthwise tune "depthwise c144 hw56 k3 p1 nhwc"',
        "depthwise tune --workload mobilenet_v2 --layout nhwc --epilogue network --threads 1",
        "depthwise tune --workload mobilenet_v2 --op inverted --layout nhwc --epilogue network",
        'depthwise tune --layers my_layers.json "depthwise1d c1536 l2048 k4 causal" --json',
    ),
)
def tune(
    specs: Annotated[
        list[str] | None, typer.Argument(help="Problems in their text form.", metavar="SPEC")
    ] = None,
    workload: Annotated[str | None, typer.Option(help=f"The layers of {NAMES}.")] = None,
    layers: Annotated[Path | None, typer.Option(help="A layer file (JSON).")] = None,
    op: Annotated[
        Literal["depthwise", "separable", "inverted"],
        typer.Option(help="What the layers pose: depthwise, separable, inverted.", metavar="OP"),
    ] = "depthwise",
    batch: Annotated[int, typer.Option(help="The batch of the layers.")] = 1,
    dtype: Annotated[DType, typer.Option(help="Element type of the layers.")] = DEFAULT,
    layout: Layout = None,
    epilogue: Annotated[
        Literal["none", "network"], typer.Option(help="Also the layers' bias and activations.")
    ] = "none",
    threads: Annotated[
        int | None, threads_option(help="Threads of each kernel.  [default: all]")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Budget of each problem.  [default: 10, or 30 for blocks and 7x7 and larger]"
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> int:
    """Search for the fastest plans of problems, and remember them for the calls to come.

    Each plan is built, held against the oracle and timed.  After an interrupt, or at the end of its
    budget, the same command goes on from there.
    """
    from depthwise.bench.layers import collect
    from depthwise.commands import tune as tune_report

    problems = collect(
        specs or [], workload, layers, op,
        batch=batch, dtype=dtype, layout=layout and layout.upper(), epilogue=epilogue,
    )  # fmt: skip
    return tune_report.tune(problems, threads, seconds, form(as_json, as_csv))


cache_app = typer.Typer(
    invoke_without_command=True,
    short_help="Compiled kernels and tuned plans on disk.",
    rich_markup_mode=None,
    epilog=examples(
        "depthwise cache",
        "depthwise cache --all",
        "depthwise cache clear --stale",
        "depthwise cache clear --older-than 30",
    ),
)
app.add_typer(cache_app, name="cache")


@cache_app.callback()
def cache(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Print each kernel and tuned plan.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Compiled kernels and tuned plans on disk (the folder DEPTHWISE_CACHE; empty, none)."""
    from depthwise.commands import cache as cache_report

    if context.invoked_subcommand is None:
        cache_report.listing(everything=everything, form=form(as_json, as_csv))


@cache_app.command(
    name="clear",
    short_help="Remove compiled kernels from the disk.",
    epilog=examples("depthwise cache clear --stale"),
)
def clear_cache(
    stale: Annotated[
        bool, typer.Option("--stale", help="Only what other versions made, which is not loaded.")
    ] = False,
    older_than: Annotated[
        float | None,
        typer.Option(help="Only what was not used for so many days.", metavar="DAYS", min=0),
    ] = None,
    plans: Annotated[
        bool, typer.Option("--plans", help="Tuned plans as well, which are otherwise kept.")
    ] = False,
) -> None:
    """Remove compiled kernels from the disk; they are compiled anew when they are needed."""
    from depthwise.commands import cache as cache_report

    cache_report.clear(stale=stale, older_than=older_than, plans=plans)


@app.command(
    short_help="Check that kernels run at full speed.",
    epilog=examples("depthwise doctor", "depthwise doctor --json"),
)
def doctor(
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> int:
    """Check that this machine and its settings let kernels run at full speed; 1 if not."""
    from depthwise.commands import doctor as examination

    return examination.doctor(form(as_json, as_csv))


app.add_typer(networks.app)


def main() -> None:
    """Run the command line; exit with 0, with 2 after a line on stderr, or 130 if interrupted."""
    interrupts.raise_again()
    sys.exit(ending.status(lambda: app(prog_name="depthwise", standalone_mode=False)))
