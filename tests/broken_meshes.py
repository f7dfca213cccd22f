"""Random batches of small meshes, most of them with something wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from tirender.engine import runtime
from tirender.structures import Meshes, Pointclouds

TETRAHEDRON = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
SHAPES = ("any", "any", "repeated", "line", "plane", "point", "grid", "sliver", "far away", "one apart")
FACES = ("any", "any", "any", "none", "one", "closed", "doubled", "collapsed", "fan")


@dataclass
class Batch:
    """Meshes and clouds of one dtype, with the tensors that want gradients.

    Args:
        meshes: one to four.
        clouds: as many, of which some hold vertices of the meshes and some nothing.
        scale: about how far vertices lie from the origin.
        leaves: the vertices, points and whatever :meth:`leaf` made.
        rng, g: whence all that is random.
    """

    meshes: Meshes
    clouds: Pointclouds
    scale: float
    rng: random.Random
    g: torch.Generator
    leaves: list[torch.Tensor] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        return self.meshes.verts_packed().dtype

    def leaf(self, *shape: int) -> torch.Tensor:
        """Random numbers in [0, 1) that want gradients."""
        self.leaves.append(torch.rand(shape, generator=self.g, dtype=self.dtype).requires_grad_())
        return self.leaves[-1]

    def randn(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self.g, dtype=self.dtype)


def random_batch(seed: int, beyond: bool = False) -> Batch:
    """One to four meshes and as many clouds, of coordinates up to 1e10; with ``beyond``, from there up to 1e22."""
    rng, g = random.Random(seed), torch.Generator().manual_seed(seed)
    double = rng.random() < 0.25 and runtime.arch() != "vulkan"
    dtype = torch.float64 if double else torch.float32
    size = rng.choice((1, 2, 3, 4))
    scale = rng.choice((1.0, 1.0, 10.0 ** rng.uniform(-30, -3), 10.0 ** rng.uniform(2, 5)))
    scale = 10.0 ** rng.uniform(10, 18) if beyond else scale
    verts, faces, points = [], [], []
    for _ in range(size):
        v = scale * random_verts(rng, g).to(dtype)
        verts.append(v.requires_grad_())
        faces.append(random_faces(len(v), rng, g))
        points.append(random_points(v.detach(), scale, rng, g).requires_grad_())
    return Batch(Meshes(verts, faces), Pointclouds(points), scale, rng, g, [*verts, *points])


def random_verts(rng: random.Random, g: torch.Generator) -> torch.Tensor:
    """(V, 3) about the origin; some equal, in a line, in a plane, far from it all or nearly so."""
    n = rng.choice((0, 1, 2, 3, 4, rng.randrange(4, 12), rng.randrange(12, 40)))
    verts, shape = torch.randn(n, 3, generator=g), rng.choice(SHAPES)
    if shape == "line":
        return verts[:1] + verts[:, :1] * torch.tensor([1.0, 1.0, rng.choice((0.0, 0.3))])
    if n and shape == "repeated":
        return verts[torch.randint(0, n, (n,), generator=g)]
    if n and shape == "one apart":
        verts[0] *= 1e4
    factors = {"plane": torch.tensor([1.0, 0, 1]), "point": torch.zeros(3), "sliver": torch.tensor([1.0, 1e-7, 1e-7])}
    verts = verts * factors.get(shape, torch.ones(3))
    if shape == "grid":
        verts = verts.round()
    return verts + 1e4 if shape == "far away" else verts


def random_faces(n_verts: int, rng: random.Random, g: torch.Generator) -> torch.Tensor:
    """(F, 3) faces; some with a vertex twice, some twice, some with an edge that all share."""
    kind = rng.choice(FACES)
    if n_verts == 0 or kind == "none":
        return torch.zeros(0, 3, dtype=torch.int64)
    if kind == "closed" and n_verts >= 4:
        return torch.tensor(TETRAHEDRON)
    n_faces = 1 if kind == "one" else rng.randrange(1, 30)
    faces = torch.randint(0, n_verts, (n_faces, 3), generator=g)
    if kind == "doubled":
        return torch.cat([faces, faces[:3], faces[:3].flip(1)])
    if kind == "collapsed":
        faces[:, rng.randrange(3)] = faces[:, 0]
    if kind == "fan":
        faces[:, :2] = faces[0, :2].clone()
    return faces


def random_points(verts: torch.Tensor, scale: float, rng: random.Random, g: torch.Generator) -> torch.Tensor:
    """(P, 3): none, some, vertices, points between them, or all the same one."""
    n, kind = rng.choice((1, 5, 40)), rng.choice(("none", "any", "verts", "middles", "same"))
    if kind == "none" or (kind in ("verts", "middles") and not len(verts)):
        return verts.new_zeros(0, 3)
    if kind in ("verts", "middles"):
        return (verts + (verts.roll(1, 0) if kind == "middles" else verts)) / 2
    points = scale * torch.randn(n, 3, generator=g).to(verts.dtype)
    return points[:1].repeat(n, 1) if kind == "same" else points


def indices(g: torch.Generator, shape: Sequence[int], n: int) -> torch.Tensor:
    """Random int64 below n; -1 if n is 0."""
    return torch.randint(0, n, tuple(shape), generator=g) if n else torch.full(tuple(shape), -1)
