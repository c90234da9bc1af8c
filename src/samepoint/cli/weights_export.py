"""``samepoint weights export``: a model's parts for other runtimes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samepoint.errors import InputError

if TYPE_CHECKING:
    from samepoint.export import Exported


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A known name, a weight file, a Hub repository or hf:REPOSITORY.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The file to write.")],
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="onnx or exported-program [as OUT ends, .pt2 for the latter]."),
    ] = None,
    part: Annotated[
        str, typer.Option("--part", metavar="PART", help="encoder, matcher, or propagation: one step of it.")
    ] = "encoder",
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="DTYPE", help="float32, fp16 or int8 (ONNX encoders and matchers).")
    ] = "float32",
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="H,W", help="Inputs of this size only; any multiple of the stride by default."),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option("--level", help="Propagation: which of the model's maps it is for; of stride 4 by default."),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option("--window", metavar="CELLS", help="Propagation: radius of the circular search window [15]."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", metavar="FRAMES", help="Propagation: previous frames beside the query frame [5]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Write a part of a model as ONNX or as PyTorch's exported program, checked against the model itself.

    The file is run before it is kept: one that differs by more than the tolerance of its precision is not left behind.
    """
    from samepoint.export import PropagationOptions, export_part

    chosen: dict[str, Any] = {"level": level, "window": window, "context": context}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    result = export_part(
        model,
        output,
        form=form,
        part=part,
        dtype=dtype,
        size=_size(size),
        propagation=PropagationOptions(**chosen) if chosen else None,
    )
    print(json.dumps(dataclasses.asdict(result)) if as_json else _text(result))


def _size(text: str | None) -> tuple[int, int] | None:
    """``240,432`` as (240, 432).

    >>> _size("240,432")
    (240, 432)
    """
    if text is None:
        return None
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--size {text}: expected H,W in pixels, 240,432 for example") from None
    return height, width


def _text(result: Exported) -> str:
    lines = [f"wrote {result.path}: {result.part}, {result.dtype}, {result.bytes / 1e6:.1f} MB"]
    lines += [f"  {line}" for line in result.lines()]
    return "\n".join(lines)
