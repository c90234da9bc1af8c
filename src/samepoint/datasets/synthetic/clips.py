"""Endless clips, addressed by index."""

from __future__ import annotations

import numpy as np

from samepoint.datasets.synthetic.clip import Clip
from samepoint.datasets.synthetic.render import render_clip
from samepoint.datasets.synthetic.settings import ClipSettings
from samepoint.datasets.synthetic.textures import ProceduralTextures, TextureSource


class SyntheticClips:
    """Clips of one distribution; clip ``index`` of a ``seed`` is the same in every process and in any order."""

    def __init__(
        self, settings: ClipSettings | None = None, textures: TextureSource | None = None, seed: int = 0
    ) -> None:
        self.settings = settings or ClipSettings()
        self.textures: TextureSource = textures or ProceduralTextures()
        self.seed = seed

    def clip(self, index: int) -> Clip:
        """Renders a clip."""
        return render_clip(self.settings, self.textures, np.random.default_rng([self.seed, index]))
