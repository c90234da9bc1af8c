"""What passes between rooms and to users: ``Queries``, ``Tracks``, ``Masks``, ``Matches``, ``Keypoints`` and ``Video``.

Coordinates are pixels of the original video, x to the right, y down, origin at the top-left corner of the first pixel
(whose centre is (0.5, 0.5)). Time is a frame index from 0. N points, T frames.
"""

from samepoint.structures.checks import DEFAULT_FPS
from samepoint.structures.keypoints import Keypoints, KeypointSource
from samepoint.structures.masks import Masks
from samepoint.structures.matches import Matches
from samepoint.structures.queries import Queries
from samepoint.structures.tracks import Tracks
from samepoint.structures.video import Video

__all__ = ["DEFAULT_FPS", "KeypointSource", "Keypoints", "Masks", "Matches", "Queries", "Tracks", "Video"]
