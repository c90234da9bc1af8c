"""Tracks points through a video with numpy and ONNX Runtime only (PyAV reads it), by label propagation.

samepoint weights export samepoint-base -o encoder.onnx
samepoint weights export samepoint-base --part propagation -o propagation.onnx
python examples/track_onnx.py clip.mp4 encoder.onnx propagation.onnx 120,88 60,40 > tracks.csv
"""

import json
import sys
from collections import deque

import av
import numpy as np
import onnxruntime as ort


def read(path, multiple, short_side=240):
    """Frames uint8 RGB of sides that the encoder takes, and how many times as large as the video's they are (x, y)."""
    for frame in av.open(path).decode(video=0):
        given = np.array([frame.width, frame.height])
        width, height = (np.maximum(np.rint(given * (short_side / given.min() / multiple)), 2) * multiple).astype(int)
        pixels = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
        yield pixels, (np.array([width, height]) / given).astype(np.float32)


def gaussians(cells, size, sigma):
    """Labels (N, h, w) of points at fractional (column, row)."""
    gaps = [np.arange(count) - at[:, None] for count, at in zip(size[::-1], cells.T, strict=True)]
    along = [np.exp(-(gap**2) / (2 * sigma**2)) for gap in gaps]
    return (along[1][:, :, None] * along[0][:, None]).astype(np.float32)


def peaks(labels):
    """Fractional (column, row) of the labels' peaks (N, 2), parabolas through the logarithms; heights (N,)."""
    each, three = np.arange(len(labels)), np.arange(3)
    row, column = np.divmod(labels.reshape(len(labels), -1).argmax(1), labels.shape[2])
    padded = np.pad(labels, ((0, 0), (1, 1), (1, 1)))
    beside = padded[each[:, None], row[:, None] + 1, column[:, None] + three]
    above = padded[each[:, None], row[:, None] + three, column[:, None] + 1]
    near = np.stack([beside, above], 1)  # (N, 2, 3)
    left, middle, right = np.moveaxis(np.log(np.maximum(near, 1e-38)), 2, 0)
    bend = np.minimum(left - 2 * middle + right, -1e-12)
    mean = (near[..., 2] - near[..., 0]) / np.maximum(near.sum(2), 1e-38)
    offset = np.where((near > 0).all(2), (left - right) / (2 * bend), mean).clip(-0.5, 0.5)
    return np.stack([column, row], 1) + offset, labels[each, row, column]


def track(frames, points, encoder, propagation, sigma=6.0):
    """For each frame, positions (N, 2) in its pixels and the heights (N,) of the labels' peaks: 1 is certain."""
    about, step = (json.loads(file.get_modelmeta().custom_metadata_map["samepoint"]) for file in (encoder, propagation))
    if about["colour"]["space"] != "rgb":
        sys.exit("this example makes RGB inputs only")
    mean, deviation = (np.array(about["colour"][key], np.float32) for key in ("mean", "deviation"))
    stride, offset, slots = step["lattice"]["stride"], step["lattice"]["offset"], step["keys"]
    first, recent = None, deque(maxlen=slots - 1)  # maps and labels of the query frame and of those before this one
    for pixels in frames:
        picture = ((pixels / np.float32(255) - mean) / deviation).transpose(2, 0, 1)[None]
        (features,) = encoder.run([f"map{step['level']}"], {"pictures": picture})[0]
        if first is None:
            xy, height = np.asarray(points, np.float32), np.ones(len(points), np.float32)
            labels = gaussians((xy - offset) / stride, features.shape[1:], sigma / stride)
            first = (features, labels)
        else:
            known = [first, *recent]
            keys, values = (np.stack([*part, *part[:1] * (slots - len(known))]) for part in zip(*known, strict=True))
            inputs = {"query": features, "keys": keys, "labels": values, "present": np.arange(slots) < len(known)}
            (labels,) = propagation.run(None, inputs)
            cells, height = peaks(labels)
            xy = cells * stride + offset
        recent.append((features, labels))
        yield xy, height


if __name__ == "__main__":
    video, *files = sys.argv[1:4]
    sessions = [ort.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files]
    multiple = json.loads(sessions[0].get_modelmeta().custom_metadata_map["samepoint"])["multiple"]
    scale = next(read(video, multiple))[1]
    points = np.array([point.split(",") for point in sys.argv[4:]], np.float32) * scale
    print("point,frame,x,y,height")
    for frame, (xy, heights) in enumerate(track((pixels for pixels, _ in read(video, multiple)), points, *sessions)):
        for point, ((x, y), height) in enumerate(zip(xy / scale, heights, strict=True)):
            print(f"{point},{frame},{x:.3f},{y:.3f},{height:.3f}")
