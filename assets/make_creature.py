"""Model, mesh, unwrap and paint the fox cub in ``creature/``: a closed, textured mesh that tirender may ship.

    pip install numpy pillow xatlas
    python assets/make_creature.py [FOLDER]

The body is a smooth union of a few dozen rounded primitives (a signed distance function). Surface nets turn its zero
set into quads, which are relaxed along the surface, split into triangles and unwrapped by xatlas; the texture is a
function of the position on the surface. Nothing is random: the same libraries give the same files.

The fox looks along -Z with +Y up, as PyTorch3D's cow does: ``look_at_view_transform(2.7, 0, 180)`` sees its face.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

CELL = 0.0635  # grid spacing of the mesher, before the head is shrunk back: gives about 6 k triangles
TEXTURE_SIZE = 1024
GUTTER = 6  # texels of colour painted around each chart, so that bilinear lookups never see the background


def main(folder: Path) -> None:
    """Write creature.obj, creature.mtl and creature_texture.png into ``folder``."""
    enlarged, faces = meshed()
    vmap, uv_faces, uvs = unwrapped(enlarged, faces)
    modelled = shrink_head(enlarged)
    texture = painted(modelled[vmap], uv_faces, uvs)

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(texture).save(folder / "creature_texture.png", optimize=True)
    (folder / "creature.mtl").write_text(
        "newmtl fur\nKa 1.0 1.0 1.0\nKd 1.0 1.0 1.0\nKs 0.0 0.0 0.0\nNs 10.0\nmap_Kd creature_texture.png\n"
    )
    lines = ["# tirender's creature, made by make_creature.py", "mtllib creature.mtl", "usemtl fur"]
    lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in centred(modelled)]
    lines += [f"vt {u:.5f} {v:.5f}" for u, v in uvs]
    lines += [
        "f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(corners, uv_corners))
        for corners, uv_corners in zip(vmap[uv_faces], uv_faces)
    ]
    (folder / "creature.obj").write_text("\n".join(lines) + "\n")


def meshed() -> tuple[np.ndarray, np.ndarray]:
    """The fox's vertices (V, 3), with its head enlarged, and faces (F, 3)."""
    return relaxed(*surface_nets(field, half_size=(1.1, 1.6, 1.9), cell=CELL), field)


def centred(modelled: np.ndarray) -> np.ndarray:
    """The fox moved and scaled to fit into [-1, 1]."""
    low, high = modelled.min(0), modelled.max(0)
    return (modelled - (low + high) / 2) * (1.999 / (high - low).max())


# --- the shape ------------------------------------------------------------------------------------------------------

HEAD = np.array([0.0, 0.46, -0.40])
EYE = np.array([0.158, 0.505, -0.69])
NOSE = np.array([0.0, 0.39, -0.925])
TAIL = np.array([[0.0, 0.02, 0.36], [0.0, -0.22, 0.95], [0.62, 0.20, 1.05], [0.50, 0.80, 0.62]])  # a cubic Bezier
BELLY = (0, -0.26, 0.05), (0.135, 0.14, 0.36)
CHEST = (0, 0.02, -0.44), (0.165, 0.30, 0.24)
CHEEK = (0.275, 0.275, -0.60), (0.26, 0.14, 0.32)
MUZZLE = (0, 0.31, -0.86), (0.17, 0.085, 0.20)
CHIN = (0, 0.20, -0.66), (0.24, 0.10, 0.24)
BROW = (0.15, 0.652, -0.66), (0.040, 0.024, 0.10)
BLUSH = (0.285, 0.365, -0.66), (0.075, 0.048, 0.12)


def distance(p: np.ndarray) -> np.ndarray:
    """Signed distance (approximate away from the surface) of points (..., 3) to the fox; negative inside."""
    side = mirrored(p)
    trunk = round_cone(side, (0, 0.00, 0.26), (0, 0.03, -0.18), 0.235, 0.225)
    trunk = smooth_union(trunk, ellipsoid(side, (0, 0.05, -0.30), (0.19, 0.25, 0.17)), 0.12)

    head = ellipsoid(side, HEAD, (0.385, 0.335, 0.34))
    tuft = round_cone(side, (0.20, 0.36, -0.45), (0.455, 0.285, -0.43), 0.17, 0.035)
    snout = round_cone(side, (0, 0.345, -0.62), (0, 0.33, -0.855), 0.165, 0.09)
    ear = round_cone(side, (0.205, 0.69, -0.38), (0.36, 1.04, -0.37), 0.155, 0.055, flatten_z=0.7)
    head = smooth_union(smooth_union(head, tuft, 0.10), snout, 0.12)
    head = smooth_union(head, smooth_subtraction(ear, ear_hollow(side), 0.05), 0.06)

    fore = round_cone(side, (0.135, -0.05, -0.24), (0.15, -0.54, -0.25), 0.12, 0.08)
    fore = smooth_union(fore, ellipsoid(side, (0.15, -0.56, -0.285), (0.10, 0.075, 0.13)), 0.06)
    hind = ellipsoid(side, (0.145, -0.10, 0.27), (0.145, 0.23, 0.19))  # thigh
    hind = smooth_union(hind, round_cone(side, (0.15, -0.22, 0.31), (0.16, -0.54, 0.29), 0.11, 0.08), 0.08)
    hind = smooth_union(hind, ellipsoid(side, (0.16, -0.56, 0.255), (0.10, 0.075, 0.13)), 0.06)

    fox = smooth_union(trunk, head, 0.12)
    fox = smooth_union(fox, smooth_union(fore, hind, 0.02), 0.09)
    fox = smooth_union(fox, tail(p), 0.07)
    fox = smooth_union(fox, ellipsoid(side, NOSE, (0.06, 0.045, 0.045)), 0.03)
    return smooth_union(fox, ellipsoid(side, EYE, (0.07, 0.09, 0.03)), 0.05)


def mirrored(p: np.ndarray) -> np.ndarray:
    """The fox is symmetric but for its tail."""
    return np.concatenate([np.abs(p[..., :1]), p[..., 1:]], -1)


def ear_hollow(side: np.ndarray) -> np.ndarray:
    return round_cone(side, (0.22, 0.75, -0.53), (0.33, 0.96, -0.50), 0.10, 0.035)


def tail_ring(t) -> np.ndarray:
    """Point of the tail's axis at ``t``, from 0 at the root to 1 at the tip."""
    t = np.asarray(t)
    return np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], -1) @ TAIL


def tail(p: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, 17)
    ring = tail_ring(t)
    radius = 0.065 + 0.14 * np.sin(np.pi * t**1.1) ** 1.2
    return np.min([round_cone(p, ring[i], ring[i + 1], radius[i], radius[i + 1]) for i in range(len(t) - 1)], axis=0)


def round_cone(p, a, b, radius_a: float, radius_b: float, flatten_z: float = 1.0) -> np.ndarray:
    """A capsule whose radius changes from a to b, squeezed along z by ``flatten_z``."""
    squeeze = np.array([1.0, 1.0, 1.0 / flatten_z])
    a, b = np.asarray(a), np.asarray(b)
    axis = b - a
    along = np.clip(((p - a) @ axis) / (axis @ axis), 0, 1)[..., None]
    away = np.linalg.norm((p - a - along * axis) * squeeze, axis=-1)
    return (away - (radius_a + along[..., 0] * (radius_b - radius_a))) * min(1.0, flatten_z)


def ellipsoid(p, centre, radii) -> np.ndarray:
    q = (p - np.asarray(centre)) / np.asarray(radii)
    length = np.linalg.norm(q, axis=-1)
    return length * (length - 1) / (np.linalg.norm(q / np.asarray(radii), axis=-1) + 1e-9)


def smooth_union(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Quadratic smooth minimum (Inigo Quilez): parts closer than ``blend`` grow together."""
    h = np.maximum(blend - np.abs(a - b), 0) / blend
    return np.minimum(a, b) - h * h * blend / 4


def smooth_subtraction(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    return -smooth_union(-a, b, blend)


def shrink_head(q: np.ndarray) -> np.ndarray:
    """Map the space of the mesher, whose head is enlarged, to the fox's: its face gets more triangles and texels."""
    offset = q - HEAD
    r2 = (offset * offset).sum(-1, keepdims=True)
    return HEAD + offset * (1 - 0.42 / (1 + (r2 / 0.6) ** 2))


def field(q: np.ndarray) -> np.ndarray:
    return distance(shrink_head(q))


# --- the mesh -------------------------------------------------------------------------------------------------------

Field = Callable[[np.ndarray], np.ndarray]


def surface_nets(f: Field, half_size, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """Zero set of ``f`` as vertices (V, 3) and outward quads (Q, 4): one vertex in each grid cell that it crosses."""
    axes = [np.arange(-round(s / cell), round(s / cell) + 1) * cell for s in half_size]  # symmetric, as the fox is
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    value = f(grid)
    inside = value < 0

    n_cells = tuple(s - 1 for s in value.shape)
    crossing_sum = np.zeros((*n_cells, 3))
    crossing_count = np.zeros(n_cells)
    for axis in range(3):  # every grid edge along this axis adds its crossing to the four cells around it
        first = [slice(None)] * 3
        second = [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        va, vb = value[tuple(first)], value[tuple(second)]
        crossed = (va < 0) != (vb < 0)
        t = np.where(crossed, va / np.where(crossed, va - vb, 1), 0)[..., None]
        point = grid[tuple(first)] * (1 - t) + grid[tuple(second)] * t
        others = [o for o in range(3) if o != axis]
        for shift in np.ndindex(2, 2):
            window = [slice(None)] * 3
            for o, s in zip(others, shift):
                window[o] = slice(s, s + n_cells[o])
            crossing_sum += (point * crossed[..., None])[tuple(window)]
            crossing_count += crossed[tuple(window)]
    active = crossing_count > 0
    index = np.cumsum(active).reshape(n_cells) - 1
    verts = crossing_sum[active] / crossing_count[active][:, None]

    quads = []
    for axis in range(3):  # every crossed edge joins the vertices of its four cells
        u, w = (axis + 1) % 3, (axis + 2) % 3
        first, second = [slice(None)] * 3, [slice(None)] * 3
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        a, b = inside[tuple(first)], inside[tuple(second)]
        where = np.argwhere(a != b)
        leaving = a[tuple(where.T)]
        corners = []
        for du, dw in ((-1, -1), (0, -1), (0, 0), (-1, 0)):  # counter-clockwise seen from +axis
            cell_of = where.copy()
            cell_of[:, u] += du
            cell_of[:, w] += dw
            corners.append(index[tuple(cell_of.T)])
        quad = np.stack(corners, -1)
        quads.append(np.where(leaving[:, None], quad, quad[:, ::-1]))
    return verts, np.concatenate(quads)


def relaxed(verts: np.ndarray, quads: np.ndarray, f: Field) -> tuple[np.ndarray, np.ndarray]:
    """Even the quads out along the surface, then split each along its shorter diagonal: (V, 3), (F, 3)."""
    ends = np.concatenate([quads, np.roll(quads, -1, 1)], 1).reshape(-1, 2, 4).transpose(0, 2, 1).reshape(-1, 2)
    degree = np.bincount(ends.ravel(), minlength=len(verts))[:, None]
    for _ in range(10):
        mean = np.zeros_like(verts)
        np.add.at(mean, ends[:, 0], verts[ends[:, 1]])
        np.add.at(mean, ends[:, 1], verts[ends[:, 0]])
        normal = gradient(f, verts)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        step = mean / degree - verts
        verts = verts + 0.5 * (step - (step * normal).sum(-1, keepdims=True) * normal)
        for _ in range(2):  # Newton steps back onto the surface
            slope = gradient(f, verts)
            verts = verts - slope * (f(verts) / (slope * slope).sum(-1))[:, None]
    a, b, c, d = (verts[quads[:, i]] for i in range(4))
    tie = 1e-6  # quads across the plane of symmetry: rounding must not decide
    along_ac = (np.linalg.norm(a - c, axis=-1) <= (1 + tie) * np.linalg.norm(b - d, axis=-1))[:, None]
    one = np.where(along_ac, quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    two = np.where(along_ac, quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])
    return verts, np.stack([one, two], 1).reshape(-1, 3)


def gradient(f: Field, p: np.ndarray, h: float = 1e-4) -> np.ndarray:
    return np.stack([(f(p + h * e) - f(p - h * e)) / (2 * h) for e in np.eye(3)], -1)


def unwrapped(verts: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Charts: vertex of each texture vertex (T,), faces over texture vertices (F, 3), uvs (T, 2) with v up."""
    import xatlas  # here, so that the shape and the paint can be used without it

    atlas = xatlas.Atlas()
    atlas.add_mesh(verts.astype(np.float32), faces.astype(np.uint32))
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_cost, charts.max_iterations = 6.0, 4
    packing.resolution, packing.padding, packing.bilinear = TEXTURE_SIZE, GUTTER, True
    packing.create_image = False
    atlas.generate(charts, packing)
    vmap, uv_faces, uvs = atlas[0]
    return vmap.astype(np.int64), uv_faces.astype(np.int64), uvs.astype(np.float64)


# --- the paint ------------------------------------------------------------------------------------------------------

ORANGE = (250, 134, 44)
RUST = (214, 92, 24)
CREAM = (255, 246, 230)
DARK = (74, 44, 38)
BLACK = (26, 20, 20)
PINK = (250, 170, 156)
WHITE = (255, 255, 255)


def colour(p: np.ndarray) -> np.ndarray:
    """Colour (..., 3) in 0..255 of points on the fox."""
    side = mirrored(p)
    x, y, z = side[..., 0], p[..., 1], p[..., 2]
    wobble = 0.5 * waves(p * 11.0) + 0.5 * waves(p * 29.0)  # in -1..1: makes the borders of the markings furry
    c = blend(
        np.array(ORANGE, float), RUST, step(0.02, 0.30, y + 0.05 * wobble) * step(0.16, 0.04, x) * step(-0.2, 0.0, z)
    )
    c = blend(c, RUST, step(0.66, 0.80, y + 0.02 * wobble) * step(0.14, 0.04, x))

    for centre, radii in (BELLY, CHEST, CHEEK, MUZZLE, CHIN):
        c = blend(c, CREAM, step(0.015, -0.015, ellipsoid(side, centre, radii) + 0.012 * wobble))
    c = blend(c, DARK, step(-0.33, -0.38, y + 0.02 * wobble))  # socks
    c = blend(c, DARK, step(0.955, 1.0, y + 0.012 * wobble) * step(0.3, 0.2, z))  # tips of the ears
    c = blend(c, PINK, step(0.030, 0.012, ear_hollow(side)) * step(0.68, 0.74, y))
    cut, beyond = tail_ring(0.62), tail_ring(0.64)
    past_cut = (p - cut) @ ((beyond - cut) / np.linalg.norm(beyond - cut))
    c = blend(c, CREAM, step(-0.012, 0.012, past_cut + 0.018 * wobble) * step(0.3, 0.4, z))

    c = blend(c, CREAM, step(0.008, -0.004, ellipsoid(side, *BROW)))
    c = blend(c, PINK, 0.6 * step(0.02, -0.03, ellipsoid(side, *BLUSH)))
    eye = step(1.02, 0.98, np.hypot((x - EYE[0]) / 0.068, (y - EYE[1]) / 0.092)) * step(-0.5, -0.55, z)
    c = blend(c, BLACK, eye)
    for dx, dy, radius in ((0.014, 0.036, 0.027), (-0.022, -0.040, 0.013)):  # glints: both eyes see one light
        glint = np.hypot(np.abs(p[..., 0] - dx) - EYE[0], y - EYE[1] - dy)
        c = blend(c, WHITE, step(radius + 0.0025, radius - 0.0025, glint) * eye)
    c = blend(c, BLACK, step(0.003, -0.001, ellipsoid(side, NOSE + (0, 0.004, 0), (0.066, 0.047, 0.09))))
    lips = np.where(y < 0.318, np.abs(np.hypot(x - 0.036, y - 0.318) - 0.036), 1.0)
    lips = np.minimum(lips, np.where((y > 0.315) & (y < 0.36), x, 1.0))
    return blend(c, BLACK, step(0.009, 0.005, lips) * step(-0.86, -0.88, z))


def waves(p: np.ndarray) -> np.ndarray:
    """A smooth, aperiodic-looking function in [-1, 1]: a few sines in fixed oblique directions."""
    directions = np.array([[1.0, 0.3, -0.5], [-0.4, 1.1, 0.7], [0.6, -0.8, 1.0], [1.3, 0.9, 0.4]])
    return np.sin(p @ directions.T + np.array([0.0, 1.3, 2.1, 4.2])).mean(-1)


def step(a: float, b: float, value: np.ndarray) -> np.ndarray:
    """0 at ``a``, 1 at ``b`` (either order), a smooth cubic between."""
    t = np.clip((value - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def blend(below: np.ndarray, above, weight: np.ndarray) -> np.ndarray:
    return below + (np.asarray(above, float) - below) * weight[..., None]


def painted(corners: np.ndarray, faces: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """Bake ``colour`` into a texture (S, S, 3) of uint8, whose first row is v = 1.

    Every texel of a chart, and of the gutter around it, is coloured by the surface point that its triangle's own
    affine map gives it: the two sides of a seam agree.
    """
    size = TEXTURE_SIZE
    texel = uvs * (size - 1)  # PyTorch3D's convention (align_corners=True); rows count up with v until the final flip
    owner = np.full((size, size), -1)
    maps = np.empty((len(faces), 3, 3))  # texel (x, y, 1) -> point
    for i, face in enumerate(faces):
        t = np.column_stack([texel[face], np.ones(3)])
        inverse = np.linalg.pinv(t)
        maps[i] = inverse @ corners[face]
        lo = np.maximum(np.floor(t[:, :2].min(0)).astype(int), 0)
        hi = np.minimum(np.ceil(t[:, :2].max(0)).astype(int) + 1, size)
        xs, ys = np.meshgrid(np.arange(lo[0], hi[0]), np.arange(lo[1], hi[1]))
        bary = np.stack([xs, ys, np.ones_like(xs)], -1) @ inverse
        hit = (bary > -1e-6).all(-1)
        owner[ys[hit], xs[hit]] = i
    for _ in range(GUTTER):
        padded = np.pad(owner, 1, constant_values=-1)
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2), (0, 0), (0, 2), (2, 0), (2, 2)):
            neighbour = padded[dy : dy + size, dx : dx + size]
            owner = np.where(owner < 0, neighbour, owner)
    image = np.full((size, size, 3), ORANGE, float)
    ys, xs = np.nonzero(owner >= 0)
    total = np.zeros((len(ys), 3))
    for dy, dx in ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25)):  # 2x2 samples a texel
        place = np.stack([xs + dx, ys + dy, np.ones(len(xs))], -1)
        total += colour(np.einsum("nk,nkc->nc", place, maps[owner[ys, xs]]))
    image[ys, xs] = total / 4
    return np.round(np.clip(image, 0, 255)).astype(np.uint8)[::-1]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "creature")
