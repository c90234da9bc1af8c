"""The Hugging Face Hub: weight files from repositories and into them, through ``huggingface_hub`` and its cache.

A repository of ours holds ``model.safetensors`` (weights with our metadata), ``config.json`` (what the network is, for
other tools) and a model card, all written from the metadata. Whatever ``huggingface_hub`` heeds holds here: the cache
(``HF_HOME``, ``HF_HUB_CACHE``), ``HF_HUB_OFFLINE``, ``HF_ENDPOINT``, the token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from huggingface_hub import HfApi, ModelCard, ModelCardData, ModelHubMixin, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from ..errors import InputError
from .fitting import Network, config_of, input_of
from .matcher import Matcher

WEIGHTS, CONFIG = "model.safetensors", "config.json"
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""Of weight files, the best first."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ELSEWHERE = ("licence", "input", "architecture", "config", "config_sha256", "tensors_sha256", "numbers")
"""Of the metadata: what a card says otherwise, or leaves to the file."""
_TAGS = ["point-tracking", "visual-correspondence", "video"]
_Answer = TypeVar("_Answer")


def is_repository(name: str | Path) -> bool:
    """Whether a name that is no file can be that of a repository, ``owner/name``.

    >>> is_repository("owner/name"), is_repository("runs/model.safetensors"), is_repository("samepoint-base")
    (True, False, False)
    """
    text = str(name)
    return bool(_REPOSITORY.fullmatch(text)) and not text.endswith(WEIGHT_SUFFIXES) and not Path(text).exists()


def download(
    repository: str,
    file: str | None = None,
    *,
    revision: str | None = None,
    cache: str | Path | None = None,
    force: bool = False,
    local_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """A weight file of a repository, from the local cache where it lies there.

    Args:
        repository: ``owner/name``.
        file: which; by default ``model.safetensors``, or the only weight file there is, in the cache where the Hub
            cannot be asked.
        revision: branch, tag or commit; the main branch by default.
        cache: folder of the cache; ``huggingface_hub``'s by default.
        force: download even what the cache has.
        local_only: only from the cache, as HF_HUB_OFFLINE=1 does for all.
        token: for private repositories.

    Raises:
        InputError: the repository or the file cannot be had (the reason is given), or it has several weight files.
    """

    def fetch(name: str) -> Path:
        return Path(
            hf_hub_download(
                repository,
                name,
                revision=revision,
                cache_dir=cache,
                force_download=force,
                local_files_only=local_only,
                token=token,
            )
        )

    def cached_weights() -> Path:
        folder = Path(snapshot_download(repository, revision=revision, cache_dir=cache, local_files_only=True))
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        return folder / _only_weights(files, f"{repository} in the cache")

    def any_weights() -> Path:
        try:
            return fetch(file or WEIGHTS)
        except LocalEntryNotFoundError:  # not known to be absent: the Hub cannot be asked
            if file is not None:
                raise
            return cached_weights()
        except EntryNotFoundError:
            if file is not None:
                raise
        return fetch(_only_weights(HfApi(token=token).list_repo_files(repository, revision=revision), repository))

    return _asked(repository, any_weights)


def snapshot(repository: str, patterns: Sequence[str]) -> Path:
    """A folder with those files of a repository whose names match, from the local cache where they lie there.

    Raises:
        InputError: the repository cannot be had; the reason is given.
    """
    return _asked(repository, lambda: Path(snapshot_download(repository, allow_patterns=list(patterns))))


class HubModel(ModelHubMixin, library_name="samepoint", tags=_TAGS):
    """A network of ours with its metadata, as the Hub keeps it: ``from_pretrained`` and ``push_to_hub``.

    Args:
        network: what is kept.
        metadata: what is known of it, as :func:`~samepoint.models.weights.save_weights` takes it; the card is written
            from it.
    """

    def __init__(self, network: Network, metadata: dict[str, Any] | None = None) -> None:
        self.network = network
        self.metadata = {key: value for key, value in (metadata or {}).items() if key not in ("architecture", "config")}
        self._hub_mixin_config = None  # ``_save_pretrained`` writes config.json

    @classmethod
    def load(cls, name_or_path: str | Path) -> HubModel:
        """A model of the weights table, a weight file or a repository.

        Raises:
            InputError: as :func:`~samepoint.models.weights.load_model`, or a backbone of others.
        """
        from .weights import read_metadata, read_network, resolve

        path = resolve(name_or_path)
        return cls(read_network(path), read_metadata(path))

    @classmethod
    def from_pretrained(  # type: ignore[override] # no settings of the model's own
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> HubModel:
        """A model of a repository, ``owner/name``, or of a folder that ``save_pretrained`` wrote.

        The weight file alone is needed: the mixin's own way asks for config.json first, which a cache that was filled
        by :func:`~samepoint.models.weights.load_model` does not have.

        Args:
            pretrained_model_name_or_path: which.
            force_download: download even what the cache has.
            token: for private repositories.
            cache_dir: folder of the cache.
            local_files_only: only from the cache.
            revision: branch, tag or commit.

        Raises:
            InputError: it cannot be had, or is no model of ours.
        """
        if Path(pretrained_model_name_or_path).is_dir():
            return cls.load(Path(pretrained_model_name_or_path) / WEIGHTS)
        path = download(
            str(pretrained_model_name_or_path),
            WEIGHTS,
            revision=revision,
            cache=cache_dir,
            force=force_download,
            local_only=local_files_only,
            token=token,
        )
        return cls.load(path)

    def generate_model_card(self, repository: str = "OWNER/NAME") -> ModelCard:
        """The card of the model, written from its metadata."""
        return model_card(self.network, self.metadata, repository)

    def push_to_hub(  # type: ignore[override] # the settings that a network needs
        self,
        repo_id: str,
        *,
        commit_message: str = "Push model using samepoint",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Weights, configuration and card into a repository, which is made if it is not there; its address.

        Raises:
            InputError: the Hub refuses or cannot be reached; the reason is given.
        """
        push = super().push_to_hub
        return _asked(
            repo_id,
            lambda: str(
                push(
                    repo_id,
                    commit_message=commit_message,
                    private=private,
                    token=token,
                    branch=branch,
                    create_pr=create_pr,
                    model_card_kwargs={"repository": repo_id},
                )
            ),
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        from .weights import read_metadata, save_weights

        path = save_weights(self.network, save_directory / WEIGHTS, self.metadata)
        record = {"library_name": "samepoint", **read_metadata(path)}
        (save_directory / CONFIG).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def model_card(network: Network, metadata: dict[str, Any], repository: str = "OWNER/NAME") -> ModelCard:
    """A model card: what the network is, how it is used, what it was made of; only what is known.

    Args:
        network: the network.
        metadata: as its weight file has it.
        repository: where it will lie, for the example.
    """
    licence = str(metadata.get("licence") or "unknown")
    data = ModelCardData(
        license=licence.lower() if re.fullmatch(r"[\w.-]+", licence) and licence != "unknown" else "other",
        license_name=None if re.fullmatch(r"[\w.-]+", licence) else "see-below",
        library_name="samepoint",
        tags=sorted([*_TAGS, type(network).__name__]),
    )
    parameters = sum(value.numel() for value in network.parameters())
    use = _MATCHING if isinstance(network, Matcher) else _FEATURES
    lines = [
        "---",
        data.to_yaml(),
        "---",
        "",
        f"# {repository.split('/')[-1]}",
        "",
        f"A `{type(network).__name__}` of samepoint, {parameters / 1e6:.2f} M parameters.",
        "",
        "```python",
        use.format(repository=repository),
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| licence | {licence} |",
    ]
    if not isinstance(network, Matcher):
        lines.append(f"| strides of its maps | {', '.join(str(lattice.stride) for lattice in network.lattices)} |")
        lines.append(f"| channels of its maps | {', '.join(map(str, network.channels))} |")
    seen = input_of(network)
    lines.append(f"| input | {seen['units']}; mean {seen['mean']}, deviation {seen['std']} |")
    known = {**metadata, "architecture configuration": config_of(network)}
    for key in ("source", "data"):
        if isinstance(known.get(key), str):
            lines.append(f"| {key} | {known.pop(key)} |")
    for key, value in known.items():
        if value and key not in _ELSEWHERE:
            text = value if isinstance(value, str) else yaml.safe_dump(value, sort_keys=False).strip()
            lines += ["", f"## {key.replace('_', ' ').capitalize()}", "", "```yaml", text, "```"]
    return ModelCard("\n".join(lines) + "\n")


_FEATURES = """import samepoint as sp

tracks = sp.track("clip.mp4", sp.Queries.at([(120, 88)], frame=0), model="{repository}")
network = sp.load_model("{repository}")"""
_MATCHING = """import samepoint as sp

matches = sp.match("horse.jpg", "zebra.jpg", [(120, 88)], model="{repository}")"""


def _asked(repository: str, question: Callable[[], _Answer]) -> _Answer:
    """What the Hub answers.

    Raises:
        InputError: it does not.
    """
    try:
        return question()
    except InputError:
        raise
    except Exception as error:  # the Hub's client raises whatever its transport does
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"{repository}: no file, and cannot be had from the Hub ({reason[:200]})") from error


def _only_weights(files: Sequence[str], repository: str) -> str:
    """The one weight file of a listing; of several formats the first of :data:`WEIGHT_SUFFIXES`.

    >>> _only_weights(["a.pth", "README.md", "b.safetensors"], "owner/name")
    'b.safetensors'
    """
    for suffix in WEIGHT_SUFFIXES:
        found = [file for file in files if file.endswith(suffix)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{repository} has {len(found)} weight files; name one of them ({', '.join(sorted(found)[:5])})"
            )
    raise InputError(f"{repository} has no weight file ({', '.join(WEIGHT_SUFFIXES)})")
