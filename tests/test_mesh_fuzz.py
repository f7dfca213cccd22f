"""Random meshes, most of them broken, through every loss and every operator on meshes and points.

Values and gradients are finite, or there is a ``ValueError`` in the library's wording; but no operator refuses
most. Coordinates reach from 1e-30 to 1e10, where squared areas leave float32.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from broken_meshes import Batch, indices, random_batch

import tirender.loss as losses
import tirender.ops as ops
import tirender.renderer as r
from tirender.ops.marching_cubes import marching_cubes
from tirender.ops.utils import masked_gather
from tirender.structures import Meshes, join_meshes_as_scene
from tirender.structures.fragments import Fragments

Outputs = Iterator[torch.Tensor]
WORDING = re.compile(r"[\w\[\].]+: expected .+, got .+", re.DOTALL)
REDUCTIONS = [("mean", "mean"), ("mean", "sum"), ("mean", "max"), ("sum", "mean"), (None, "mean"), (None, None)]
CHAMFERS = list(itertools.product(REDUCTIONS, (1, 2), (False, True), (False, True), (False, True), (False, True)))


# --- losses ---


def chamfer(b: Batch) -> Outputs:
    for options in b.rng.sample(CHAMFERS, 4):
        (batch_reduction, point_reduction), norm, one_way, abs_cosine, with_normals, with_weights = options
        x, y = b.meshes.verts_padded(), b.clouds.points_padded()
        found = losses.chamfer_distance(
            x,
            b.clouds if b.rng.random() < 0.2 and not with_normals else y,
            b.meshes.num_verts_per_mesh(),
            y_lengths=b.clouds.num_points_per_cloud(),
            x_normals=normals_like(x, b) if with_normals and point_reduction != "max" else None,
            y_normals=normals_like(y, b) if with_normals and point_reduction != "max" else None,
            weights=b.leaf(len(x)) if with_weights else None,
            batch_reduction=batch_reduction,
            point_reduction=point_reduction,
            norm=norm,
            single_directional=one_way,
            abs_cosine=abs_cosine,
        )
        for part in found:
            yield from part if isinstance(part, tuple) else [] if part is None else [part]


def normals_like(points: torch.Tensor, b: Batch) -> torch.Tensor:
    """Vectors of any length, some of them 0."""
    return b.leaf(*points.shape) * (b.randn(*points.shape[:2], 1) > -1)


def edge_loss(b: Batch) -> Outputs:
    yield losses.mesh_edge_loss(b.meshes)
    yield losses.mesh_edge_loss(b.meshes, 0.1 * b.scale)


def normal_consistency(b: Batch) -> Outputs:
    yield losses.mesh_normal_consistency(b.meshes)


def laplacian_smoothing(b: Batch) -> Outputs:
    for method in ("uniform", "cot", "cotcurv"):
        yield losses.mesh_laplacian_smoothing(b.meshes, method)


def point_mesh(b: Batch) -> Outputs:
    yield losses.point_mesh_face_distance(b.meshes, b.clouds)
    yield losses.point_mesh_face_distance(b.meshes, b.clouds, min_triangle_area=0.0)
    yield losses.point_mesh_edge_distance(b.meshes, b.clouds)


# --- operators on meshes ---


def normals_and_areas(b: Batch) -> Outputs:
    yield b.meshes.verts_normals_packed()
    yield b.meshes.verts_normals_padded()
    yield b.meshes.faces_normals_packed()
    yield b.meshes.faces_areas_packed()
    yield from ops.mesh_face_areas_normals(b.meshes.verts_packed(), b.meshes.faces_packed())


def laplacians(b: Batch) -> Outputs:
    verts, edges = b.meshes.verts_packed(), b.meshes.edges_packed()
    yield ops.laplacian(verts, edges).coalesce().values()
    yield ops.norm_laplacian(verts, edges).coalesce().values()
    matrix, inverse_areas = ops.cot_laplacian(verts, b.meshes.faces_packed())
    yield from (matrix.coalesce().values(), inverse_areas)


def subdivision(b: Batch) -> Outputs:
    meshes, feats = ops.SubdivideMeshes()(b.meshes, b.leaf(len(b.meshes.verts_packed()), 2))
    yield from (meshes.verts_packed(), feats, meshes.verts_normals_packed())


def taubin(b: Batch) -> Outputs:
    yield ops.taubin_smoothing(b.meshes, num_iter=3).verts_packed()


def samples(b: Batch) -> Outputs:
    textured = with_textures(b)
    yield from ops.sample_points_from_meshes(textured, 7, return_normals=True, return_textures=True)
    yield ops.sample_points_from_meshes(textured, 0)


def conversions(b: Batch) -> Outputs:
    packed, first = b.meshes.verts_packed(), b.meshes.mesh_to_verts_packed_first_idx()
    longest = int(b.meshes.num_verts_per_mesh().max())
    padded = ops.packed_to_padded(packed, first, longest + 1)
    back = ops.padded_to_packed(padded, first, len(packed))
    assert torch.equal(back, packed)
    yield from (padded, back)


def graph_conv(b: Batch) -> Outputs:
    for directed in (False, True):
        layer = ops.GraphConv(3, 2, directed=directed).to(b.dtype)
        yield layer(b.meshes.verts_packed(), b.meshes.edges_packed())


def vert_align(b: Batch) -> Outputs:
    maps = [b.leaf(len(b.meshes), 2, 3, 4), b.leaf(len(b.meshes), 1, 1, 1)]
    modes = (("bilinear", "nearest"), ("zeros", "border", "reflection"), (False, True))
    for interpolation, padding, align_corners in itertools.product(*modes):
        yield ops.vert_align(maps, b.meshes, align_corners, interpolation, padding, align_corners)


def attributes(b: Batch) -> Outputs:
    faces = b.meshes.faces_packed()
    corners = b.meshes.verts_packed().index_select(0, faces.reshape(-1)).view(-1, 3, 3)
    slots = indices(b.g, (2, 3, 2), len(faces)).masked_fill(torch.rand(2, 3, 2, generator=b.g) < 0.3, -1)
    yield ops.interpolate_face_attributes(slots, b.leaf(2, 3, 2, 3), corners)


def scenes(b: Batch) -> Outputs:
    yield join_meshes_as_scene(with_textures(b).extend(2)).verts_normals_packed()
    parts = [[indices(b.g, (n,), n)] if n else [] for n in b.meshes.num_faces_per_mesh().tolist()]
    yield b.meshes.submeshes(parts).scale_verts(0.5).verts_normals_packed()


# --- operators on points ---


def neighbours(b: Batch) -> Outputs:
    clouds = (b.meshes.verts_padded(), b.clouds.points_padded())
    lengths = (b.meshes.num_verts_per_mesh(), b.clouds.num_points_per_cloud())
    for k, norm in ((1, 2), (3, 1), (9, 2)):
        found = ops.knn_points(*clouds, *lengths, norm=norm, K=k, return_nn=True)
        yield from (found.dists, found.knn, ops.knn_gather(clouds[1], found.idx, lengths[1]))


def balls(b: Batch) -> Outputs:
    clouds = (b.meshes.verts_padded(), b.clouds.points_padded())
    lengths = (b.meshes.num_verts_per_mesh(), b.clouds.num_points_per_cloud())
    found = ops.ball_query(*clouds, *lengths, K=4, radius=b.scale * b.rng.choice((1e-3, 1.0, 100.0)))
    yield from (found.dists, found.knn, masked_gather(clouds[1], found.idx))


def farthest_points(b: Batch) -> Outputs:
    k = [b.rng.randrange(6) for _ in range(len(b.meshes))]
    points, lengths = b.meshes.verts_padded(), b.meshes.num_verts_per_mesh()
    yield ops.sample_farthest_points(points, lengths, k, random_start_point=b.rng.random() < 0.5)[0]


def alignment(b: Batch) -> Outputs:
    x = b.meshes.verts_padded()
    y = x @ b.randn(3, 3) + b.randn(3) if b.rng.random() < 0.5 else b.scale * b.randn(*x.shape)
    weights = b.leaf(*x.shape[:2]) if b.rng.random() < 0.5 else None
    scaled, mirrored = b.rng.random() < 0.5, b.rng.random() < 0.5
    yield from ops.corresponding_points_alignment(x, y, weights, scaled, mirrored)


def closest_points(b: Batch) -> Outputs:
    x, y = b.clouds, b.meshes.verts_padded()
    solution = ops.iterative_closest_point(
        x,
        y if y.shape[1] else x,
        max_iterations=3,
        estimate_scale=b.rng.random() < 0.5,
        allow_reflection=b.rng.random() < 0.5,
    )
    yield from (solution.rmse, solution.Xt.points_packed(), *solution.RTs)


def point_normals(b: Batch) -> Outputs:
    mesh = b.rng.randrange(len(b.meshes))
    points = b.meshes.verts_list()[mesh][None]
    size = b.rng.choice((3, 5))
    disambiguate = b.rng.random() < 0.5
    yield ops.estimate_pointcloud_normals(points, size, disambiguate)
    yield from ops.estimate_pointcloud_local_coord_frames(points, size, disambiguate)


# --- volumes ---


def volume(b: Batch) -> torch.Tensor:
    """Values of any scale, some of them equal, in a grid that may be one point thick."""
    values = b.leaf(b.rng.choice((1, 2)), *(b.rng.choice((1, 2, 3, 5)) for _ in range(3)))
    kind = b.rng.choice(("any", "steps", "scaled", "constant", "rough"))
    if kind == "steps":
        return values + (values * 3).detach().round() - values.detach()
    if kind == "rough":
        return values * torch.exp(20 * b.randn(*values.shape))
    return values * {"any": 1.0, "scaled": b.scale, "constant": 0.0}[kind]


def cubes(b: Batch) -> Outputs:
    voxels = volume(b)
    feats = b.leaf(len(voxels), 2, *voxels.shape[1:])
    meshes = ops.cubify(voxels, 0.5, feats=feats, align=b.rng.choice(("topleft", "corner", "center")))
    yield from (meshes.verts_packed(), meshes.textures.faces_verts_textures_packed())
    yield losses.mesh_normal_consistency(meshes)


def surfaces(b: Batch) -> Outputs:
    verts, faces = marching_cubes(volume(b), b.rng.choice((None, 0.5, 0.0, 1.0)), b.rng.random() < 0.5)
    yield from verts
    meshes = Meshes(verts, faces)
    yield from (losses.mesh_edge_loss(meshes), losses.mesh_normal_consistency(meshes))


# --- textures and rendering ---


def with_textures(b: Batch) -> Meshes:
    """The meshes with textures of any kind."""
    kind = b.rng.choice(("vertex", "uv", "atlas"))
    textures: r.TexturesBase
    if kind == "vertex":
        textures = r.TexturesVertex([b.leaf(len(v), 3) for v in b.meshes.verts_list()])
    elif kind == "atlas":
        textures = r.TexturesAtlas([b.leaf(len(f), 2, 2, 3) for f in b.meshes.faces_list()])
    else:
        uvs = [4 * b.leaf(max(len(v), 1), 2) - 1 for v in b.meshes.verts_list()]
        textures = r.TexturesUV(
            [b.leaf(b.rng.choice((1, 3)), 2, 3) for _ in uvs],
            b.meshes.faces_list(),
            uvs,
            padding_mode=b.rng.choice(("zeros", "border", "reflection", "repeat", ("mirror", "clamp"))),
            align_corners=b.rng.random() < 0.5,
        )
    return Meshes(b.meshes.verts_list(), b.meshes.faces_list(), textures)


def rendering(b: Batch) -> Outputs:
    """Soft shading and silhouettes, seen so that a batch of any scale fills the image, or from within."""
    meshes = with_textures(b)
    distance = 2.7 * b.scale if b.rng.random() < 0.5 else 2.7
    T = torch.tensor([[0.0, 0.0, distance]], dtype=b.dtype)
    cameras = r.FoVPerspectiveCameras(R=torch.eye(3, dtype=b.dtype)[None], T=T)
    sigma = 10.0 ** b.rng.uniform(-6, -2)
    settings = r.RasterizationSettings(
        image_size=b.rng.choice((1, 6, (4, 9))),
        blur_radius=math.log(1 / 1e-4 - 1) * sigma if b.rng.random() < 0.8 else 0.0,
        faces_per_pixel=b.rng.choice((1, 4, 50)),
        perspective_correct=b.rng.choice((None, False, True)),
    )
    fragments = r.MeshRasterizer(cameras, settings)(meshes)
    blend = r.BlendParams(sigma=sigma, gamma=10.0 ** b.rng.uniform(-5, -1))
    lights = r.PointLights(location=torch.tensor([[0.0, 1.0, -2.0]], dtype=b.dtype))
    yield r.SoftSilhouetteShader(blend)(fragments, meshes)
    yield r.SoftPhongShader(cameras=cameras, lights=lights, blend_params=blend)(fragments, meshes)
    if isinstance(meshes.textures, r.TexturesVertex):
        yield r.SoftGouraudShader(cameras=cameras, lights=lights, blend_params=blend)(fragments, meshes)
    yield meshes.sample_textures(fragments.packed)
    yield meshes.sample_textures(
        Fragments(fragments.pix_to_face, fragments.zbuf, fragments.bary_coords, fragments.dists)
    )


CHECKS: tuple[Callable[[Batch], Outputs], ...] = (
    *(chamfer, edge_loss, normal_consistency, laplacian_smoothing, point_mesh),
    *(normals_and_areas, laplacians, subdivision, taubin, samples, conversions, graph_conv, vert_align, attributes),
    *(scenes, neighbours, balls, farthest_points, alignment, closest_points, point_normals, cubes, surfaces, rendering),
)


def run(check: Callable[[Batch], Outputs], b: Batch) -> tuple[list[torch.Tensor], Sequence[torch.Tensor | None]] | None:
    """Values and gradients, or None where the check refuses the batch."""
    torch.manual_seed(0)
    try:
        outputs = list(check(b))
    except ValueError as error:
        if not WORDING.match(str(error)):
            raise
        return None
    smooth = [output for output in outputs if output.requires_grad]
    ups = [b.randn(*output.shape) for output in smooth]
    return outputs, torch.autograd.grad(smooth, b.leaves, ups, allow_unused=True) if smooth else ()


def check_finite(check: Callable[[Batch], Outputs], seed: int) -> tuple[int, bool]:
    """How many meshes there were, and whether the check took them."""
    b = random_batch(seed)
    found = run(check, b)
    for kind, tensors in zip(("value", "gradient"), found or ()):
        for i, tensor in enumerate(tensors):
            assert tensor is None or tensor.isfinite().all(), f"seed {seed}: {kind} {i}"
    return len(b.meshes), found is not None


each_check = pytest.mark.parametrize("check", CHECKS)
pytestmark = pytest.mark.filterwarnings("ignore:corresponding_points_alignment", "ignore:join_scene")


@each_check
def test_thirty_broken_meshes(check):
    for seed in range(12):
        check_finite(check, seed)


@pytest.mark.long
@each_check
def test_five_thousand_broken_meshes(check):
    n_meshes = n_batches = n_taken = 0
    while n_meshes < 5000:
        size, taken = check_finite(check, 1000 + n_batches)
        n_meshes, n_batches, n_taken = n_meshes + size, n_batches + 1, n_taken + taken
    assert n_taken > n_batches / 4


@pytest.mark.long
@each_check
def test_numbers_too_large_to_be_squared_do_no_harm(check):
    """They give results or refusals, and leave those of other batches as they were."""
    good = next(seed for seed in range(100) if run(check, random_batch(seed)))
    before = run(check, random_batch(good))
    for seed in range(200):
        run(check, random_batch(seed, beyond=True))
    torch.testing.assert_close(run(check, random_batch(good)), before)
