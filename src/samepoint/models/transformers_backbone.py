"""Any backbone of ``transformers`` that keeps a picture's layout, as a feature network.

DINOv2, DINOv3, ViT and their kind; ConvNeXt and ResNet.

``hf:owner/name`` is a repository of the Hub, ``hf:folder`` what ``save_pretrained`` wrote. Only safetensors are read,
and no code of a repository is run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, MissingExtraError
from ..geometry import Lattice
from .colour import STATISTICS, ColourSpace

PREFIX = "hf:"
_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
_NORMS = ("layernorm", "norm")
"""What the last normalisation of tokens is called."""
_UNUSED = ("pooler.", "mask_token", "embeddings.mask_token")
"""Parameters that maps do not need: files may lack them."""
_SIDE = 224
"""Of the picture that a new backbone is tried with."""


class TransformersBackbone(nn.Module):
    """A model of ``transformers`` as :class:`~samepoint.models.features.FeatureNetwork`.

    Transformers give the patch tokens of chosen blocks, after the model's last normalisation as
    :class:`~samepoint.models.vit.VisionTransformer` does, without class and register tokens. Convolutional networks
    give the maps of chosen stages. Inputs may have any size: where cells are patches, pictures are continued by their
    last row and column, so that every cell stays where ``lattices`` says.

    Args:
        model: takes ``pixel_values`` and tells its hidden states.
        outputs: blocks from 0, in this order, the last but one by default; or stages from 1, given coarse to fine, 3
            by default.
        mean: of the input's RGB in [0, 1]; ImageNet's by default.
        deviation: of the same.

    Raises:
        InputError: outputs that it does not have, or cells whose places cannot be told.
    """

    colour: ColourSpace = "rgb"

    def __init__(
        self,
        model: nn.Module,
        outputs: Sequence[int] | None = None,
        mean: Sequence[float] = STATISTICS["rgb"][0],
        deviation: Sequence[float] = STATISTICS["rgb"][1],
    ) -> None:
        super().__init__()
        self.model = model
        self.mean, self.deviation = tuple(mean), tuple(deviation)
        self._free_size = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self._norm = next((getattr(model, name) for name in _NORMS if hasattr(model, name)), nn.Identity())
        patch = getattr(model.config, "patch_size", 1)
        patch = patch if isinstance(patch, int) else patch[0]
        side = math.lcm(_SIDE, patch)
        with torch.no_grad():
            trial = self._hidden(torch.zeros(1, 3, side, side))
        self.tokens = trial[0][1].dim() == 3
        """Whether it is a transformer."""
        self.depth = len(trial[0]) - 1
        self.outputs = self._chosen(outputs)
        if self.tokens:
            self.patch = patch
            self._check_tokens(trial[0][1], (side // patch) ** 2)
            self.lattices = (Lattice(patch, patch / 2),) * len(self.outputs)
            self.channels = tuple(trial[0][index + 1].shape[2] for index in self.outputs)
        else:
            kind, maps = _places(model), [trial[0][index] for index in self.outputs]
            strides = [side // level.shape[2] for level in maps]
            self.patch = max(strides) if kind == "patches" else 1
            self.lattices = tuple(Lattice(s, s / 2 if kind == "patches" else 0.5) for s in strides)
            self.channels = tuple(level.shape[1] for level in maps)

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""
        mean, deviation = (torch.tensor(values, device=frames.device) for values in (self.mean, self.deviation))
        return ((frames.to(torch.float32) / 255 - mean) / deviation).permute(0, 3, 1, 2)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, C, h, w) of the chosen blocks or stages for an input (B, 3, H, W)."""
        right, below = -x.shape[3] % self.patch, -x.shape[2] % self.patch
        if right or below:
            x = F.pad(x, (0, right, 0, below), mode="replicate")
        hidden, last = self._hidden(x)
        if not self.tokens:
            return tuple(hidden[stage] for stage in self.outputs)
        grid = x.shape[2] // self.patch, x.shape[3] // self.patch
        maps = []
        for block in self.outputs:
            # The model itself normalises what its last block gives.
            tokens = last if block == self.depth - 1 else self._norm(hidden[block + 1])
            patches = tokens[:, tokens.shape[1] - grid[0] * grid[1] :]
            maps.append(patches.transpose(1, 2).unflatten(2, grid))
        return tuple(maps)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.features(x)

    def _hidden(self, x: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """What each block or stage leaves, the embedding first; and what the model makes of the last."""
        free = {"interpolate_pos_encoding": True} if self._free_size else {}
        result = self.model(x, output_hidden_states=True, **free)
        if not result.hidden_states:
            raise InputError(f"{type(self.model).__name__} does not tell its hidden states; expected a vision backbone")
        return result.hidden_states, result.last_hidden_state

    def _check_tokens(self, tokens: Tensor, patches: int) -> None:
        if tokens.shape[1] < patches:
            raise InputError(
                f"{type(self.model).__name__} gives {tokens.shape[1]} tokens for {patches} patches; expected one each, "
                "as a backbone that keeps the picture's layout does"
            )

    def _chosen(self, outputs: Sequence[int] | None) -> tuple[int, ...]:
        if self.tokens:
            chosen = (max(self.depth - 2, 0),) if outputs is None else tuple(outputs)
            known, what = range(self.depth), "blocks"
        else:
            chosen = (min(3, self.depth),) if outputs is None else tuple(sorted(set(outputs), reverse=True))
            known, what = range(1, self.depth + 1), "stages"
        if not chosen or not all(each in known for each in chosen):
            raise InputError(f"{what} to output: expected some of {known[0]} to {known[-1]}, got {list(outputs or ())}")
        return chosen


def weight_files(source: str) -> list[Path]:
    """The safetensors of a repository or folder, beside which its configuration lies.

    Args:
        source: ``owner/name`` or a folder, with or without ``hf:``.

    Raises:
        InputError: neither a folder nor a repository that can be had, or not what ``save_pretrained`` writes.
    """
    name = source.removeprefix(PREFIX)
    folder = Path(name)
    if not folder.is_dir():
        from .hub import is_repository, snapshot

        if not is_repository(name):
            raise InputError(f"{PREFIX}{name}: neither a folder nor a repository of the Hub, owner/name")
        folder = snapshot(name, _FILES)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        raise InputError(f"{PREFIX}{name}: expected config.json and safetensors, as save_pretrained writes them")
    return weights


def load_backbone(source: str, outputs: Sequence[int] | None = None) -> tuple[TransformersBackbone, str]:
    """The backbone of a repository or folder, in eval mode, float32, on the CPU; and the sha256 of its weights.

    Args:
        source: as for :func:`weight_files`.
        outputs: see :class:`TransformersBackbone`.

    Raises:
        InputError: as there; a model of another kind, or weights that are missing or do not fit.
        MissingExtraError: without the extra ``hf``.
    """
    name = source.removeprefix(PREFIX)
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(f"the backbone {name}", "hf") from error
    weights = weight_files(source)
    folder = weights[0].parent
    try:
        with _quiet(transformers):
            model, report = transformers.AutoModel.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except Exception as error:  # a damaged folder raises whatever transformers runs into
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{name}: cannot be read by transformers ({reason[:200]})") from error
    lacking = [key for key in report["missing_keys"] if not key.startswith(_UNUSED)]
    lacking += [str(key) for key in report.get("mismatched_keys", ())]
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise InputError(f"{name}: its weights do not fill {type(model).__name__}: {', '.join(lacking[:5])}{more}")
    if next(iter(inspect.signature(model.forward).parameters), None) != "pixel_values":
        raise InputError(f"{name}: {type(model).__name__} does not read pictures; expected a vision backbone")
    mean, deviation = _statistics(folder)
    try:
        backbone = TransformersBackbone(model.eval(), outputs, mean, deviation)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    digest = hashlib.sha256()
    for file in weights:
        digest.update(file.read_bytes())
    return backbone.eval(), digest.hexdigest()


def _statistics(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of the input, as the folder says; ImageNet's where it says nothing, 0 and 1 where none."""
    file = folder / "preprocessor_config.json"
    said: dict[str, Any] = {}
    if file.is_file():
        try:
            said = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{file}: not readable as a JSON object") from error
    if said.get("do_normalize") is False:
        return (0.0,) * 3, (1.0,) * 3
    values = [said.get(key, known) for key, known in zip(("image_mean", "image_std"), STATISTICS["rgb"], strict=True)]
    for value in values:
        if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(map(_is_number, value)):
            raise InputError(f"{file}: expected a mean and a deviation of three numbers, got {value!r}")
    if min(values[1]) <= 0:
        raise InputError(f"{file}: expected deviations above 0, got {values[1]!r}")
    return values[0], values[1]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _places(model: nn.Module) -> str:
    """How a convolutional network's cells lie: ``patches`` side by side, or ``padded``, on the first pixel's centre."""
    strided = []
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            kernel, stride, padding = (_side(getattr(module, key)) for key in ("kernel_size", "stride", "padding"))
            if stride > 1:
                strided.append((kernel, stride, padding))
    if strided and all(kernel == stride and padding == 0 for kernel, stride, padding in strided):
        return "patches"
    if strided and all(kernel == 2 * padding + 1 for kernel, _, padding in strided):
        return "padded"
    raise InputError(
        f"{type(model).__name__}: where its cells lie cannot be told; expected strided convolutions that are all "
        f"padded evenly or all patches, got (kernel, stride, padding) {sorted(set(strided))}"
    )


def _side(value: Any) -> int:
    single = value if isinstance(value, int) else value[0]
    return int(single)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the report of what was loaded: it is read, not shown."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()
