"""Files as the tools themselves write them, and keypoints of any kind."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from samepoint.structures import Keypoints

quick = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])

DLC_LABELS = """\
scorer,,,rick,rick,rick,rick
bodyparts,,,nose,nose,tail,tail
coords,,,x,y,x,y
labeled-data,mouse,img0003.png,77.25,36.250,,
labeled-data,mouse,img0010.png,101.900392541708,-2.5,1e2,7
"""
DLC_ONE_PIECE = """\
scorer,rick,rick
bodyparts,"nose, left","nose, left"
coords,x,y
labeled-data/mouse/img3.png,77.25,36.25
labeled-data\\mouse\\img4.png,,
"""
DLC_PREDICTED = """\
scorer,DLC_resnet50,DLC_resnet50,DLC_resnet50,DLC_resnet50,DLC_resnet50,DLC_resnet50
bodyparts,nose,nose,nose,tail,tail,tail
coords,x,y,likelihood,x,y,likelihood
0,10.12345678901234,20.5,0.9998853206634521,1.0,2.0,0.03
1,,,0.01,3.0,4.0,1.0
"""
DLC_SEVERAL = """\
scorer,me,me,me,me,me,me,me,me
individuals,a,a,a,a,b,b,single,single
bodyparts,nose,nose,tail,tail,nose,nose,corner,corner
coords,x,y,x,y,x,y,x,y
labeled-data/pair/img07.png,1.0,2.0,3.0,4.0,,,9.5,9.5
labeled-data/pair/img12.png,,,,,5.0,6.0,9.5,9.5
"""
SLEAP = """\
track,frame_idx,instance.score,nose.x,nose.y,nose.score,tail.x,tail.y,tail.score
mouse1,0,1.713,12.25,30.5,1.04,,,
mouse2,0,0.9,40.0,41.0,0.5,42.0,43.125,0.25
mouse1,3,1.5,13.0,31.0,0.75,14.0,32.0,0.7500
"""
PLAIN = """\
# skeleton=[["nose", "tail"]]
frame,bodypart,x,y,likelihood,visible,labelled
0,nose,10.50,20,1,1,1
0,tail,,,,0,1
7,tail,3,4,0.25,0,0
7,nose,30,40,0.75,1,0
"""
COCO = {
    "info": {"year": 2026},
    "images": [
        {"id": 7, "file_name": "mouse/img0004.png", "width": 64, "height": 48},
        {"id": 9, "file_name": "mouse/img0020.png", "width": 64, "height": 48},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 3,
            "keypoints": [10, 20, 2, 0, 0, 0, 5.5, 6.25, 1],
            "num_keypoints": 2,
            "bbox": [1.0, 2, 3, 4],
            "note": "kept",
        },
        {"id": 2, "image_id": 9, "category_id": 3, "keypoints": [11, 21, 2, 3, 3, 0, 1, 1, 2], "num_keypoints": 2},
    ],
    "categories": [{"id": 3, "name": "mouse", "keypoints": ["nose", "ear", "tail"], "skeleton": [[1, 3], [2, 1]]}],
}
CVAT = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>mouse</name>
      <original_size>
        <width>64</width>
        <height>48</height>
      </original_size>
    </task>
  </meta>
  <track id="0" label="nose" source="manual">
    <points frame="0" keyframe="1" outside="0" occluded="0" points="10.00,20.50" z_order="0">
      <attribute name="side">left</attribute>
    </points>
    <points frame="1" keyframe="0" outside="0" occluded="0" points="11.00,20.50" z_order="0" />
    <points frame="4" keyframe="1" outside="0" occluded="1" points="14.25,20.50" z_order="0" />
  </track>
  <track id="1" label="tail" source="manual">
    <points frame="0" keyframe="1" outside="0" occluded="0" points="1.00,2.00" z_order="0" />
    <points frame="4" keyframe="1" outside="1" occluded="0" points="1.00,2.00" z_order="0" />
  </track>
</annotations>
"""
CVAT_SKELETON = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <track id="4" label="mouse" source="manual">
    <skeleton frame="2" keyframe="1" z_order="0">
      <points label="nose" outside="0" occluded="0" points="5.00,6.00" />
      <points label="tail" outside="0" occluded="1" points="7.00,8.00" />
    </skeleton>
  </track>
  <track id="5" label="mouse" source="manual">
    <skeleton frame="2" keyframe="1" z_order="0">
      <points label="nose" outside="1" occluded="0" points="5.00,6.00" />
      <points label="tail" outside="0" occluded="0" points="17.00,18.00" />
    </skeleton>
  </track>
</annotations>
"""
FILES = {
    "labels.csv": DLC_LABELS,
    "one_piece.csv": DLC_ONE_PIECE,
    "predicted.csv": DLC_PREDICTED,
    "several.csv": DLC_SEVERAL,
    "sleap.csv": SLEAP,
    "plain.csv": PLAIN,
    "coco.json": json.dumps(COCO),
    "cvat.xml": CVAT,
    "skeleton.xml": CVAT_SKELETON,
}
WRITTEN = {
    "csv": ".csv",
    "deeplabcut": ".csv",
    "deeplabcut-h5": ".h5",
    "coco": ".json",
    "cvat": ".xml",
    "sleap": ".csv",
}


def write(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(FILES[name].encode())
    return path


def save(keypoints: Keypoints, path: Path, format: str | None = None) -> list[str]:
    """Save and return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keypoints.save(path, format)
    return [str(warning.message) for warning in caught]


def content(keypoints: Keypoints, *fields: str) -> dict[tuple[int, str, str], tuple[object, ...]]:
    """Position and further fields of every known joint by frame, individual and body part."""
    found = {}
    for f, i, k in np.argwhere(keypoints.known).tolist():
        key = (int(keypoints.frame[f]), keypoints.individuals[i], keypoints.bodyparts[k])
        values = [getattr(keypoints, name)[f, i, k].item() for name in fields]
        found[key] = (*keypoints.xy[f, i, k].tolist(), *values)
    return found


_names = st.text("abcXYZ019 _-,;\"'äß日", min_size=1, max_size=5).map(str.strip).filter(bool)
_positions = st.floats(-200, 5000, width=32).filter(lambda x: x == 0 or abs(x) > 1e-4)


@st.composite
def any_keypoints(draw: st.DrawFn) -> Keypoints:
    """At least one known joint in every frame and of every individual, and something of everything else."""
    frames = sorted(draw(st.sets(st.integers(0, 99999), min_size=1, max_size=3)))
    several = draw(st.booleans())
    individuals = draw(st.lists(_names, min_size=2, max_size=3, unique=True)) if several else [""]
    bodyparts = draw(st.lists(_names, min_size=1, max_size=3, unique=True))
    shape = (len(frames), len(individuals), len(bodyparts))
    xy = np.array([draw(_positions) for _ in range(2 * int(np.prod(shape)))], np.float32).reshape(*shape, 2)
    missing = np.array([draw(st.booleans()) for _ in range(int(np.prod(shape)))]).reshape(shape)
    missing[:, 0, 0] = False
    missing[0, :, 0] = False
    xy[missing] = np.nan
    sure = np.array([draw(st.floats(0, 1, width=32)) for _ in range(int(np.prod(shape)))], np.float32).reshape(shape)
    sure = np.where(missing, 0, sure if draw(st.booleans()) else 1)
    hidden = np.array([draw(st.booleans()) for _ in range(int(np.prod(shape)))]).reshape(shape)
    visible = ~missing & ~hidden if draw(st.booleans()) else ~missing & (sure >= 0.5)
    return Keypoints(np.array(frames), xy, tuple(bodyparts), tuple(individuals), sure, visible)
