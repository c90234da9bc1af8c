"""Compiled inner loops of the renderer; the maps themselves are defined in motion.py.

Arguments that describe one layer in one frame: ``affine`` (2, 3) takes frame to canonical coordinates (the inverse
direction where a function says so), ``waves`` (K, 5) holds amplitude x, y, wave vector x, y and phase of each wave,
``bend`` (2,) the projective part, ``centre`` (2,) the texture's centre in raster coordinates. All float64.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Below this projective denominator a position is past the horizon: it is sent far outside any texture.
HORIZON = 1e-3
OPAQUE = 1.0 / 255.0


@njit(cache=True, nogil=True)
def texture_positions(points, affine, waves, bend, centre):  # type: ignore[no-untyped-def]
    """Texture raster positions (N, 2) of frame raster positions (N, 2): the closed form."""
    out = np.empty((points.shape[0], 2))
    for i in range(points.shape[0]):
        cx = affine[0, 0] * points[i, 0] + affine[0, 1] * points[i, 1] + affine[0, 2]
        cy = affine[1, 0] * points[i, 0] + affine[1, 1] * points[i, 1] + affine[1, 2]
        zx = cx
        zy = cy
        for k in range(waves.shape[0]):
            s = math.sin(waves[k, 2] * cx + waves[k, 3] * cy + waves[k, 4])
            zx += waves[k, 0] * s
            zy += waves[k, 1] * s
        scale = 1.0 / max(1.0 + bend[0] * zx + bend[1] * zy, HORIZON)
        out[i, 0] = zx * scale + centre[0]
        out[i, 1] = zy * scale + centre[1]
    return out


@njit(cache=True, nogil=True)
def frame_positions(texture_points, inverse, waves, bend, centre):  # type: ignore[no-untyped-def]
    """Frame raster positions (N, 2) of texture raster positions (N, 2), by Newton's method to about 1e-9 pixels.

    ``inverse`` (2, 3) takes canonical to frame coordinates. The strains of the waves sum to at most 0.5, so that the
    map is a contraction around the identity and Newton's steps converge from it.
    """
    out = np.empty((texture_points.shape[0], 2))
    for i in range(texture_points.shape[0]):
        qx = texture_points[i, 0] - centre[0]
        qy = texture_points[i, 1] - centre[1]
        scale = 1.0 / max(1.0 - bend[0] * qx - bend[1] * qy, HORIZON)
        zx = qx * scale
        zy = qy * scale
        cx = zx
        cy = zy
        for _ in range(20):
            rx = cx - zx
            ry = cy - zy
            jxx = 1.0
            jxy = 0.0
            jyx = 0.0
            jyy = 1.0
            for k in range(waves.shape[0]):
                angle = waves[k, 2] * cx + waves[k, 3] * cy + waves[k, 4]
                s = math.sin(angle)
                c = math.cos(angle)
                rx += waves[k, 0] * s
                ry += waves[k, 1] * s
                jxx += waves[k, 0] * waves[k, 2] * c
                jxy += waves[k, 0] * waves[k, 3] * c
                jyx += waves[k, 1] * waves[k, 2] * c
                jyy += waves[k, 1] * waves[k, 3] * c
            if rx * rx + ry * ry < 1e-20:
                break
            det = jxx * jyy - jxy * jyx
            cx -= (jyy * rx - jxy * ry) / det
            cy -= (jxx * ry - jyx * rx) / det
        out[i, 0] = inverse[0, 0] * cx + inverse[0, 1] * cy + inverse[0, 2]
        out[i, 1] = inverse[1, 0] * cx + inverse[1, 1] * cy + inverse[1, 2]
    return out


@njit(cache=True, nogil=True)
def _alpha(mask, u, v):  # type: ignore[no-untyped-def]
    """Bilinear alpha, 0 to 1, at an index position of a mask; 0 outside."""
    height, width = mask.shape
    if not (u >= 0.0 and v >= 0.0 and u < width - 1 and v < height - 1):
        return 0.0
    j = int(u)
    i = int(v)
    fu = u - j
    fv = v - i
    top = mask[i, j] * (1.0 - fu) + mask[i, j + 1] * fu
    low = mask[i + 1, j] * (1.0 - fu) + mask[i + 1, j + 1] * fu
    return (top * (1.0 - fv) + low * fv) / 255.0


@njit(cache=True, nogil=True)
def alphas(texture_points, mask):  # type: ignore[no-untyped-def]
    """Alpha (N,) of a mask (h, w) uint8 at texture raster positions (N, 2)."""
    out = np.empty(texture_points.shape[0])
    for i in range(texture_points.shape[0]):
        out[i] = _alpha(mask, texture_points[i, 0] - 0.5, texture_points[i, 1] - 0.5)
    return out


@njit(cache=True, nogil=True)
def _reflect(i, n):  # type: ignore[no-untyped-def]
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


@njit(cache=True, nogil=True, fastmath=True)
def _cubic(texture, u, v, out):  # type: ignore[no-untyped-def]
    """Catmull-Rom colour at an index position, mirrored beyond the border, into ``out`` (3,)."""
    height, width = texture.shape[0], texture.shape[1]
    j = math.floor(u)
    i = math.floor(v)
    f = np.float32(u - j)
    g = np.float32(v - i)
    half = np.float32(0.5)
    one = np.float32(1.0)
    two = np.float32(2.0)
    a = np.float32(1.5)
    b = np.float32(2.5)
    x0 = ((one - half * f) * f - half) * f
    x1 = (a * f - b) * f * f + one
    x2 = ((two - a * f) * f + half) * f
    x3 = (half * f - half) * f * f
    y0 = ((one - half * g) * g - half) * g
    y1 = (a * g - b) * g * g + one
    y2 = ((two - a * g) * g + half) * g
    y3 = (half * g - half) * g * g
    red = np.float32(0.0)
    green = np.float32(0.0)
    blue = np.float32(0.0)
    if i >= 1 and j >= 1 and i < height - 2 and j < width - 2:
        for r in range(4):
            w = y0 if r == 0 else (y1 if r == 1 else (y2 if r == 2 else y3))
            row = texture[i - 1 + r]
            p = j - 1
            red += w * (x0 * row[p, 0] + x1 * row[p + 1, 0] + x2 * row[p + 2, 0] + x3 * row[p + 3, 0])
            green += w * (x0 * row[p, 1] + x1 * row[p + 1, 1] + x2 * row[p + 2, 1] + x3 * row[p + 3, 1])
            blue += w * (x0 * row[p, 2] + x1 * row[p + 1, 2] + x2 * row[p + 2, 2] + x3 * row[p + 3, 2])
    else:
        p0 = _reflect(j - 1, width)
        p1 = _reflect(j, width)
        p2 = _reflect(j + 1, width)
        p3 = _reflect(j + 2, width)
        for r in range(4):
            w = y0 if r == 0 else (y1 if r == 1 else (y2 if r == 2 else y3))
            row = texture[_reflect(i - 1 + r, height)]
            red += w * (x0 * row[p0, 0] + x1 * row[p1, 0] + x2 * row[p2, 0] + x3 * row[p3, 0])
            green += w * (x0 * row[p0, 1] + x1 * row[p1, 1] + x2 * row[p2, 1] + x3 * row[p3, 1])
            blue += w * (x0 * row[p0, 2] + x1 * row[p1, 2] + x2 * row[p2, 2] + x3 * row[p3, 2])
    out[0] = red
    out[1] = green
    out[2] = blue


@njit(cache=True, nogil=True, fastmath=True)
def _linear(texture, u, v, weight, out):  # type: ignore[no-untyped-def]
    """Adds ``weight`` times the bilinear colour at an index position, mirrored beyond the border, to ``out`` (3,)."""
    height, width = texture.shape[0], texture.shape[1]
    j = math.floor(u)
    i = math.floor(v)
    f = np.float32(u - j)
    g = np.float32(v - i)
    one = np.float32(1.0)
    if i >= 0 and j >= 0 and i < height - 1 and j < width - 1:
        j0, j1, i0, i1 = j, j + 1, i, i + 1
    else:
        j0, j1, i0, i1 = _reflect(j, width), _reflect(j + 1, width), _reflect(i, height), _reflect(i + 1, height)
    for c in range(3):
        top = texture[i0, j0, c] * (one - f) + texture[i0, j1, c] * f
        low = texture[i1, j0, c] * (one - f) + texture[i1, j1, c] * f
        out[c] += weight * (top * (one - g) + low * g)


@njit(cache=True, nogil=True, fastmath=True)
def _row_tables(affine, waves, left, right):  # type: ignore[no-untyped-def]
    """Sine and cosine of each wave's horizontal phase at the pixel centres left to right (K, n)."""
    sines = np.empty((waves.shape[0], right - left))
    cosines = np.empty((waves.shape[0], right - left))
    for k in range(waves.shape[0]):
        rate = waves[k, 2] * affine[0, 0] + waves[k, 3] * affine[1, 0]
        for x in range(right - left):
            sines[k, x] = math.sin(rate * (left + x + 0.5))
            cosines[k, x] = math.cos(rate * (left + x + 0.5))
    return sines, cosines


@njit(cache=True, nogil=True, fastmath=True)
def _row_positions(y, left, affine, waves, bend, centre, sines, cosines, us, vs):  # type: ignore[no-untyped-def]
    """Texture index positions of one row of pixel centres into ``us`` and ``vs``.

    A plane wave over the frame is a sum of two products of a function of x and one of y, so no sine is taken here
    a pixel.
    """
    n = us.shape[0]
    py = y + 0.5
    for x in range(n):
        px = left + x + 0.5
        us[x] = affine[0, 0] * px + (affine[0, 1] * py + affine[0, 2])
        vs[x] = affine[1, 0] * px + (affine[1, 1] * py + affine[1, 2])
    for k in range(waves.shape[0]):
        angle = waves[k, 2] * (affine[0, 1] * py + affine[0, 2])
        angle += waves[k, 3] * (affine[1, 1] * py + affine[1, 2]) + waves[k, 4]
        s = math.sin(angle)
        c = math.cos(angle)
        for x in range(n):
            wave = sines[k, x] * c + cosines[k, x] * s
            us[x] += waves[k, 0] * wave
            vs[x] += waves[k, 1] * wave
    for x in range(n):
        scale = 1.0 / max(1.0 + bend[0] * us[x] + bend[1] * vs[x], HORIZON)
        us[x] = us[x] * scale + (centre[0] - 0.5)
        vs[x] = vs[x] * scale + (centre[1] - 0.5)


@njit(cache=True, nogil=True, fastmath=True)
def draw_layer(colour, light, label, index, texture, mask, box, affine, waves, bend, late_affine, late_waves, late_bend, centre, blurred):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: E501
    """Adds a layer under those already drawn: layers come from the top down, the background last.

    Args: ``colour`` (H, W, 3) float32 collects light, ``light`` (H, W) float32 holds the share still to come, ``label``
    (H, W) int16 is -1 until a layer of alpha >= 0.5 claims the pixel. ``mask`` of no elements: opaque everywhere.
    ``box``: top, bottom, left, right of the rows and columns to visit. The ``late_`` map is that of half an exposure
    later, used when ``blurred``: the texture is averaged along the difference, symmetrically around the frame's own.
    """
    top, bottom, left, right = box[0], box[1], box[2], box[3]
    n = right - left
    sines, cosines = _row_tables(affine, waves, left, right)
    us, vs = np.empty(n), np.empty(n)
    late_us, late_vs = np.empty(n), np.empty(n)
    late_sines, late_cosines = sines, cosines
    if blurred:
        late_sines, late_cosines = _row_tables(late_affine, late_waves, left, right)
    opaque = mask.shape[0] == 0
    sample = np.empty(3, np.float32)
    for y in range(top, bottom):
        _row_positions(y, left, affine, waves, bend, centre, sines, cosines, us, vs)
        if blurred:
            _row_positions(
                y, left, late_affine, late_waves, late_bend, centre, late_sines, late_cosines, late_us, late_vs
            )
        for x in range(n):
            if light[y, left + x] < OPAQUE and label[y, left + x] >= 0:
                continue
            u = us[x]
            v = vs[x]
            alpha = 1.0 if opaque else _alpha(mask, u, v)
            if alpha >= 0.5 and label[y, left + x] < 0:
                label[y, left + x] = index
            steps = 1
            if blurred:
                du = late_us[x] - u
                dv = late_vs[x] - v
                steps = min(int(2.0 * math.sqrt(du * du + dv * dv) + 0.5), 12)
            if steps <= 1:
                if alpha < OPAQUE:
                    continue
                _cubic(texture, u, v, sample)
                for c in range(3):
                    sample[c] *= np.float32(alpha)
            else:
                alpha = 0.0
                for c in range(3):
                    sample[c] = np.float32(0.0)
                for s in range(steps):
                    part = (2.0 * s + 1.0) / steps - 1.0
                    share = 1.0 if opaque else _alpha(mask, u + part * du, v + part * dv)
                    if share > 0.0:
                        alpha += share / steps
                        _linear(texture, u + part * du, v + part * dv, np.float32(share / steps), sample)
                if alpha < OPAQUE:
                    continue
            rest = light[y, left + x]
            for c in range(3):
                colour[y, left + x, c] += rest * sample[c]
            light[y, left + x] = rest * np.float32(1.0 - alpha)


@njit(cache=True, nogil=True, fastmath=True)
def _gaussian(counter):  # type: ignore[no-untyped-def]
    """Nearly normal noise of unit variance: the sum of four uniforms from a SplitMix64 hash of the counter."""
    z = counter * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    low = np.uint64(0xFFFF)
    total = np.int64(z & low) + np.int64((z >> np.uint64(16)) & low)
    total += np.int64((z >> np.uint64(32)) & low) + np.int64(z >> np.uint64(48))
    return (total - 131070) * np.float32(1.7320508 / 65536.0)


@njit(cache=True, nogil=True, fastmath=True)
def develop(colour, curve, shading, shadow, read, shot, seed, out):  # type: ignore[no-untyped-def]
    """Light to a picture: shading, tone curve, noise, rounding.

    ``colour`` (H, W, 3) float32, ``curve`` (3, 257) float32 the tone curve at 0 to 256, ``shading`` and ``shadow`` (4,)
    strength, wave vector and phase; ``read`` deviation in the dark, ``shot`` variance a level, ``seed`` uint64.
    """
    height, width = colour.shape[0], colour.shape[1]
    counter = seed
    for y in range(height):
        for x in range(width):
            gain = np.float32(1.0)
            if shading[0] > 0.0:
                gain += np.float32(shading[0] * math.sin(shading[1] * x + shading[2] * y + shading[3]))
            if shadow[0] > 0.0:
                depth = 0.5 + 2.0 * math.sin(shadow[1] * x + shadow[2] * y + shadow[3])
                depth = min(max(depth, 0.0), 1.0)
                gain *= np.float32(1.0 - shadow[0] * depth * depth * (3.0 - 2.0 * depth))
            for c in range(3):
                value = min(max(colour[y, x, c] * gain, np.float32(0.0)), np.float32(255.0))
                step = int(value)
                part = value - np.float32(step)
                value = curve[c, step] + part * (curve[c, step + 1] - curve[c, step])
                if read > 0.0 or shot > 0.0:
                    counter += np.uint64(1)
                    value += np.float32(math.sqrt(read * read + shot * max(value, np.float32(0.0)))) * _gaussian(
                        counter
                    )
                out[y, x, c] = np.uint8(min(max(value + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))
