"""Labelled clips rendered on the fly: moving, deforming layers over a background, with exact motion.

``render_clip`` draws one clip, ``SyntheticClips`` gives endless ones by index; a ``Clip`` answers where any surface
point goes and where it is visible.
"""

from samepoint.datasets.synthetic.clip import Clip
from samepoint.datasets.synthetic.clips import SyntheticClips
from samepoint.datasets.synthetic.render import render_clip
from samepoint.datasets.synthetic.settings import ClipSettings
from samepoint.datasets.synthetic.textures import FolderTextures, ProceduralTextures, TextureSource

__all__ = [
    "Clip",
    "ClipSettings",
    "FolderTextures",
    "ProceduralTextures",
    "SyntheticClips",
    "TextureSource",
    "render_clip",
]
