"""What a run writes: checkpoints that are whole, logs, and what survives a kill."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from samepoint.errors import InputError, MissingExtraError
from samepoint.training.checkpoints import Checkpoints, load_checkpoint, save_checkpoint
from samepoint.training.loading import _Telling, in_order
from samepoint.training.log import Log, Trackers
from samepoint.training.schedule import learning_rate

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys, torch
from pathlib import Path
from samepoint.training.checkpoints import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]), keep=2)
for step in range(1, 1_000_000):
    state = {"step": step, "position": step, "networks": {"weight": torch.full((4_000_000,), float(step))}}
    checkpoints.save(state)
"""


def wait(process: subprocess.Popen[str], ready: Path) -> None:
    """Until ``ready`` is there."""
    while not ready.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_kill_while_a_checkpoint_is_written_leaves_one_that_loads(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    wait(process, folder / "step-00000001.pt")
    while True:  # a moment at which it is writing
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.02)
        if any(folder.glob(".*.part.pt")):
            break
        process.send_signal(signal.SIGCONT)
        time.sleep(0.001)
    process.kill()
    process.communicate()
    for path in folder.glob("*.pt"):
        if not path.name.startswith("."):
            state = load_checkpoint(path)
            assert (state["networks"]["weight"] == state["step"]).all()
    checkpoints = Checkpoints(tmp_path, keep=2)
    state = checkpoints.open(resume=True)
    assert state is not None
    assert any(folder.glob(".*.part.pt"))
    checkpoints.tidy()
    assert not any(folder.glob(".*.part.pt"))


def test_sigterm_to_all_its_processes_leaves_a_checkpoint_and_status_130(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "samepoint.cli.main", "train", "features", "configs/tiny.yaml"]
    changes = [f"output={tmp_path}", "steps=1000000", "data.workers=1", "checkpoint_every=1000000", "log_every=1"]
    for change in changes:
        command += ["--set", change]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait(process, tmp_path / "log.jsonl")
    while (tmp_path / "log.jsonl").stat().st_size == 0:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate()
    assert (process.returncode, said) == (130, "samepoint: interrupted\n")
    state = load_checkpoint(tmp_path / "checkpoints" / "last.pt")
    assert state["step"] == json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"]


def state(step: int) -> dict[str, object]:
    return {"step": step, "position": step, "networks": {}}


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (2, 4, 6, 8, 8):
        checkpoints.save(state(step))
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["last.pt", "step-00000004.pt", "step-00000006.pt"]
    assert [load_checkpoint(folder / name)["step"] for name in ("last.pt", "step-00000004.pt")] == [8, 4]
    # Someone goes back to an earlier one.
    (folder / "step-00000004.pt").replace(folder / "last.pt")
    again = Checkpoints(tmp_path, keep=3)
    again.open(resume=True)
    again.tidy()
    assert [path.name for path in folder.iterdir()] == ["last.pt"]
    again.save(state(5))
    assert sorted(path.name for path in folder.iterdir()) == ["last.pt", "step-00000004.pt"]


def test_a_run_killed_before_its_first_checkpoint_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"last.pt: no checkpoint to resume from"):
        Checkpoints(tmp_path).open(True)  # nothing was ever begun here: a mistyped folder
    (tmp_path / "config.yaml").write_text("steps: 3")
    assert Checkpoints(tmp_path).open(True) is None


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_whose_last_checkpoint_is_gone_keeps_what_is_left(tmp_path: Path, resume: bool) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (2, 4, 6):
        checkpoints.save(state(step))
    (tmp_path / "config.yaml").write_text("steps: 8")
    checkpoints.best.write_bytes(b"good")
    checkpoints.last.unlink()
    with pytest.raises(InputError, match=r"last\.pt: is missing; to go on, put .*step-00000004\.pt in its place"):
        Checkpoints(tmp_path).open(resume)
    for path in checkpoints.folder.glob("step-*.pt"):
        path.unlink()
    with pytest.raises(InputError, match=r"last\.pt: is missing, but best\.safetensors is there"):
        Checkpoints(tmp_path).open(resume)
    assert checkpoints.best.exists()


def test_one_checkpoint_where_one_is_asked_for(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (2, 4):
        checkpoints.save(state(step))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.pt"]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2):
        checkpoints.save(state(step))
    assert load_checkpoint(tmp_path / "checkpoints" / "step-00000001.pt")["step"] == 1


@pytest.mark.parametrize("content", [b"", b"half", {"step": 1}, [1]])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: object) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content) if isinstance(content, bytes) else save_checkpoint(path, content)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"last\.pt: not a"):
        load_checkpoint(path)


def test_a_log_goes_on_after_the_step_it_resumes_from(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 2, "validation": {}}\n{"step": 3}\n{"step": 4, "lo')
    Log(path, 2).write({"step": 3, "loss": 0.5})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"step": 2, "validation": {}},
        {"step": 3, "loss": 0.5},
    ]
    Log(path, 0)
    assert path.read_text() == ""


def test_what_a_step_has_once_is_in_the_log_once(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl", 0)
    log.write({"step": 2, "loss": 0.5})
    log.note({"step": 2, "calibration": 1, "copied": 1})
    again = Log(log.path, 2)
    again.note({"step": 2, "calibration": 2})
    again.note({"step": 3, "calibration": 3})
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == [
        {"step": 2, "loss": 0.5},
        {"step": 2, "calibration": 2},
        {"step": 3, "calibration": 3},
    ]


def test_tensorboard_has_figures_and_pictures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trackers = Trackers(("tensorboard",), tmp_path, 0)
    for step in (1, 2, 3):
        trackers.scalars(step, {"loss": 1.0 / step})
    trackers.pictures(3, {"matches": np.zeros((4, 6, 3), np.uint8)})
    trackers.close()
    again = Trackers(("tensorboard",), tmp_path, 2)  # resumed after the second step
    again.scalars(3, {"loss": 7.0})
    again.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 7.0)]


def test_a_missing_tensorboard_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.warns(UserWarning, match=r"tensorboard is not installed.*samepoint\[train\]"):
        trackers = Trackers(("tensorboard",), tmp_path, 0)
    trackers.scalars(1, {"loss": 1.0})
    trackers.close()


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_hosted_trackers_only_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"trackers: {name} is not installed"):
        Trackers((name,), tmp_path, 0)  # type: ignore[arg-type]
    calls: list[object] = []
    module = types.ModuleType(name)
    module.init = lambda **values: calls.append(values)  # type: ignore[attr-defined]
    module.log = lambda values, step: calls.append((values, step))  # type: ignore[attr-defined]
    module.Image = lambda picture: picture.shape  # type: ignore[attr-defined]
    module.finish = lambda: calls.append("finish")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    trackers = Trackers((name,), tmp_path / "mine", 0)  # type: ignore[arg-type]
    trackers.scalars(4, {"loss": 1.0})
    trackers.pictures(4, {"matches": np.zeros((4, 6, 3), np.uint8)})
    trackers.close()
    assert calls == [
        {"project": "samepoint", "name": "mine"},
        ({"loss": 1.0}, 4),
        ({"matches": (4, 6, 3)}, 4),
        "finish",
    ]


class Squares(Dataset[int]):
    def __getitem__(self, index: int) -> int:
        return index * index


def test_batches_come_in_order_of_their_positions() -> None:
    before = torch.get_rng_state()
    assert list(in_order(Squares(), range(3, 12, 4))) == [9, 49, 121]
    assert torch.equal(torch.get_rng_state(), before)


HELD = """
import signal
from torch.utils.data import Dataset
from samepoint.training.loading import in_order

class Held(Dataset):
    def __getitem__(self, index):
        return index, sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))

if __name__ == "__main__":
    print(list(in_order(Held(), range(2), workers=1)))
"""


class Faulty(Dataset[int]):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, index: int) -> int:
        if index == 1:
            raise self.error
        return index


def test_a_user_s_mistake_in_a_worker_is_one_line_here() -> None:
    batches = in_order(Faulty(InputError("a.mp4: frame 3 cannot be read")), range(3), workers=1)
    assert next(batches) == 0
    with pytest.raises(InputError) as raised:
        next(batches)
    assert str(raised.value) == "a.mp4: frame 3 cannot be read"


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (MissingExtraError("reading tables", "tables"), InputError, "reading tables needs an optional dependency"),
        (FileNotFoundError(2, "No such file", "a.jpg"), FileNotFoundError, "No such file: 'a.jpg'"),
        (OSError("read error"), OSError, "read error"),
    ],
)
def test_mistakes_come_over_from_a_worker(error: Exception, kind: type[Exception], told: str) -> None:
    item = pickle.loads(pickle.dumps(_Telling(Faulty(error))[1]))
    assert type(item.error) is kind
    assert told in str(item.error)


def test_workers_leave_stopping_to_the_trainer(tmp_path: Path) -> None:
    (tmp_path / "held.py").write_text(HELD)  # a fresh process: what its first worker starts could undo it
    said = subprocess.run([sys.executable, "held.py"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    held = [signal.SIGINT, signal.SIGTERM]
    assert said.strip() == str([(0, held), (1, held)])


def test_warm_up_is_applied_and_the_cosine_ends_where_it_should() -> None:
    rates = [learning_rate(step, 100, 1e-3, 1e-3, 10) for step in range(101)]
    assert rates[:10] == pytest.approx([1e-4 * (step + 1) for step in range(10)])
    assert rates[10] == pytest.approx(1e-3)
    assert rates[55] == pytest.approx(1e-3 * (1e-3 + (1 - 1e-3) / 2))
    assert rates[100] == pytest.approx(1e-6)


def test_the_published_schedule() -> None:
    assert [learning_rate(step, 1000, 1e-3, floor=1e-6) for step in (0, 500, 1000)] == pytest.approx(
        [1e-3, 5.005e-4, 1e-6], rel=1e-12
    )
