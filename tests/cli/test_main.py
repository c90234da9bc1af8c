"""The entry point: version, help, usage errors, warnings, exit statuses, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import samepoint
from samepoint.cli import main as module
from samepoint.cli.main import main
from samepoint.errors import InputError

# Runs a command in a process of its own, with a tracker that is slow (and needs no weights) in place of the real one.
SLOW = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a runner in the background may have it ignored
from tests.cli.conftest import stay
points, weights = types.ModuleType("samepoint.tracking.points"), types.ModuleType("samepoint.models.weights")
def track(video, queries, **options):
    if {wait}:
        print("tracking", flush=True)
        time.sleep(60)
    return stay(video, queries)
quality = types.ModuleType("samepoint.tracking.quality")
points.track, weights.resolve = track, str
quality.named_quality = quality.named_search = quality.by_propagation = str
quality.QUALITIES = {{}}
models = types.ModuleType("samepoint.models")
models.__path__ = []
sys.modules |= {{m.__name__: m for m in (points, models, weights, quality)}}
import samepoint.cli.demo
from samepoint.cli.main import main
from samepoint.datasets.synthetic import ClipSettings, SyntheticClips
samepoint.cli.demo._clip = lambda: SyntheticClips(ClipSettings(frames=4, size=(64, 96))).clip(0)
sys.exit(main(sys.argv[1:]))
"""


def start(arguments: list[str], folder: Path, wait: bool, **more) -> subprocess.Popen:
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", SLOW.format(wait=wait), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"samepoint {samepoint.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["track"], ["demo"], ["train"], ["train", "features"], ["weights"], ["weights", "list"]],
)
def test_every_command_documents_itself(capsys, arguments: list[str]) -> None:
    assert main([*arguments, "--help"]) == 0
    assert " ".join(["Usage: samepoint", *arguments]) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "samepoint --help"),
        (["trakc"], "track"),
        (["--nonsense"], "--nonsense"),
        (["train", "features"], "samepoint train features --help"),
        (["train", "features", "nope.yaml"], "nope.yaml"),
        (["weights", "lits"], "list"),
        (["demo", "surplus"], "surplus"),
        (["track", "-o"], "-o"),
    ],
)
def test_bad_usage_is_one_line(folder: Path, capfd, arguments: list[str], said: str) -> None:
    assert main(arguments) == 2
    answer = capfd.readouterr()
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("samepoint: error: ")
    assert said in answer.err


def test_help_is_quick_because_nothing_heavy_is_loaded() -> None:
    code = "import sys; from samepoint.cli.main import main; main(['track', '--help']); print('loaded', *sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = out.split("loaded", 1)[1].split()
    assert not {"torch", "av", "cv2", "numba", "pandas"} & set(loaded)


@pytest.mark.parametrize(
    ("failure", "status", "line"),
    [
        (InputError("two\nlines"), 2, "samepoint: error: two lines"),
        (OSError(28, "No space left on device"), 1, "samepoint: error: No space left on device"),
        (OSError(5, "Input/output error", "x.csv"), 1, "samepoint: error: x.csv: Input/output error"),
        (PermissionError(13, "Permission denied", "x.csv"), 2, "samepoint: error: x.csv: Permission denied"),
        (OSError("strange"), 1, "samepoint: error: strange"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            1,
            "samepoint: error: out of memory",
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "samepoint: error: out of memory"),
        (KeyboardInterrupt(), 130, "samepoint: interrupted"),
    ],
)
def test_exit_statuses(monkeypatch: pytest.MonkeyPatch, capsys, failure, status: int, line: str) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise failure

    monkeypatch.setattr(module.typer.main, "get_command", lambda app: type("Command", (), {"main": fail}))
    assert main([]) == status
    assert capsys.readouterr().err == line + "\n"


def test_a_bug_is_not_dressed_up_as_a_mistake_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module.typer.main, "get_command", lambda app: type("Command", (), {"main": fail}))
    with pytest.raises(ZeroDivisionError):
        main([])


def test_a_warning_is_said_once_on_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def warn(*args: object, **kwargs: object) -> None:
        for _ in range(3):
            warnings.warn("cut short\nafter 3 frames", UserWarning, stacklevel=1)

    before = warnings.showwarning
    monkeypatch.setattr(module.typer.main, "get_command", lambda app: type("Command", (), {"main": warn}))
    assert main([]) == 0
    assert capsys.readouterr().err == "samepoint: warning: cut short after 3 frames\n"
    assert warnings.showwarning is before


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_name_that_a_pipe_cannot_show_costs_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "samepoint.cli.main", "track", "日本.mp4", "--point", "1,1", "-o", "a.csv"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(r"samepoint: error: \u65e5\u672c.mp4")


@pytest.mark.parametrize("command", ["track", "demo"])
def test_ctrl_c_leaves_what_was_there(folder: Path, clip: str, command: str) -> None:
    arguments = ["demo"] if command == "demo" else ["track", clip, "--grid", "2", "-o", "a.csv", "--render", "a.mp4"]
    (folder / "a.csv").write_text("old")
    process = start(arguments, folder, wait=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "tracking\n"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=300)
    assert process.returncode == 130
    assert (out, error) == ("", "samepoint: interrupted\n")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.csv": "old"}


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")
@pytest.mark.parametrize("limit", [100, 1500], ids=["table", "video"])
def test_a_file_that_cannot_grow_is_the_machines_failure(folder: Path, clip: str, limit: int) -> None:
    """The kernel refuses to write on, as on a full disk: within the table, or within the video after it."""
    import resource

    (folder / "a.mp4").write_text("old")
    arguments = ["track", clip, "--point", "9,9", "-o", "a.csv", "--render", "a.mp4"]
    process = start(
        arguments, folder, wait=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    out, error = process.communicate(timeout=300)
    assert process.returncode == 1, error
    assert out == ""
    assert error == "samepoint: error: File too large\n"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.mp4": "old"}
