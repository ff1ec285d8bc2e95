"""The commands for whole networks, in files or in PyTorch.

What a command needs is imported when it runs, so that `--help` waits for nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from depthwise.commands.options import AsCsv, AsJson, Wide, examples, form, threads_option
from depthwise.errors import DepthwiseError, installs

if TYPE_CHECKING:
    from depthwise.console import Form

app = typer.Typer()


@app.command(
    short_help="Compute a network's file for arrays in files.",
    epilog=examples(
        "depthwise run net.dw --input x.npy --output y.npy",
        "depthwise run model.onnx --input image=x.npy --input scale=s.npy --output y.npz",
        "depthwise run net.dw --input all.npz --output y.npy --threads 1 --json",
        "depthwise run vad.onnx --input sound.npy --output scores.npy --chunk 512",
    ),
)
def run(
    model: Annotated[
        Path,
        typer.Argument(
            help="model.onnx, model.tflite, or what Network.save wrote.", metavar="MODEL"
        ),
    ],
    inputs: Annotated[
        list[str], typer.Option("--input", help="x.npy or name=x.npy, for each; or an .npz of all.")
    ],
    output: Annotated[Path, typer.Option(help="y.npy; .npz for several outputs.")],
    threads: Annotated[int | None, threads_option(help="Of a call.  [default: all]")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run machine code that the file takes along.")
    ] = False,
    chunk: Annotated[
        int | None,
        typer.Option(
            help="Stream the inputs in chunks of so many elements along the axis, and keep the "
            "states between them."
        ),
    ] = None,
    axis: Annotated[int, typer.Option(help="That of the chunks.")] = -1,
    as_json: AsJson = False,
) -> None:
    """Compute a trained network, from arrays to arrays; the JSON has the time of a call."""
    from depthwise.commands import run as command

    command.run(
        command.Options(
            model=model, inputs=inputs, output=output, threads=threads, trust=trust,
            as_json=as_json, chunk=chunk, axis=axis,
        )
    )  # fmt: skip


@app.command(
    short_help="Replace what is slow in a network: a model of PyTorch, a file of ONNX or TFLite.",
    epilog=examples(
        "depthwise optimize model.onnx --plot timeline.png",
        "depthwise optimize model.onnx --input x=1,3,640,480 --save fast.dw",
        "depthwise optimize depthwise.bench.networks.mobilenet_v2:mobilenet_v2 --input 1,3,224,224",
        "depthwise optimize model.pt2 --input 1,3,224,224 --threads 1 --plot layers.png",
        "depthwise optimize my_models:two_images --input 1,3,64,64 --input 1,3,64,64 --json",
        "depthwise optimize model.pt2 --input 8,3,224,224 --tune --save fast.pt",
    ),
)
def optimize(
    model: Annotated[
        str,
        typer.Argument(
            help="model.onnx, model.tflite, model.pt2 (torch.export.save), module:factory, or "
            "model.pt (with --trust).",
            metavar="MODEL",
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="An input's sizes; once for each input.  Of a file, where they are open; a name "
            "may stand before them: x=1,3,224,224.",
        ),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Search for the fastest plans, for minutes.")
    ] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load a pickled module, which runs code it names.")
    ] = False,
    threads: Annotated[int | None, threads_option(help="Threads of both.  [default: all]")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the time of each layer to this file; of a file, when each runs in a call."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Save the fast network: as fast.dw, without Python; a module as fast.pt, by "
            "torch.save, too."
        ),
    ] = None,
) -> None:
    """Replace what is slow in a network, and say what was, what was not and why."""
    if model.endswith((".onnx", ".tflite")):
        _optimize_file(model, inputs or [], threads, form(as_json, as_csv), plot, save)
        return
    if not inputs:
        raise DepthwiseError("a model of PyTorch needs the sizes of its inputs; got no --input")
    try:
        from depthwise.commands import optimize as command
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise DepthwiseError(
            f"depthwise optimize needs PyTorch; this installs it: {installs('torch')}"
        ) from None

    command.run(
        command.Options(
            model=model, inputs=inputs, tune=tune, trust=trust, threads=threads,
            form=form(as_json, as_csv), plot=plot, save=save,
        )
    )  # fmt: skip


@app.command(
    short_help="Quantize a network's file: a model of ONNX in whole numbers.",
    epilog=examples(
        "depthwise quantize model.onnx --data images.npz --output model.int8.onnx",
        "depthwise quantize model.onnx --data images.npz --test labelled.npz --output int8.onnx",
        "depthwise quantize model.onnx --data photos --mean 0.485,0.456,0.406 "
        "--std 0.229,0.224,0.225 --output int8.onnx",
        "depthwise quantize model.onnx --data images.npy --tolerance 0.05 --keep-float '/head/*' "
        "--output int8.onnx --json",
    ),
)
def quantize(
    model: Annotated[
        Path, typer.Argument(help="model.onnx, in float32.", metavar="MODEL", show_default=False)
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="What the network is given, images first: an .npz of an array for each input by "
            "its name, and of labels if there are any; an .npy; or a folder of images or of .npy."
        ),
    ],
    output: Annotated[Path, typer.Option(help="The quantized model.onnx.")],
    test: Annotated[
        Path | None, typer.Option(help="What the results are compared with.  [default: the data]")
    ] = None,
    calibration: Annotated[
        Literal["minmax", "entropy", "percentile"],
        typer.Option(help="How the range of each value is found in the data."),
    ] = "percentile",
    keep_float: Annotated[
        list[str] | None,
        typer.Option(
            help="A layer that is left in float, as the table names it; may be repeated, and * "
            "stands for any letters.",
            metavar="LAYER",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="The relative error that results may have: layers that cost most are left in "
            "float until they have no more."
        ),
    ] = None,
    reduce_range: Annotated[
        bool,
        typer.Option(
            "--reduce-range",
            help="Cut weights to 7 bits, for ONNX Runtime on CPUs without VNNI.",
        ),
    ] = False,
    fused: Annotated[
        bool,
        typer.Option(
            "--fused",
            help="Quantize nothing between a layer and its activation: nearer to float32, but "
            "slower where that is neither ReLU nor Clip.",
        ),
    ] = False,
    size: Annotated[
        str | None, typer.Option(help="Of images, where the network takes any: 224x224 (HxW).")
    ] = None,
    mean: Annotated[
        str, typer.Option(help="Of each channel or of all, of pixels between 0 and 1.")
    ] = "0",
    std: Annotated[str, typer.Option(help="Likewise; pixels less mean are divided by it.")] = "1",
    threads: Annotated[
        int | None, threads_option(help="Of the comparisons.  [default: all]")
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the error of each layer to this file.")
    ] = None,
) -> None:
    """Quantize a network, and say what each layer's whole numbers cost its results."""
    from depthwise.commands import quantize as command

    command.run(
        command.Options(
            model=model, data=data, output=output, test=test, calibration=calibration,
            keep_float=keep_float or [], tolerance=tolerance, reduce_range=reduce_range,
            fused=fused, size=size, mean=mean, std=std, threads=threads,
            form=form(as_json, as_csv), plot=plot,
        )
    )  # fmt: skip


def _optimize_file(
    model: str, inputs: list[str], threads: int | None, how: Form, plot: Path | None,
    save: Path | None,
) -> None:  # fmt: skip
    try:
        from depthwise.commands import optimize_file as command
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "onnxruntime"):
            raise
        raise DepthwiseError(
            f"files of ONNX need its library and its runtime; this installs them: "
            f"{installs('onnx')}"
        ) from None

    command.run(
        command.Options(model=model, inputs=inputs, threads=threads, form=how, plot=plot, save=save)
    )


@app.command(
    short_help="Write a problem or a network as a library in C, for devices without Python.",
    epilog=examples(
        "depthwise export model.onnx --target cortex-m4f --optimize memory --output person",
        "depthwise export model.tflite --target c --memory 64k --output keywords --plot memory.png",
        "depthwise export fast.dw --target cortex-a76 --name classify --threads 4 --output lib",
        'depthwise export "depthwise c144 hw56 k3 p1 nhwc" --target x86-64-v3 --output dw',
    ),
)
def export(
    source: Annotated[
        str,
        typer.Argument(
            help="A problem, model.onnx, model.tflite, or what Network.save wrote.",
            metavar="PROBLEM|MODEL",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The folder that is made.")],
    target: Annotated[str, typer.Option(help="The device: c is any.  [see below]")] = "c",
    format: Annotated[  # noqa: A002
        Literal["c", "object", "static-library", "shared-library"] | None,
        typer.Option(help="Of the kernels.  [default: c for the target c, object for others]"),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the function.  [default: that of the file]")
    ] = None,
    optimize: Annotated[
        Literal["speed", "size", "memory"],
        typer.Option(help="size: less code; memory: parts of a network row by row."),
    ] = "speed",
    memory: Annotated[
        str | None, typer.Option(help="The most that the arena may have, as 65536, 64k or 1m.")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=0, help="Of the caller's, as many as may run a call; 0: none.")
    ] = 0,
    blob: Annotated[
        bool, typer.Option("--blob", help="Write the weights as a file of bytes to load.")
    ] = False,
    plan: Annotated[str | None, typer.Option(help="How to compute a problem.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="An .npz with those of a problem.  [default: random ones]")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="The shape of an input whose sizes are open, x=1,3,96,96."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that is there.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the memory of each part of a call: .png, .svg, .pdf.")
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    _wide: Wide = False,
) -> None:
    """Write a library in C that computes a problem or a network without Python or a heap.

    It has a header, the code, the weights, a test with results of the oracle, a CMakeLists.txt and
    a README.  Targets are x86-64 to x86-64-v4, aarch64, cortex-a53, cortex-a72, cortex-a76, armv7,
    cortex-m0plus, cortex-m4f, cortex-m7, cortex-m55, riscv64, riscv64-v, wasm32, and the CPUs of
    this machine's family.
    """
    from depthwise.commands import export as command

    command.run(
        command.Options(
            source=source, output=output, target=target, format=format, name=name,
            optimize=optimize, memory=memory, threads=threads, blob=blob, plan=plan,
            operands=weights, inputs=inputs or [], force=force, form=form(as_json, as_csv),
            plot=plot,
        )
    )  # fmt: skip
