"""The loop that every training run goes through: any task, any number of processes, any stop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import InputError
from .averaging import AveragedWeights
from .checkpoints import Checkpoints
from .draws import draws_state, kept_draws, restore_draws, seed_draws
from .loop_config import LoopConfig
from .processes import average_gradients, clip_gradients, exchange, processes, same_start
from .record import Progress, Record
from .stopping import Stop, stop_requested
from .task import Task

if TYPE_CHECKING:
    from accelerate import Accelerator


def run(
    task: Task[Any],
    settings: LoopConfig,
    folder: Path,
    resume: bool = False,
    progress: Progress | None = None,
) -> bool:
    """Train ``task`` and let it finish; everything but its own files goes into ``folder``.

    ``folder`` gets ``log.jsonl``, ``checkpoints/last.pt``, what the trackers write and, from the first validation on,
    ``checkpoints/best.safetensors``: the averaged weights whose leading figure was the highest. SIGINT and SIGTERM end
    the step at hand and write a checkpoint. Started by ``torchrun`` or ``accelerate launch``, it shares the
    micro-batches of a step among the processes: micro-batch ``a`` of process ``p`` of P in step ``s`` is number
    ``(s A + a) P + p`` of the run, A being ``settings.accumulation``, and draws the same random numbers wherever it is
    computed. ``progress`` is called in the main process after every logged step, with the log's figures, ``steps`` and
    the seconds ``left``.

    Returns:
        Whether this is the main process, the one that wrote.

    Raises:
        InputError: nothing to resume, or a run already in the folder and ``resume`` not asked for.
        MissingExtraError: accelerate is not installed.
        KeyboardInterrupt: stopped by a signal; the checkpoint is written.
        FloatingPointError: a loss or a gradient is not finite; the message names the micro-batch, and the state before
            its step is the last checkpoint, to resume from with other settings. Or the weights are not: they are
            neither kept nor exported.
    """
    checkpoints = Checkpoints(folder, settings.keep)
    state = checkpoints.open(resume)
    folder.mkdir(parents=True, exist_ok=True)
    with kept_draws(), stop_requested() as stop, processes(settings) as accelerator:
        loop = _Loop(task, settings, accelerator, checkpoints)
        if state is not None:
            loop.restore(state)
        record = Record(folder, settings, loop.step, accelerator.is_main_process, progress)
        try:
            with _only(task.networks, loop.parameters):
                loop.train(record, stop)
            loop.check()
            task.exported.load_state_dict(loop.average.state)
            task.exported.eval()
            if accelerator.is_main_process:
                with stop.at_once():
                    record.note(loop.step, task.finish())
            accelerator.wait_for_everyone()
        finally:
            record.close()
        return bool(accelerator.is_main_process)


class _Step(NamedTuple):
    figures: dict[str, float]  # mean over this process's micro-batches
    rate: float
    stop: bool  # a signal had come to one of the processes


class _Loop:
    """The state of a run in one process."""

    def __init__(
        self, task: Task[Any], settings: LoopConfig, accelerator: Accelerator, checkpoints: Checkpoints
    ) -> None:
        self.task, self.settings, self.accelerator, self.checkpoints = task, settings, accelerator, checkpoints
        self.step = 0
        self.position = 0  # micro-batches that the processes have taken together
        self.validated = 0  # the last step that was
        self.best: dict[str, Any] | None = None  # figure, score and step of the best validation
        self.share = settings.accumulation * accelerator.num_processes  # of them in a step
        task.networks.to(accelerator.device)
        task.place(accelerator.device)
        same_start(accelerator, task.networks)
        self.optimiser = accelerator.prepare_optimizer(task.optimiser())
        self.parameters: list[nn.Parameter] = [one for group in self.optimiser.param_groups for one in group["params"]]
        self.average = AveragedWeights(task.exported, settings.ema)

    def state(self) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {
            "step": self.step,
            "position": self.position,
            "networks": self.task.networks.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": scaler.state_dict() if scaler else {},
            "average": self.average.state,
            "draws": draws_state(),
            "validated": self.validated,
            "best": self.best,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: it is of other networks, or ruined.
        """
        try:
            self.task.networks.load_state_dict(state["networks"])
            self.optimiser.load_state_dict(state["optimiser"])
            for key, value in self.average.state.items():
                value.copy_(state["average"][key])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{self.checkpoints.last}: of other networks than those of the configuration") from error
        if not self._sound():
            raise InputError(f"{self.checkpoints.last}: weights that are not finite; put an earlier one in its place")
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        restore_draws(state["draws"])
        self.step, self.position = int(state["step"]), int(state["position"])
        self.validated = int(state.get("validated", self.step))
        self.best = state.get("best") if self.checkpoints.best.exists() else None

    def save(self) -> None:
        """Every process at once.

        Raises:
            FloatingPointError: as :meth:`check`; nothing is written.
        """
        self.check()
        self._write()

    def check(self) -> None:
        """Every process at once.

        Raises:
            FloatingPointError: weights, running statistics or averages of one of them are not finite.
        """
        if not all(sound for (sound,) in exchange(self.accelerator, [self._sound()])):
            raise FloatingPointError(f"the weights are not finite after step {self.step}; {self._kept()}")

    def _sound(self) -> bool:
        """Whether all numbers of this process are finite; once a checkpoint, for it waits for the GPU."""
        values = [*self.task.networks.state_dict().values(), *self.average.state.values()]
        return bool(torch.stack([torch.isfinite(value).all() for value in values]).all())

    def _kept(self) -> str:
        """Where to go on from; no checkpoint is ever written, or gone on from, that is not finite."""
        last = self.checkpoints.last
        return f"the last good state is {last}" if last.exists() else "there is no checkpoint yet"

    def _write(self) -> None:
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.state())

    def train(self, record: Record, stop: Stop) -> None:
        """Take all steps that are left.

        Raises:
            KeyboardInterrupt: a signal came; the checkpoint is written.
        """
        settings = self.settings
        if self.accelerator.is_main_process:
            self.checkpoints.tidy()
        self.task.networks.train()
        if self._due and self.validated < self.step:  # it was stopped, or failed
            self._validate(record)
            self.save()
        own, count = self.accelerator.process_index, self.accelerator.num_processes
        end = self.position + (settings.steps - self.step) * self.share
        batches = self.task.batches(range(self.position + own, end, count))
        try:
            while self.step < settings.steps:
                taken = self._take(batches, stop)
                last = self.step == settings.steps
                if last or self.step % settings.log_every == 0:
                    record.step(self.step, self._mean(taken.figures), taken.rate, self.share * self.task.images)
                if self._due:
                    self.save()  # first: what goes wrong in a validation must not cost the steps before it
                    self._validate(record)
                # One of several processes cannot stop alone: there the signals count that came before the update.
                stopping = taken.stop if count > 1 else stop.requested
                if last or stopping or self._due or self.step % settings.checkpoint_every == 0:
                    self.save()
                if stopping:
                    raise KeyboardInterrupt
        finally:
            # Not left to the garbage collector: processes that make batches would outlive the run.
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    @property
    def _due(self) -> bool:
        """Whether this step ends with a validation."""
        every, last = self.settings.validate_every, self.step == self.settings.steps
        return every > 0 and self.step > 0 and (last or self.step % every == 0)

    def _take(self, batches: Iterator[Any], stop: Stop) -> _Step:
        """One update by the optimiser."""
        from accelerate.utils import send_to_device

        task, settings, accelerator = self.task, self.settings, self.accelerator
        rate = task.rate(self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        # A forward pass that leads to no update must leave no trace in running statistics.
        buffers = [one.detach().clone() for one in task.networks.buffers()]
        self.optimiser.zero_grad(set_to_none=True)
        reports: list[dict[str, float]] = []
        failed = -1
        for micro in range(settings.accumulation):
            batch = send_to_device(self._fetch(batches, buffers), accelerator.device)
            seed_draws(settings.seed, self._position(micro, accelerator.process_index))
            with accelerator.autocast():
                loss, figures = task.loss(batch, self.step / settings.steps)
            if not torch.isfinite(loss):
                failed = micro
                break
            accelerator.backward(loss)
            reports.append({"loss": loss.item(), **figures})
        told = exchange(accelerator, [failed, stop.requested])
        for process, (failed_there, _) in enumerate(told):
            if failed_there >= 0:
                position = self._position(int(failed_there), process)
                where = f"micro-batch {int(failed_there)} of process {process}, data index {position}"
                raise self._failure("loss", where, range(position, position + 1), buffers)
        average_gradients(accelerator, self.parameters)
        norm = clip_gradients(accelerator, self.parameters, settings.clip)
        if not math.isfinite(norm) and not accelerator.scaler:  # a scaler passes over the update and scales less
            taken = range(self.position, self.position + self.share)
            several = f"indices {taken[0]} to" if self.share > 1 else "index"
            raise self._failure("gradient", f"data {several} {taken[-1]}", taken, buffers)
        self.optimiser.step()
        task.updated()
        self.average.update(task.exported, self.step)
        self.step += 1
        self.position += self.share
        means = {key: math.fsum(one[key] for one in reports) / len(reports) for key in reports[0]}
        return _Step({**means, "gradient": norm}, rate, any(stopped for _, stopped in told))

    def _fetch(self, batches: Iterator[Any], buffers: Sequence[Tensor]) -> Any:
        """The next micro-batch. Where it cannot be made, the state before the step is the last checkpoint."""
        try:
            return next(batches)
        except (InputError, OSError) as error:
            if self.step == 0 or not self.accelerator.is_main_process:
                raise
            self._undo(buffers)
            if not self._sound():
                raise
            self._write()
            if not isinstance(error, InputError):
                raise
            raise InputError(f"{error} (step {self.step} is kept in {self.checkpoints.last})") from error

    def _undo(self, buffers: Sequence[Tensor]) -> None:
        """Running statistics as they were."""
        with torch.no_grad():
            for one, before in zip(self.task.networks.buffers(), buffers, strict=True):
                one.copy_(before)

    def _position(self, micro: int, process: int) -> int:
        return self.position + micro * self.accelerator.num_processes + process

    def _failure(self, what: str, where: str, taken: range, buffers: Sequence[Tensor]) -> FloatingPointError:
        """The error, once the state before the step is the last checkpoint; a state already ruined is not written.

        ``taken``: the positions at which the data lie that led to it.
        """
        self._undo(buffers)
        kept = self._kept()
        if self._sound():
            self._write()
            kept = f"the state before it is {self.checkpoints.last}"
        held = "; ".join(filter(None, map(self.task.describe, taken)))
        where += f": {held}" if held else ""
        return FloatingPointError(f"the {what} is not finite at step {self.step} ({where}); {kept}")

    def _mean(self, figures: dict[str, float]) -> dict[str, float]:
        """Over the processes."""
        told = exchange(self.accelerator, list(figures.values()))
        return {
            key: math.fsum(values) / len(told) for key, values in zip(figures, zip(*told, strict=True), strict=True)
        }

    @torch.no_grad()
    def _validate(self, record: Record) -> None:
        self.validated = self.step
        if not self.accelerator.is_main_process:
            return
        task = self.task
        with self.average.applied(task.exported):
            task.exported.eval()
            figures = task.validate()
            record.validation(self.step, figures, task.pictures())
            self._keep_best(figures)
        task.networks.train()

    def _keep_best(self, figures: Mapping[str, float]) -> None:
        """Write the weights where no validation before was better."""
        figure = self.task.leading(figures)
        if figure is None or not math.isfinite(figures[figure]):
            return
        found = {"figure": figure, "score": figures[figure], "step": self.step}
        if self.best is None or self.best["figure"] != figure or found["score"] > self.best["score"]:
            self.task.save(self.checkpoints.best, {"validation": found})
            self.best = found


@contextmanager
def _only(networks: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Gradients for these parameters alone."""
    chosen = {id(one) for one in parameters}
    frozen = [one for one in networks.parameters() if one.requires_grad and id(one) not in chosen]
    for one in frozen:
        one.requires_grad_(False)
    try:
        yield
    finally:
        for one in frozen:
            one.requires_grad_(True)
