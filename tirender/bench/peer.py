"""The tutorials' steps with names that tirender and PyTorch3D share, timed on both in turns: A B A B.

A library is a package with the modules ``loss``, ``ops``, ``renderer``, ``structures`` and ``utils``. The data are
tirender's, as plain tensors. Radiance fields are left out, as torch computes their network in both libraries.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from tirender.bench.steps import N_VIEWS, creature, points_scene, views_of
from tirender.engine import runtime
from tirender.fit.views import Views

MODULES = ("loss", "ops", "renderer", "structures", "utils")
MIN_TURNS = 3
SIGMA = 1e-4
Step = Callable[[], Any]


def check_installed(name: str) -> None:
    """Raise ``ImportError`` if no library has this name, or if it lacks a module."""
    for part in ("", *(f".{module}" for module in MODULES)):
        if not name.isidentifier() or importlib.util.find_spec(name + part) is None:
            raise ImportError(f"--peer: expected an installed library, got {name!r}: no {name}{part} to import")


def load_library(name: str) -> Any:
    """A namespace of a library's modules.

    Raises:
        ImportError: it is not installed.
    """
    check_installed(name)
    return SimpleNamespace(**{module: importlib.import_module(f"{name}.{module}") for module in MODULES})


def compare(
    name: str, library: str, device: str, budget: float, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Time a step on tirender and on another library.

    Args:
        name: one of ``PEERS``.
        library: the other library's package.
        device: of the tensors.
        budget: seconds for both together, without their first runs.
        settings: replace the step's defaults.
    Returns:
        ``laps``: the seconds of each run, of tirender and of the other; ``medians``: theirs, without the first runs;
        ``ratio``: the other's median to tirender's.
    """
    steps = [PEERS[name](load_library(each), device, **(settings or {})) for each in ("tirender", library)]
    laps = alternate(steps, budget)
    medians = [statistics.median(each[1:]) for each in laps]
    return {"laps": laps, "medians": medians, "ratio": medians[1] / medians[0]}


def alternate(
    steps: Sequence[Step], budget: float, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """The laps of several steps that take turns: first one lap each, and then more within a budget of seconds."""
    laps: list[list[float]] = [[] for _ in steps]
    spent = 0.0
    while len(laps[0]) < 1 + MIN_TURNS or spent < budget:
        for step, own in zip(steps, laps):
            runtime.synchronize()
            since = clock()
            step()
            runtime.synchronize()
            own.append(clock() - since)
        if len(laps[0]) > 1:
            spent += sum(own[-1] for own in laps)
    return laps


def _mesh(lib: Any, device: str, level: int = 4, n_samples: int = 5000) -> Step:
    target = _plain(lib, device)
    source = lib.utils.ico_sphere(level, device)
    moved = torch.zeros_like(source.verts_packed(), requires_grad=True)

    def losses() -> torch.Tensor:
        mesh = source.offset_verts(moved)
        of_target = lib.ops.sample_points_from_meshes(target, n_samples)
        of_mesh = lib.ops.sample_points_from_meshes(mesh, n_samples)
        chamfer: torch.Tensor = lib.loss.chamfer_distance(of_target, of_mesh)[0]
        return chamfer + _shape_losses(lib, mesh, 0.1)

    return _descent(losses, [moved])


def _render(lib: Any, device: str, image_size: int = 512, views: int = 1) -> Step:
    r = lib.renderer
    R, T = r.look_at_view_transform(2.7, torch.linspace(0, 180, views), torch.linspace(-180, 180, views))
    cameras = r.FoVPerspectiveCameras(R=R, T=T, device=device)
    settings = r.RasterizationSettings(image_size=image_size, blur_radius=0.0, faces_per_pixel=1)
    lights = r.PointLights(location=[[0.0, 0.0, -3.0]], device=device)
    renderer = r.MeshRenderer(
        r.MeshRasterizer(cameras=cameras, raster_settings=settings),
        r.SoftPhongShader(device=device, cameras=cameras, lights=lights),
    )
    meshes = _plain(lib, device).extend(views)
    return lambda: renderer(meshes)


def _points(lib: Any, device: str, image_size: int = 512, n_points: int | None = None) -> Step:
    r = lib.renderer
    _, ours = points_scene(device, image_size, 0.003, 10, n_points)
    cloud = lib.structures.Pointclouds(points=[ours.points_packed()], features=[ours.features_packed()])
    R, T = r.look_at_view_transform(20, 25, 170)
    cameras = r.FoVOrthographicCameras(R=R, T=T, znear=0.01, device=device)
    settings = r.PointsRasterizationSettings(image_size=image_size, radius=0.003, points_per_pixel=10)
    renderer = r.PointsRenderer(
        rasterizer=r.PointsRasterizer(cameras=cameras, raster_settings=settings), compositor=r.AlphaCompositor()
    )
    return lambda: renderer(cloud)


def _silhouette(lib: Any, device: str, level: int = 4, views: int = 2, image_size: int = 128) -> Step:
    targets = views_of(device, image_size)
    source = lib.utils.ico_sphere(level, device)
    moved = torch.zeros_like(source.verts_packed(), requires_grad=True)
    render = _soft_renderer(lib, lib.renderer.SoftSilhouetteShader(blend_params=_blend(lib)), image_size, None)

    def losses() -> torch.Tensor:
        mesh = source.offset_verts(moved)
        chosen = torch.randperm(N_VIEWS)[:views]
        alpha = render(mesh.extend(views), cameras=_cameras(lib, targets, chosen))[..., 3]
        difference = (alpha - targets.silhouettes[chosen]).square().mean()
        return difference + _shape_losses(lib, mesh, 1.0)

    return _descent(losses, [moved])


def _images(lib: Any, device: str, level: int = 4, views: int = 2, image_size: int = 128) -> Step:
    targets = views_of(device, image_size)
    source = lib.utils.ico_sphere(level, device)
    moved = torch.zeros_like(source.verts_packed(), requires_grad=True)
    colors = torch.full_like(source.verts_padded(), 0.5, requires_grad=True)
    lights = lib.renderer.PointLights(location=[[0.0, 0.0, -3.0]], device=device)
    shader = lib.renderer.SoftPhongShader(device=device, lights=lights, blend_params=_blend(lib))
    render = _soft_renderer(lib, shader, image_size, False)  # as in section 4.4: with True, PyTorch3D's loss is NaN
    images: Any = targets.images

    def losses() -> torch.Tensor:
        mesh = source.offset_verts(moved)
        mesh.textures = lib.renderer.TexturesVertex(verts_features=colors)
        chosen = torch.randperm(N_VIEWS)[:views]
        rendered = render(mesh.extend(views), cameras=_cameras(lib, targets, chosen))
        difference = (rendered[..., :3] - images[chosen]).square().mean()
        difference = difference + (rendered[..., 3] - targets.silhouettes[chosen]).square().mean()
        return difference + _shape_losses(lib, mesh, 1.0)

    return _descent(losses, [moved, colors])


def _volume(
    lib: Any, device: str, size: int = 128, views: int = 10, image_size: int = 128, n_pts_per_ray: int = 150
) -> Step:
    r = lib.renderer
    targets = views_of(device, image_size)
    log_densities = torch.full((1, size, size, size), -4.0, device=device, requires_grad=True)
    log_colors = torch.zeros(3, size, size, size, device=device, requires_grad=True)
    raysampler = r.NDCMultinomialRaysampler(
        image_width=image_size, image_height=image_size, n_pts_per_ray=n_pts_per_ray, min_depth=0.1, max_depth=3.0
    )
    renderer = r.VolumeRenderer(raysampler=raysampler, raymarcher=r.EmissionAbsorptionRaymarcher())

    def losses() -> torch.Tensor:
        chosen = torch.randperm(N_VIEWS)[:views]
        volumes = lib.structures.Volumes(
            densities=torch.sigmoid(log_densities)[None].expand(views, *log_densities.shape),
            features=torch.sigmoid(log_colors)[None].expand(views, *log_colors.shape),
            voxel_size=3.0 / size,
        )
        rendered = renderer(cameras=_cameras(lib, targets, chosen), volumes=volumes)[0]
        difference = _huber(rendered[..., :3] - targets.on_black[chosen])
        return difference + _huber(rendered[..., 3] - targets.silhouettes[chosen])

    return _descent(losses, [log_densities, log_colors], torch.optim.Adam, lr=0.1)


PEERS: dict[str, Callable[..., Step]] = {
    "mesh": _mesh,
    "render": _render,
    "points": _points,
    "silhouette": _silhouette,
    "images": _images,
    "volume": _volume,
}


def _descent(losses: Step, parameters: list[torch.Tensor], optimizer: Any = torch.optim.SGD, **options: Any) -> Step:
    """A step of an optimizer; the default is that of the tutorials' meshes."""
    descent = optimizer(parameters, **(options or {"lr": 1.0, "momentum": 0.9}))

    def step() -> None:
        descent.zero_grad()
        losses().backward()
        descent.step()

    return step


def _shape_losses(lib: Any, mesh: Any, w_laplacian: float) -> torch.Tensor:
    total: torch.Tensor = lib.loss.mesh_edge_loss(mesh) + 0.01 * lib.loss.mesh_normal_consistency(mesh)
    return total + w_laplacian * lib.loss.mesh_laplacian_smoothing(mesh, method="uniform")


def _plain(lib: Any, device: str) -> Any:
    """The textured creature, in the classes of a library."""
    mesh = creature(device)
    textures = lib.renderer.TexturesUV(
        maps=mesh.textures.maps_padded(),
        faces_uvs=mesh.textures.faces_uvs_list(),
        verts_uvs=mesh.textures.verts_uvs_list(),
    )
    return lib.structures.Meshes(verts=mesh.verts_list(), faces=mesh.faces_list(), textures=textures)


def _cameras(lib: Any, targets: Views, chosen: torch.Tensor) -> Any:
    cameras = targets.cameras
    return lib.renderer.FoVPerspectiveCameras(R=cameras.R[chosen], T=cameras.T[chosen], device=cameras.device)


def _blend(lib: Any) -> Any:
    return lib.renderer.BlendParams(sigma=SIGMA, gamma=1e-4)


def _soft_renderer(lib: Any, shader: Any, image_size: int, perspective_correct: bool | None) -> Any:
    r = lib.renderer
    settings = r.RasterizationSettings(
        image_size=image_size,
        blur_radius=math.log(1.0 / 1e-4 - 1.0) * SIGMA,
        faces_per_pixel=50,
        perspective_correct=perspective_correct,
    )
    return r.MeshRenderer(r.MeshRasterizer(raster_settings=settings), shader)


def _huber(difference: torch.Tensor) -> torch.Tensor:
    """The smooth L1 error that section 5.3 defines."""
    return (((1 + (difference / 0.1).square()).clamp(1e-4).sqrt() - 1) * 0.1).abs().mean()
