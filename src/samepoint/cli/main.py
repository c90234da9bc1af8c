"""Entry point of ``samepoint``: one line on standard error and an exit status for everything that can go wrong.

0 done; 2 bad usage or input; 1 failure of the machine; 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

import typer

import samepoint
from samepoint.cli import datasets, demo, evaluate, keypoints, match, report, segment, track, train, web, weights
from samepoint.errors import InputError
from samepoint.process import keep_freed_memory

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
# What the file system says about names and rights concerns what the user gave; any other OSError is the machine's.
USERS_OWN = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)

app = typer.Typer(
    name="samepoint",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the same point through every frame of a video.",
)
app.command("track")(track.track)
app.command("segment")(segment.segment)
app.command("keypoints")(keypoints.keypoints)
app.command("match")(match.match)
app.command("demo")(demo.demo)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.add_typer(train.app, name="train")
app.add_typer(web.app, name="web")
app.add_typer(weights.app, name="weights")
app.add_typer(datasets.app, name="datasets")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"samepoint {samepoint.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` by default) and return the exit status."""
    if arguments is None:  # a process of its own
        keep_freed_memory()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a name that a terminal or pipe cannot show must not cost the answer
                stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():
        # Python's form of a warning is two lines with a place in our source; a user needs the sentence, once.
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _Warnings()
        try:
            result = typer.main.get_command(app).main(arguments, prog_name="samepoint", standalone_mode=False)
        except (KeyboardInterrupt, typer.Abort):
            return _end("interrupted", INTERRUPTED)
        except InputError as error:
            return _end(f"error: {error}", BAD_INPUT)
        except MemoryError:
            return _end("error: out of memory", FAILED)
        except OSError as error:
            return _end(f"error: {_reason(error)}", BAD_INPUT if isinstance(error, USERS_OWN) else FAILED)
        except Exception as error:
            if _is_out_of_memory(error):
                return _end("error: out of memory", FAILED)
            # Click's usage errors have no common home: typer carries its own copy of click from 0.26 on.
            if not hasattr(error, "format_message"):
                raise
            return _end(f"error: {_usage(error.format_message(), arguments)}", BAD_INPUT)
    status = result if isinstance(result, int) else DONE
    return _end("interrupted", INTERRUPTED) if status == INTERRUPTED else status


def _is_out_of_memory(error: Exception) -> bool:
    """As PyTorch says it: of its own type for a GPU's memory, by words only for the machine's."""
    return type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator: can't allocate" in str(error)


def _reason(error: OSError) -> str:
    """Without error number and without the name of a temporary file, which tells the user nothing."""
    if error.strerror is None:
        return str(error)
    named = isinstance(error.filename, str) and not Path(error.filename).name.startswith(".")
    return f"{error.filename}: {error.strerror}" if named else error.strerror


def _usage(message: str, arguments: Sequence[str]) -> str:
    words: list[str] = []
    command: object = typer.main.get_command(app)
    for word in arguments:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        words.append(word)
    return f"{message.strip().rstrip('.')} (see: {' '.join(['samepoint', *words, '--help'])})"


def _end(message: str, status: int) -> int:
    print(f"samepoint: {_one_line(message)}", file=sys.stderr, flush=True)
    return status


def _one_line(text: str) -> str:
    return " ".join(str(text).split())


class _Warnings:
    """Prints each warning once, on one line."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = _one_line(str(message))
        if text not in self._seen:
            self._seen.add(text)
            print(f"samepoint: warning: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
