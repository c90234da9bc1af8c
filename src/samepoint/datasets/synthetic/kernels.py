"""Compiled inner loops of the renderer; the maps themselves are defined in motion.py.

Arguments that describe one layer in one frame: ``affine`` (2, 3) takes frame to canonical coordinates (the inverse
direction where a function says so), ``waves`` (K, 5) holds amplitude x, y, wave vector x, y and phase of each wave,
``bend`` (2,) the projective part, ``centre`` (2,) the texture's centre in raster coordinates. All float64.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numba import njit

# Below this projective denominator a position is past the horizon: it is sent far outside any texture.
HORIZON = 1e-3
# A layer's remaining light below this is not worth another texture lookup.
OPAQUE = 1.0 / 255.0
# Mirrored pixels around a texture, so that a cubic's neighbours always exist.
PAD = 2
# Standard normal quantiles, scaled to unit variance: the noise is drawn from them by twelve random bits.
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 4096) for i in range(4096)])
_NORMAL = (_QUANTILES / _QUANTILES.std()).astype(np.float32)


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
def _mirror(position, n):  # type: ignore[no-untyped-def]
    """A raster coordinate folded into 0 to n, as mirrors at both borders would."""
    if 0.0 <= position <= n:
        return position
    position = position % (2.0 * n)
    return position if position <= n else 2.0 * n - position


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _cubic(texture, u, v, out, row):  # type: ignore[no-untyped-def]
    """Catmull-Rom colour at an index position, mirrored beyond the border, into ``out`` (3,); ``row`` (16,) is scratch.

    ``texture`` (h + 2 PAD, 4 (w + 2 PAD)) uint8: four bytes a pixel and a mirrored border, so that each row's four
    neighbours are sixteen bytes in a row, which the compiler turns into one vector.
    """
    u = _mirror(u + 0.5, texture.shape[1] // 4 - 2 * PAD) - 0.5
    v = _mirror(v + 0.5, texture.shape[0] - 2 * PAD) - 0.5
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
    p = np.uint64(4 * (j - 1 + PAD))
    r0 = texture[np.uint64(i - 1 + PAD)]
    r1 = texture[np.uint64(i + PAD)]
    r2 = texture[np.uint64(i + 1 + PAD)]
    r3 = texture[np.uint64(i + 2 + PAD)]
    for k in range(16):
        q = p + np.uint64(k)
        row[k] = y0 * r0[q] + y1 * r1[q] + y2 * r2[q] + y3 * r3[q]
    for c in range(3):
        out[c] = x0 * row[c] + x1 * row[4 + c] + x2 * row[8 + c] + x3 * row[12 + c]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _linear(texture, u, v, weight, out):  # type: ignore[no-untyped-def]
    """Adds ``weight`` times the bilinear colour at an index position to ``out`` (3,); ``texture`` as in _cubic."""
    u = _mirror(u + 0.5, texture.shape[1] // 4 - 2 * PAD) - 0.5
    v = _mirror(v + 0.5, texture.shape[0] - 2 * PAD) - 0.5
    j = math.floor(u)
    i = math.floor(v)
    f = np.float32(u - j)
    g = np.float32(v - i)
    one = np.float32(1.0)
    p = np.uint64(4 * (j + PAD))
    top = texture[np.uint64(i + PAD)]
    low = texture[np.uint64(i + 1 + PAD)]
    for c in range(3):
        q = p + np.uint64(c)
        near = top[q] * (one - g) + low[q] * g
        far = top[q + np.uint64(4)] * (one - g) + low[q + np.uint64(4)] * g
        out[c] += weight * (near * (one - f) + far * f)


@njit(cache=True, nogil=True, fastmath=True)
def _phases(rate, n):  # type: ignore[no-untyped-def]
    """Sine and cosine (n,) of rate times the x of a row's pixel centres, rate in radians a pixel."""
    sines = np.empty(n)
    cosines = np.empty(n)
    for x in range(n):
        sines[x] = math.sin(rate * (x + 0.5))
        cosines[x] = math.cos(rate * (x + 0.5))
    return sines, cosines


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
    (H, W) int16 is -1 until a layer of alpha >= 0.5 claims the pixel. ``texture`` as in _cubic. A ``mask`` without
    elements is opaque everywhere. ``box``: top, bottom, left, right of the rows and columns to visit. The ``late_`` map
    is that of half an exposure later, used when ``blurred``: the texture is averaged along the difference,
    symmetrically around the frame's own.
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
    scratch = np.empty(16, np.float32)
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
                _cubic(texture, u, v, sample, scratch)
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
def _hash(counter):  # type: ignore[no-untyped-def]
    """SplitMix64's output function: 64 random bits of a uint64 counter."""
    z = counter * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def develop(colour, curve, grain, shading, shadow, seed, out):  # type: ignore[no-untyped-def]
    """Light to a picture: shading, tone curve, noise, rounding.

    ``colour`` (H, W, 3) float32, ``curve`` and ``grain`` (3, 257) float32 the developed level and its noise's standard
    deviation at 0 to 256, ``shading`` and ``shadow`` (4,) strength, wave vector and phase, ``seed`` uint64.
    """
    height, width = colour.shape[0], colour.shape[1]
    shaded = shading[0] > 0.0 or shadow[0] > 0.0
    noisy = grain.max() > 0.0
    bits = np.uint64(0)
    gains = np.ones(width, np.float32)
    sines, cosines = _phases(shading[1], width)
    dark_sines, dark_cosines = _phases(shadow[1], width)
    for y in range(height):
        if shaded:
            s, c = (
                shading[0] * math.sin(shading[2] * (y + 0.5) + shading[3]),
                shading[0] * math.cos(shading[2] * (y + 0.5) + shading[3]),
            )
            e, f = 2.0 * math.sin(shadow[2] * (y + 0.5) + shadow[3]), 2.0 * math.cos(shadow[2] * (y + 0.5) + shadow[3])
            for x in range(width):
                depth = min(max(0.5 + dark_sines[x] * f + dark_cosines[x] * e, 0.0), 1.0)
                dark = 1.0 - shadow[0] * depth * depth * (3.0 - 2.0 * depth)
                gains[x] = (1.0 + sines[x] * c + cosines[x] * s) * dark
        for x in range(width):
            gain = gains[x]
            if noisy:
                bits = _hash(seed + np.uint64(y * width + x))
            for c in range(3):
                light = min(max(colour[y, x, c] * gain, np.float32(0.0)), np.float32(255.0))
                step = np.uint64(light)
                part = light - np.float32(step)
                level = curve[c, step] + part * (curve[c, step + np.uint64(1)] - curve[c, step])
                if noisy:
                    level += grain[c, step] * _NORMAL[bits & np.uint64(4095)]
                    bits >>= np.uint64(12)
                out[y, x, c] = np.uint8(min(max(level + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))
