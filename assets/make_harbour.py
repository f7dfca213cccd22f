"""Model, light and sample the harbour in ``harbour/``: a coloured point cloud that tirender may ship.

    pip install numpy
    python assets/make_harbour.py [FOLDER]

An island with a village around a bay: every surface (terrain, water, walls, roofs, trees, boats, a balloon) is sampled
evenly, lit by one sun with shadows and by the sky, and thinned to one point a cell of a grid. The numbers are random,
from a seed: the same NumPy gives the same file.

``harbour.npz`` has what the bridge of PyTorch3D's tutorial has: ``verts`` (P, 3) and ``rgb`` (P, 4), here in float16;
+Y is up, the bay opens to -Z, and all points lie within [-1, 1].
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np

N_POINTS = 100_000
DENSITY = 230_000  # samples an area of 1 before thinning
SEA = 0.76  # radius of the water
SUN = np.array([-0.62, 0.52, -0.58])
SUN /= np.linalg.norm(SUN)
SUNLIGHT, SKYLIGHT = np.array([1.10, 0.97, 0.74]), np.array([0.45, 0.52, 0.64])

SAND, GRASS, MEADOW, ROCK = (0.93, 0.83, 0.62), (0.42, 0.62, 0.25), (0.62, 0.74, 0.30), (0.56, 0.52, 0.49)
SHALLOW, DEEP, FOAM = (0.36, 0.83, 0.79), (0.06, 0.35, 0.57), (0.95, 0.98, 0.98)
WOOD, DARK_WOOD, WHITE, RED, STONE = (
    (0.62, 0.45, 0.29),
    (0.36, 0.25, 0.17),
    (0.97, 0.96, 0.93),
    (0.86, 0.20, 0.16),
    (0.72, 0.69, 0.64),
)
WALLS = [
    (0.98, 0.95, 0.88),
    (0.97, 0.86, 0.62),
    (0.95, 0.72, 0.58),
    (0.70, 0.84, 0.90),
    (0.93, 0.62, 0.55),
    (0.82, 0.90, 0.74),
]
ROOFS = [(0.80, 0.34, 0.20), (0.70, 0.27, 0.18), (0.86, 0.45, 0.26), (0.45, 0.36, 0.40)]
PINES = [(0.13, 0.38, 0.24), (0.18, 0.45, 0.24), (0.22, 0.42, 0.30)]
LEAVES = [(0.45, 0.65, 0.20), (0.90, 0.62, 0.18), (0.85, 0.40, 0.16), (0.96, 0.66, 0.76), (0.36, 0.58, 0.22)]
GLASS = (0.28, 0.37, 0.47)

Surface = tuple[np.ndarray, np.ndarray, np.ndarray]  # points (P, 3), unit normals (P, 3), colours (P, 3)


def main(folder: Path) -> None:
    """Write harbour.npz into ``folder``."""
    verts, rgb = harbour()
    folder.mkdir(parents=True, exist_ok=True)
    rgba = np.concatenate([rgb, np.ones_like(rgb[:, :1])], 1)
    save(folder / "harbour.npz", verts=verts.astype(np.float16), rgb=rgba.astype(np.float16))


def save(path: Path, **arrays: np.ndarray) -> None:
    """Write a compressed .npz without the time of day, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, array)


def harbour() -> tuple[np.ndarray, np.ndarray]:
    """Positions (P, 3) within [-1, 1] and colours (P, 3) in [0, 1]."""
    rng = np.random.default_rng(7)
    land = joined([terrain(rng), *village(rng), *woods(rng), lighthouse(rng), pier(rng)])
    buried = land[0][:, 1] < height(*land[0][:, [0, 2]].T) - 0.003
    still = joined([tuple(part[~buried] for part in land), water(rng)])
    afloat, aloft = joined(boats(rng)), balloon(rng)
    points, normals, colors = joined([still, afloat, aloft])
    keep = thinned(points, rng)
    casters = np.concatenate([still[0], afloat[0]])
    in_shade = lighting(points[keep], normals[keep], casters)
    free = lighting(points[keep], normals[keep], casters[:0])
    light = np.where(keep[:, None] < len(still[0]), in_shade, free)
    verts, rgb = points[keep], np.clip(1.06 * colors[keep] * light, 0, 1)
    low, high = verts.min(0), verts.max(0)
    return (verts - (low + high) / 2) * (1.999 / (high - low).max()), rgb


# --- the land -------------------------------------------------------------------------------------------------------

BAY, HILL, CAPE = np.array([0.02, -0.40]), np.array([-0.16, 0.22]), np.array([0.50, -0.27])


def height(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How high the land is; the sea is at 0."""
    wobble = 0.10 * noise(3.1 * x, 3.1 * z) + 0.05 * noise(7.0 * x + 5, 7.0 * z)
    land = step(0.66, 0.44, np.hypot(x, z) + wobble)
    land = np.maximum(land, step(0.22, 0.08, np.hypot(x - CAPE[0], z - CAPE[1]) + 0.4 * wobble))
    bay = step(0.32, 0.17, np.hypot(0.85 * (x - BAY[0]), z - BAY[1]) + 0.25 * wobble)
    hill = np.exp(-(((x - HILL[0]) / 0.25) ** 2) - ((z - HILL[1]) / 0.21) ** 2)
    peak = np.exp(-(((x + 0.24) / 0.10) ** 2) - ((z - 0.27) / 0.10) ** 2)
    cape = np.exp(-(((x - CAPE[0]) / 0.10) ** 2) - ((z - CAPE[1]) / 0.10) ** 2)
    rough = 0.02 * noise(11 * x, 11 * z + 3) + 0.010 * noise(27 * x, 27 * z)
    up = 0.055 + 0.20 * hill + 0.17 * peak + 0.055 * cape + (0.3 + 2.0 * hill) * rough
    return -0.06 + 0.06 * land + up * land * (1 - bay) - 0.08 * bay


def terrain(rng: np.random.Generator) -> Surface:
    x, z = rng.uniform(-SEA, SEA, (2, int(2.5 * DENSITY * 4 * SEA**2)))
    y, normal = height(x, z), slope(x, z)
    kept = (y > -0.004) & (rng.uniform(size=len(x)) < 0.4 / np.maximum(normal[:, 1], 0.4))  # even on slopes
    x, y, z, normal = x[kept], y[kept], z[kept], normal[kept]
    patches = 0.5 + 0.5 * noise(9 * x, 9 * z) + 0.3 * noise(31 * x, 31 * z)
    color = blend(np.array(GRASS), MEADOW, patches)
    color = blend(color, ROCK, step(0.83, 0.70, normal[:, 1] + 0.05 * noise(21 * x, 21 * z)))
    color = blend(color, WHITE, step(0.335, 0.36, y + 0.02 * noise(15 * x, 15 * z)))
    color = blend(color, SAND, step(0.028, 0.014, y + 0.006 * noise(17 * x, 17 * z)))
    quay = np.abs(np.hypot(0.85 * (x - BAY[0]), z - BAY[1]) - 0.285)
    color = blend(color, STONE, 0.9 * step(0.022, 0.015, quay) * step(0.02, 0.03, y))
    return np.stack([x, y, z], 1), normal, color * (0.93 + 0.07 * noise(60 * x, 60 * z))[:, None]


def slope(x: np.ndarray, z: np.ndarray, h: float = 0.004) -> np.ndarray:
    """The terrain's normals."""
    up = np.stack([height(x - h, z) - height(x + h, z), np.full_like(x, 2 * h), height(x, z - h) - height(x, z + h)], 1)
    return up / np.linalg.norm(up, axis=1, keepdims=True)


def water(rng: np.random.Generator) -> Surface:
    n = int(DENSITY * np.pi * SEA**2)
    radius, angle = SEA * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, n)
    x, z = radius * np.cos(angle), radius * np.sin(angle)
    depth = -height(x, z)
    x, z, depth = x[depth > 0], z[depth > 0], depth[depth > 0]
    swell = noise(14 * x + 3 * z, 30 * z) + 0.6 * noise(40 * x, 44 * z + 9)
    color = blend(np.array(SHALLOW), DEEP, np.clip(depth / 0.055, 0, 1) ** 0.7)
    color = color * (1 + 0.10 * swell)[:, None]
    ripple = np.sin(560 * depth + 4 * noise(12 * x, 12 * z))
    color = blend(color, FOAM, 0.75 * step(0.2, 0.9, ripple) * step(0.017, 0.004, depth))
    color = blend(color, FOAM, 0.7 * step(0.93, 1.12, swell))
    tilt = np.stack([0.10 * noise(33 * x, 33 * z), np.ones_like(x), 0.10 * noise(33 * x + 7, 33 * z)], 1)
    return np.stack([x, 0.004 * swell, z], 1), tilt / np.linalg.norm(tilt, axis=1, keepdims=True), color


# --- what stands on it ----------------------------------------------------------------------------------------------


def village(rng: np.random.Generator) -> list[Surface]:
    """Houses in rows around the bay, their fronts to the water, and a church."""
    parts = []
    for row, n in ((0.335, 12), (0.415, 13), (0.495, 13)):
        for angle in np.linspace(0.02, np.pi - 0.02, n) + rng.uniform(-0.04, 0.04, n):
            out = np.array([np.cos(angle) / 0.85, np.sin(angle)])
            spot = BAY + row * out + rng.uniform(-0.008, 0.008, 2)
            if height(*spot) < 0.018 or np.linalg.norm(spot - CAPE) < 0.12 or slope(*spot[:, None])[0, 1] < 0.8:
                continue
            size = rng.uniform([0.050, 0.044, 0.044], [0.066, 0.078, 0.058])
            yaw = np.arctan2(-out[0], -out[1]) + rng.uniform(-0.2, 0.2)
            parts.append(house(rng, spot, yaw, size, WALLS[rng.integers(len(WALLS))], ROOFS[rng.integers(len(ROOFS))]))
    spot = np.array([0.20, 0.06])
    parts.append(house(rng, spot, np.pi, np.array([0.07, 0.085, 0.12]), WHITE, ROOFS[3]))
    tower = spot + np.array([0.0, -0.072])
    parts.append(house(rng, tower, np.pi, np.array([0.04, 0.19, 0.04]), WHITE, ROOFS[3], roof=0.0))
    top = np.array([tower[0], ground(tower, 0.04) + 0.19, tower[1]])
    parts.append(frustum(rng, top, 0.030, 0.0, 0.09, ROOFS[3]))
    return parts


def house(rng, spot, yaw: float, size, wall, roof_color, roof: float = 0.6) -> Surface:
    """A box of ``size`` (x, y, z) with windows, and a gabled roof whose ridge runs along z."""
    w, h, d = size[0] / 2, size[1] + 0.03, size[2] / 2  # 0.03: foundations, for sloping ground
    parts = []
    for normal, u, half in (
        ((0, 0, -1), (1, 0, 0), w),
        ((0, 0, 1), (-1, 0, 0), w),
        ((1, 0, 0), (0, 0, 1), d),
        ((-1, 0, 0), (0, 0, -1), d),
    ):
        n, u = np.array(normal, float), np.array(u, float)
        a, b = rng.uniform(-half, half, count(2 * half * h)), rng.uniform(0, h, count(2 * half * h))
        points = n * (d if normal[2] else w) + a[:, None] * u + b[:, None] * [0, 1, 0]
        columns = max(round(2 * half / 0.024), 1)
        along = np.abs((a / (2 * half) + 0.5) * columns % 1 - 0.5) * 2 * half / columns
        above = np.abs((b - 0.03) % 0.028 - 0.017)
        color = blend(np.array(wall), GLASS, ((along < 0.0042) & (above < 0.0058) & (b > 0.036)).astype(float))
        parts.append((points, np.broadcast_to(n, points.shape), color))
    rise, eaves = roof * size[0], 0.006
    for side in (-1, 1):
        n = count(2 * (d + eaves) * (w + eaves) * np.hypot(1, 2 * roof))
        t, z = rng.uniform(-eaves / w, 1, n), rng.uniform(-d - eaves, d + eaves, n)
        points = np.stack([side * w * (1 - t), h + rise * t, z], 1)
        tiles = 1 - 0.12 * (np.sin(z * 900) > 0.4)
        parts.append(
            (points, np.broadcast_to(unit([side * rise, w, 0]), points.shape), np.array(roof_color) * tiles[:, None])
        )
        n = count(w * rise)  # the gable's wall
        a, b = rng.uniform(-1, 1, n), rng.uniform(0, 1, n)
        a, b = a[np.abs(a) < 1 - b], b[np.abs(a) < 1 - b]
        points = np.stack([w * a, h + rise * b, np.full_like(a, side * d)], 1)
        parts.append((points, np.broadcast_to([0.0, 0.0, side], points.shape), np.broadcast_to(wall, points.shape)))
    chimney = frustum(rng, np.array([0.5 * w, h + 0.4 * rise, 0.4 * d]), 0.005, 0.005, 0.4 * rise + 0.014, STONE)
    return placed(joined([*parts, chimney] if roof else parts), spot, yaw, ground(spot, max(size[0], size[2])) - 0.03)


def woods(rng: np.random.Generator) -> list[Surface]:
    """Pines on the hill, other trees in the meadows, a few between the houses."""
    x, z = spots = rng.uniform(-0.62, 0.62, (2, 5000))
    y, up = height(x, z), slope(x, z)[:, 1]
    to_bay = np.hypot(0.85 * (x - BAY[0]), z - BAY[1])
    in_village = (to_bay < 0.55) & (z < 0.16)
    wild = noise(4 * x + 2, 4 * z) > -0.3
    free = (np.hypot(x - 0.20, z - 0.03) > 0.10) & (np.hypot(x - CAPE[0], z - CAPE[1]) > 0.1)
    fit = free & (y > 0.03) & (y < 0.31) & (up > 0.66) & (to_bay > 0.31)
    fit &= np.where(in_village, rng.uniform(size=len(x)) < 0.03, wild)
    is_pine = ~in_village & (rng.uniform(size=len(x)) > 0.8 * step(0.20, 0.06, y))
    parts: list[Surface] = []
    taken = np.full((1, 2), 9.0)
    for i in np.flatnonzero(fit):
        if np.hypot(*(taken - spots[:, i]).T).min() > 0.026:
            taken = np.concatenate([taken, spots[None, :, i]])
            kind, colors = (pine, PINES) if is_pine[i] else (broadleaf, LEAVES)
            at, size = np.array([x[i], y[i], z[i]]), rng.uniform(0.75, 1.25)
            parts.append(kind(rng, at, size, colors[rng.integers(len(colors))]))
    return parts


def pine(rng, at, size: float, color) -> Surface:
    tiers = [
        frustum(rng, at + [0, size * low, 0], size * radius, 0.0, size * 0.040, color)
        for low, radius in ((0.012, 0.021), (0.032, 0.017), (0.052, 0.012))
    ]
    points, normals, colors = joined(tiers)
    return joined(
        [(points, normals, mottled(rng, colors, 0.2)), frustum(rng, at, 0.004, 0.004, size * 0.014, DARK_WOOD)]
    )


def broadleaf(rng, at, size: float, color) -> Surface:
    crown = ball(rng, at + [0, 0.034 * size, 0], 0.021 * size, color)
    side = ball(rng, at + size * np.array([0.010, 0.024, -0.008]), 0.013 * size, color)
    points, normals, colors = joined([crown, side])
    points = points + normals * rng.normal(0, 0.0014, (len(points), 1))
    return joined(
        [(points, normals, mottled(rng, colors, 0.22)), frustum(rng, at, 0.004, 0.003, 0.02 * size, DARK_WOOD)]
    )


def lighthouse(rng) -> Surface:
    at = np.array([CAPE[0], height(*CAPE) - 0.01, CAPE[1]])
    points, normals, _ = tower = frustum(rng, at, 0.030, 0.019, 0.20, WHITE)
    stripes = ((points[:, 1] - at[1]) / 0.2 * 5 + 0.5).astype(int) % 2
    striped = (points, normals, np.where(stripes[:, None] == 1, RED, tower[2]))
    gallery = frustum(rng, at + [0, 0.20, 0], 0.027, 0.027, 0.008, DARK_WOOD)
    deck = frustum(rng, at + [0, 0.2075, 0], 0.027, 0.012, 0.001, STONE)
    lamp = frustum(rng, at + [0, 0.208, 0], 0.014, 0.014, 0.026, (1.5, 1.3, 0.6))
    cap = frustum(rng, at + [0, 0.234, 0], 0.020, 0.0, 0.022, RED)
    return joined([striped, gallery, deck, lamp, cap])


def pier(rng) -> Surface:
    """Boards from the quay out into the bay, on posts."""
    start, end = BAY + [-0.10, 0.27], BAY + [-0.06, 0.02]
    ahead = unit(end - start)
    across = np.array([-ahead[1], ahead[0]])
    n = count(np.linalg.norm(end - start) * 0.032)
    a, b = rng.uniform(0, np.linalg.norm(end - start), n), rng.uniform(-0.016, 0.016, n)
    flat = start + a[:, None] * ahead + b[:, None] * across
    points = np.stack([flat[:, 0], np.full(n, 0.022), flat[:, 1]], 1)
    boards = np.where(((a * 62).astype(int) % 2)[:, None] == 1, WOOD, 0.86 * np.array(WOOD))
    parts: list[Surface] = [(points, np.broadcast_to([0.0, 1.0, 0.0], points.shape), boards)]
    for along in np.arange(0.02, 0.26, 0.04):
        for side in (-0.015, 0.015):
            x, z = start + along * ahead + side * across
            parts.append(frustum(rng, np.array([x, 0.0, z]), 0.004, 0.004, 0.03, DARK_WOOD))
    return joined(parts)


# --- what floats and flies ------------------------------------------------------------------------------------------


def boats(rng) -> list[Surface]:
    """Sailing boats in the bay and at sea, rowing boats at the pier."""
    sails = [((0.12, -0.33), 0.8, WHITE), ((-0.32, -0.58), 2.2, (0.93, 0.45, 0.25)), ((0.34, -0.57), 0.4, WHITE)]
    sails += [
        ((0.66, 0.12), 1.3, (0.98, 0.80, 0.35)),
        ((-0.66, 0.10), -0.9, WHITE),
        ((0.02, -0.66), 1.2, (0.45, 0.65, 0.85)),
    ]
    parts = [boat(rng, np.array(spot), yaw, 0.062, sail) for spot, yaw, sail in sails]
    for spot, yaw in (((-0.035, -0.30), 0.3), ((-0.115, -0.27), 0.1), ((-0.02, -0.23), -0.5)):
        parts.append(boat(rng, np.array(spot), yaw, 0.034, None))
    return parts


def boat(rng, spot, yaw: float, length: float, sail) -> Surface:
    """A hull along z, pointed at both ends; with a colour for the sail, a mast and a sail."""
    n = count(3.2 * length * 0.3 * length)
    t, side, drop = rng.uniform(-1, 1, n), rng.choice([-1.0, 1.0], n), rng.uniform(0, 1, n)
    beam = 0.30 * length * (1 - t**2) ** 0.7
    points = np.stack(
        [side * beam * (1 - 0.4 * drop), 0.20 * length * (1 - drop) + 0.08 * length * t**2, t * length], 1
    )
    hull = (
        points,
        np.stack([side, np.full(n, 0.2), 0.6 * t], 1) / np.sqrt(1.04 + 0.36 * t**2)[:, None],
        blend(np.array(WHITE), RED, (drop > 0.45).astype(float)),
    )
    deck_y = np.full(n, 0.16 * length)
    deck = (
        np.stack([side * beam * drop, deck_y, t * length], 1),
        np.broadcast_to([0.0, 1.0, 0.0], (n, 3)),
        np.broadcast_to(WOOD, (n, 3)),
    )
    parts: list[Surface] = [hull, deck]
    if sail is not None:
        parts.append(frustum(rng, np.zeros(3), 0.0025, 0.002, 2.1 * length, DARK_WOOD))
        for reach, bottom, color in ((0.95, 0.35, sail), (-0.75, 0.30, tuple(0.92 * np.array(sail)))):
            n = count(1.8 * length**2)
            u, v = rng.uniform(0, 1, (2, n))
            u, v = u[u + v < 1], v[u + v < 1]
            belly = 0.16 * length * np.sin(np.pi * u) * (1 - v)
            points = np.stack([belly, length * (bottom + 1.65 * v), -reach * length * u], 1)
            parts.append((points, np.broadcast_to([0.0, 1.0, 0.0], points.shape), np.broadcast_to(color, points.shape)))
    return placed(joined(parts), spot, yaw, 0.0)


def balloon(rng) -> Surface:
    """A hot-air balloon over the sea."""
    centre, radius = np.array([0.40, 0.44, 0.22]), 0.10
    points, normals, _ = ball(rng, np.zeros(3), radius, WHITE)
    below = points[:, 1] < 0
    taper = np.where(below, 1 - 0.45 * (points[:, 1] / radius) ** 2, 1)[:, None]
    shape = points * [1, 1, 1] * np.where([True, False, True], taper, 1)
    shape[below, 1] *= 1.35
    gore = (np.floor((np.arctan2(points[:, 2], points[:, 0]) / (2 * np.pi) + 0.5) * 12)).astype(int) % 3
    color = np.array([RED, (0.99, 0.80, 0.25), WHITE])[gore]
    basket = frustum(rng, np.array([0, -0.205, 0]), 0.016, 0.018, 0.024, DARK_WOOD)
    ropes = [
        line(rng, np.array([0.016 * x, -0.182, 0.016 * z]), np.array([0.05 * x, -0.118, 0.05 * z]), DARK_WOOD)
        for x, z in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ]
    points, normals, color = joined([(shape, normals, color), basket, *ropes])
    return points + centre, normals, color


# --- shapes ---------------------------------------------------------------------------------------------------------


def count(area: float) -> int:
    return max(int(DENSITY * area), 1)


def frustum(rng, base, r0: float, r1: float, h: float, color) -> Surface:
    """The side of a cone or cylinder that stands at ``base``."""
    n = count(np.pi * (r0 + r1) * np.hypot(h, r0 - r1))
    t = rng.uniform(size=n)
    t = 1 - np.sqrt(t) if r1 == 0 else t  # even on a cone; nearly so on a stump
    angle, radius = rng.uniform(0, 2 * np.pi, n), r0 + (r1 - r0) * t
    c, s = np.cos(angle), np.sin(angle)
    normals = np.stack([h * c, np.full(n, r0 - r1), h * s], 1) / np.hypot(h, r0 - r1)
    return base + np.stack([radius * c, h * t, radius * s], 1), normals, np.broadcast_to(color, (n, 3))


def ball(rng, centre, radius: float, color) -> Surface:
    normals = rng.normal(size=(count(4 * np.pi * radius**2), 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return centre + radius * normals, normals, np.broadcast_to(color, normals.shape)


def line(rng, start, end, color) -> Surface:
    t = np.linspace(0, 1, 24)[:, None]
    points = start + t * (end - start)
    return points, np.broadcast_to([0.0, 1.0, 0.0], points.shape), np.broadcast_to(color, points.shape)


def placed(surface: Surface, spot, yaw: float, y: float) -> Surface:
    """Turned about +Y, so that -Z becomes the direction ``yaw``, and moved to a spot (x, z)."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[-c, 0, s], [0, 1, 0], [-s, 0, -c]])
    points, normals, colors = surface
    return points @ turn + [spot[0], y, spot[1]], normals @ turn, colors


def joined(surfaces) -> Surface:
    points, normals, colors = (np.concatenate(parts) for parts in zip(*surfaces))
    return points, normals, colors


def ground(spot, size: float) -> float:
    """The lowest land under a square."""
    a, b = np.meshgrid(*[np.linspace(-size / 2, size / 2, 5)] * 2)
    return float(height(spot[0] + a, spot[1] + b).min())


# --- light and points -----------------------------------------------------------------------------------------------


def lighting(points: np.ndarray, normals: np.ndarray, surfaces: np.ndarray, cell: float = 0.005) -> np.ndarray:
    """How much light (P, 3) falls on points: the sun, where nothing is in the way, and what is seen of the sky."""
    n = int(2 / cell)
    top = np.full((n, n), -1.0)  # the height of the scene, column by column

    def column(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        i = np.clip((p[:, [0, 2]] + 1) / cell, 0, n - 1).astype(int)
        return i[:, 0], i[:, 1]

    np.maximum.at(top, column(surfaces), surfaces[:, 1])
    start = points + 1.6 * cell * normals
    sun = np.clip(normals @ SUN, 0, 1)
    for t in np.arange(1, 130) * 0.7 * cell:
        on_the_way = start + t * SUN
        sun = sun * (1 - np.clip((top[column(on_the_way)] - on_the_way[:, 1]) / (0.5 * cell + 0.06 * t), 0, 1))
    sky = np.zeros(len(points))
    for angle in np.arange(12) * 2 * np.pi / 12:
        ahead = np.array([np.cos(angle), 0, np.sin(angle)])
        horizon = np.zeros(len(points))
        for t in cell * 1.5 ** np.arange(9):
            rise = top[column(start + t * ahead)] - start[:, 1]
            horizon = np.maximum(horizon, rise / np.hypot(rise, t))
        sky += (1 - horizon) / 12
    sky *= 0.6 + 0.4 * normals[:, 1]
    return sun[:, None] * SUNLIGHT + (0.25 + 0.75 * sky)[:, None] * SKYLIGHT


def thinned(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of about N_POINTS points, in no cell of a grid more than one, ordered along a space-filling curve."""
    order = rng.permutation(len(points))
    low, high = 0.001, 0.05
    for _ in range(14):
        cell = (low + high) / 2
        cells = np.floor((points[order] + 1) / cell).astype(np.int64)
        first = np.unique(morton(cells), return_index=True)[1]
        low, high = (cell, high) if len(first) > N_POINTS else (low, cell)
    return order[first]


def morton(cells: np.ndarray) -> np.ndarray:
    """The bits of three coordinates, interleaved."""
    code = np.zeros(len(cells), np.int64)
    for bit in range(12):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code


TABLE = np.random.default_rng(3).uniform(-1, 1, (64, 64))


def noise(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Value noise in [-1, 1], smooth, with features of size 1."""
    i, j = np.floor(x).astype(int), np.floor(z).astype(int)
    u, v = x - i, z - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    a, b, c, d = (TABLE[(i + di) % 64, (j + dj) % 64] for di, dj in ((0, 0), (1, 0), (0, 1), (1, 1)))
    return (a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + d * u) * v


def mottled(rng, colors: np.ndarray, amount: float) -> np.ndarray:
    return colors * rng.uniform(1 - amount, 1 + amount, (len(colors), 1))


def step(a: float, b: float, x):
    """0 up to a, 1 from b on (or the other way round), smooth between."""
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def blend(a: np.ndarray, b, t: np.ndarray) -> np.ndarray:
    """From colour a to b, as t (P,) goes from 0 to 1."""
    t = np.clip(t, 0, 1)[..., None]
    return a * (1 - t) + np.array(b) * t


def unit(v) -> np.ndarray:
    return np.asarray(v, float) / np.linalg.norm(v)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "harbour")
