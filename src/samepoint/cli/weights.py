"""``samepoint weights``: which models there are, others' weights as ours, and whether a file is what it was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from samepoint.cli.weights_export import export
from samepoint.errors import InputError

app = typer.Typer(help="The models that have names, and weight files: others' in, ours out.", rich_markup_mode=None)


app.command("export")(export)


@app.callback()
def _group() -> None:
    pass


_TOLD = (("source", "from"), ("colour", "input"), ("companion", "looks"), ("config", "config"), ("sha256", "sha256"))


@app.command("list")
def list_weights(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Weight files of ours [the named models].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """List the models that --model knows by name, or what weight files say of themselves."""
    from samepoint.models.weights import TABLE

    if files:
        rows = [_said(path) for path in files]
    else:
        rows = [{**dataclasses.asdict(row), "bytes": row.path.stat().st_size} for row in TABLE.values()]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['name']}  {row['architecture']}, {row['bytes'] / 1e6:.1f} MB, {row['licence']}")
        for key, label in _TOLD:
            if row.get(key):
                print(f"  {label:<8}{_line(row[key])}")


def _said(path: Path) -> dict[str, Any]:
    from samepoint.models.weights import read_metadata, sha256

    said = read_metadata(path)
    source, fed = said.get("source"), said.get("input")
    if isinstance(fed, dict):
        fed = f"{fed.get('colour')}, mean {fed.get('mean')}, deviation {fed.get('std')}"
    row = {
        "name": str(path),
        "architecture": said.get("architecture"),
        "source": source or said.get("data"),
        "licence": said.get("licence", "no licence stated"),
        "colour": fed,
        "config": said.get("config"),
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
    }
    if isinstance(source, dict):
        row |= {key: said.get(key) for key in ("kind", "title", "ignored", "kept")}
        row |= {"source": source.get("file"), "file": source}
    return row


def _line(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)


@app.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Weights that others published.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.safetensors", help="The file to write.")],
    kind: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="KIND",
            help="What they are: fgvc, spa-then-temp, crw, cats, ssscweb, torchvision, timm or dinov2.",
        ),
    ],
    layers: Annotated[
        list[int] | None,
        typer.Option(
            "--layer",
            metavar="N",
            help="The stage of a ResNet, from 1, or block of a transformer, from 0, whose maps are wanted: stage 3, "
            "the last block but one, unless given. Repeatable.",
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option("--heads", min=1, metavar="N", help="Attention heads of a matcher: cats 6, ssscweb 8 [these]."),
    ] = None,
    gelu: Annotated[
        bool, typer.Option("--gelu", help="The backbone of a matcher was trained with GELU, which nothing in it tells.")
    ] = False,
    origin: Annotated[
        str | None, typer.Option("--origin", metavar="TEXT", help="Where they came from, for the record: a URL.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="TEXT", help="Theirs, where it is not that of the release.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="Refuse SOURCE unless it has this checksum.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what became of every name as JSON.")] = False,
) -> None:
    """Write others' weights as a file that --model takes and that knows what it is to be fed.

    Every name in SOURCE is either mapped or ignored for a reason that is told, every parameter is filled; otherwise
    nothing is written. Nothing in SOURCE is run.
    """
    from samepoint.models.convert.file import convert_file
    from samepoint.models.convert.kind import Choices

    choices = Choices(tuple(layers) if layers else None, heads, gelu or None)
    done = convert_file(source, output, kind, choices=choices, origin=origin, licence=licence, expected_sha256=sha256)
    if as_json:
        print(json.dumps({"output": str(output), **done.metadata, "mapped": dict(done.fitted.mapped)}))
        return
    print(f"{output}: {len(done.fitted.mapped)} of {done.names} tensors of {source.name}")
    print(f"  {'input':<8}{_line(done.metadata['input'])}")
    for reason, count in done.ignored.items():
        print(f"  ignored {count}: {reason}")
    for note in (done.fitted.remark, done.averaged):
        if note is not None:
            print(f"  note    {note}")


@app.command("mix")
def mix(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="A name or a weight file.")],
    second: Annotated[str, typer.Argument(metavar="SECOND", help="Another of the same architecture.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.safetensors", help="The file to write.")],
    share: Annotated[float, typer.Option("--share", metavar="S", help="Of the second, from 0 to 1.")] = 0.5,
    part: Annotated[
        list[str] | None,
        typer.Option("--part", metavar="NAME=S", help="Another share for a part, such as encoder=0.5. Repeatable."),
    ] = None,
) -> None:
    """Write the mean of two models' weights: of one and what was trained from it, often better than either."""
    from samepoint.io.atomic import check_writable
    from samepoint.models.mixture import mix as mean

    check_writable(output)
    mean(first, second, output, share, dict(_part(text) for text in part or []))
    print(f"wrote {output}")


def _part(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise InputError(f"--part {text!r}: expected NAME=SHARE, for example encoder=0.5") from None


@app.command("verify")
def verify(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME_OR_FILE]...", help="Names or files [all that are shipped].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Check weight files: checksum, strict load, and one forward pass on a fixed input against stored numbers.

    All are checked before the command fails for one of them.
    """
    from samepoint.models.verify import verify as check
    from samepoint.models.weights import TABLE

    passed, failed = [], []
    for model in models or TABLE:
        try:
            passed.append(check(model))
        except InputError as error:
            failed.append(str(error))
    if as_json:
        print(json.dumps({"passed": [dataclasses.asdict(each) for each in passed], "failed": failed}))
    else:
        for each in passed:
            checksum = "no checksum known" if each.checksum is None else f"checksum as in its {each.checksum}"
            run = "no stored numbers" if each.deviation is None else f"stored numbers within {each.deviation:.1g}"
            print(f"{each.name}: {checksum}, {each.tensors} tensors, {run}")
    if failed:
        raise InputError("; ".join(failed))
