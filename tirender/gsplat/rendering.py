"""``gsplat.rendering``."""

from __future__ import annotations

import math
from collections import UserDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, all_finite, check_choice, check_tensor, fail
from tirender.engine.project_gaussians import MODELS, Projection
from tirender.engine.spherical_harmonics import MAX_DEGREE
from tirender.engine.splatting import MODES, Drawing, Drawn, World, draw_gaussians
from tirender.gsplat.cuda._wrapper import UPPER, RollingShutterType, isect_offset_encode, isect_tiles
from tirender.gsplat.not_built import rasterization_2dgs, rasterization_2dgs_inria_wrapper, rasterization_inria_wrapper

__all__ = [
    "rasterization",
    "rasterization_2dgs",
    "rasterization_2dgs_inria_wrapper",
    "rasterization_inria_wrapper",
]


class Meta(UserDict[str, Any]):
    """What is known of a rasterization; the lists of tiles are made when one of them is asked for.

    Args:
        values: by name.
        lists: makes the rest.
    """

    def __init__(self, values: dict[str, Any], lists: Callable[[], dict[str, Any]]) -> None:
        super().__init__(values)
        self._lists: Callable[[], dict[str, Any]] | None = lists

    def _complete(self) -> None:
        lists, self._lists = getattr(self, "_lists", None), None
        self.data.update(lists() if lists else {})

    def __missing__(self, key: str) -> Any:
        self._complete()
        return self.data[key]

    def __contains__(self, key: object) -> bool:
        if key not in self.data:
            self._complete()
        return key in self.data

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(self.data)

    def __len__(self) -> int:
        self._complete()
        return len(self.data)


def rasterization(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    colors: torch.Tensor,
    viewmats: torch.Tensor,
    Ks: torch.Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: torch.Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
    camera_model: str = "pinhole",
    segmented: bool = False,
    covars: torch.Tensor | None = None,
    with_ut: bool = False,
    with_eval3d: bool = False,
    radial_coeffs: torch.Tensor | None = None,
    tangential_coeffs: torch.Tensor | None = None,
    thin_prism_coeffs: torch.Tensor | None = None,
    ftheta_coeffs: Any = None,
    rolling_shutter: Any = RollingShutterType.GLOBAL,
    viewmats_rs: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, Meta]:
    """Draw N Gaussians from C cameras.

    All tensors may have the same batch dimensions before those named here, each a scene with its own cameras. Results
    then have them too, and ``meta`` holds values without gradient.

    Args:
        means: (N, 3) float32 or float64, in world space.
        quats: (N, 4) rotations (w, x, y, z) of any length.
        scales: (N, 3) standard deviations.
        opacities: (N,).
        colors: (N, D) or (C, N, D); with ``sh_degree`` the coefficients (N, K, 3) or (C, N, K, 3) of harmonics.
        viewmats: (C, 4, 4) from the world to camera space: x right, y down, z forward.
        Ks: (C, 3, 3) in pixels. Without gradient.
        width, height: of the images, in pixels.
        near_plane, far_plane: the least and the greatest depth of means that are drawn.
        radius_clip: what is not larger, in pixels, is not drawn.
        eps2d: variance added in the image, in square pixels.
        sh_degree: of the harmonics, 0 to 4; None where colours are given.
        packed: whether ``meta`` lists what is drawn only.
        tile_size: of the lists of tiles in ``meta``.
        backgrounds: (C, D).
        render_mode: ``"RGB"``, ``"D"``, ``"ED"``, ``"RGB+D"`` or ``"RGB+ED"``; D is depth weighted as colours are, ED
            the expected depth.
        absgrad: whether ``meta["means2d"]`` gets an attribute ``absgrad`` in the backward pass.
        rasterize_mode: ``"classic"``, or ``"antialiased"`` as Mip-Splatting.
        camera_model: ``"pinhole"``, ``"ortho"`` or ``"fisheye"``.
        covars: (N, 3, 3) covariances in place of quats and scales.
        channel_chunk, segmented: ignored.
    Returns:
        render_colors: (C, H, W, X), X = D and one more with depth.
        render_alphas: (C, H, W, 1).
        meta: ``means2d``, ``radii``, ``depths``, ``conics``, ``opacities`` of shape (C, N, ...), or (n, ...) packed,
            then with ``batch_ids``, ``camera_ids`` and ``gaussian_ids`` (n,); ``tile_width``, ``tile_height``,
            ``tiles_per_gauss``, ``isect_ids``, ``flatten_ids``, ``isect_offsets``; ``width``, ``height``,
            ``tile_size``, ``n_batches``, ``n_cameras``.
        Differentiable in means, quats, scales, covars, opacities, colors, viewmats and backgrounds; ``means2d`` is an
        intermediate result, whose gradient ``retain_grad()`` keeps.
    Raises:
        ValueError: if a shape does not fit, a number is not finite, or an argument asks for what is not built.
    """
    del channel_chunk, segmented
    asked = {
        "sparse_grad": sparse_grad,
        "distributed": distributed,
        "with_ut": with_ut,
        "with_eval3d": with_eval3d,
        "radial_coeffs": radial_coeffs is not None,
        "tangential_coeffs": tangential_coeffs is not None,
        "thin_prism_coeffs": thin_prism_coeffs is not None,
        "ftheta_coeffs": ftheta_coeffs is not None,
        "rolling_shutter": getattr(rolling_shutter, "name", "GLOBAL") != "GLOBAL",
        "viewmats_rs": viewmats_rs is not None,
    }
    for name, is_asked in asked.items():
        if is_asked:
            fail(name, "its default, as this is not built", "another value")
    check_choice("camera_model", camera_model, list(MODELS))
    check_choice("render_mode", render_mode, MODES)
    check_choice("rasterize_mode", rasterize_mode, ("classic", "antialiased"))
    batch = check_tensor("means", means, ("...", "N", 3), FLOATS).shape[:-2]
    given = {"means": means, "opacities": opacities, "colors": colors, "viewmats": viewmats, "Ks": Ks}
    given |= {"quats": quats, "scales": scales} if covars is None else {"covars": covars}
    if backgrounds is not None:
        given["backgrounds"] = backgrounds
    for name, value in given.items():
        check_tensor(name, value)
        if batch and value.shape[: len(batch)] != batch:
            fail(name, f"batch dimensions {tuple(batch)}, as means have", tuple(value.shape))
    if batch and absgrad:
        fail("absgrad", "False with batch dimensions", True)
    scenes = [given]
    if batch:
        flat = {name: value.flatten(0, len(batch) - 1) for name, value in given.items()}
        scenes = [{name: value[i] for name, value in flat.items()} for i in range(math.prod(batch))]
    projection = Projection(
        width, height, camera_model, eps2d, near_plane, far_plane, radius_clip, rasterize_mode == "antialiased"
    )
    drawing = Drawing(sh_degree, render_mode, packed, absgrad)
    found = []
    for scene in scenes:
        covars = scene.get("covars")
        shapes = scene["scales"] if covars is None else _upper(covars, scene["means"])
        world = World(scene["means"], scene.get("quats"), shapes, scene["opacities"], scene["colors"])
        behind = scene.get("backgrounds")
        _check(world, scene["viewmats"], scene["Ks"], behind, sh_degree)
        found.append(draw_gaussians(world, scene["viewmats"], scene["Ks"], behind, projection, drawing))
    n, n_cameras = means.shape[-2], viewmats.shape[-3]
    drawn = found[0] if not batch else _stacked(found, n * n_cameras, batch)
    return drawn.images, drawn.alphas, _meta(drawn, n, n_cameras, len(found), (width, height, tile_size))


def _stacked(found: Sequence[Drawn], rows_of_each: int, batch: torch.Size) -> Drawn:
    """What was drawn of several scenes, with their batch dimensions in front."""

    def stacked(values: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack([*values]).view(*batch, *values[0].shape)

    images, alphas = stacked([d.images for d in found]), stacked([d.alphas for d in found])
    known = [[value.detach() for value in d[3:] if value is not None] for d in found]
    if found[0].rows is None:
        return Drawn(images, alphas, None, *map(stacked, zip(*known)))
    rows = torch.cat([d.rows + i * rows_of_each for i, d in enumerate(found) if d.rows is not None])
    return Drawn(images, alphas, rows, *map(torch.cat, zip(*known)))


def _upper(covars: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    check_tensor("covars", covars, (len(means), 3, 3), like=means)
    return covars[..., UPPER[0], UPPER[1]]


def _check(
    world: World,
    viewmats: torch.Tensor,
    Ks: torch.Tensor,
    backgrounds: torch.Tensor | None,
    sh_degree: int | None,
) -> None:
    means = check_tensor("means", world.means, ("N", 3), FLOATS)
    n, n_cameras = len(means), len(check_tensor("viewmats", viewmats, ("C", 4, 4), like=means))
    check_tensor("Ks", Ks, (n_cameras, 3, 3), like=means)
    named = {"means": means, "viewmats": viewmats, "opacities": check_tensor("opacities", world.opacities, (n,))}
    if world.quats is not None:
        named["quats"] = check_tensor("quats", world.quats, (n, 4), like=means)
        named["scales"] = check_tensor("scales", world.shapes, (n, 3), like=means)
    colors = named["colors"] = check_tensor("colors", world.colors, like=means)
    channels: tuple[Any, ...] = ("D",)
    if sh_degree is not None:
        if sh_degree not in range(MAX_DEGREE + 1):
            fail("sh_degree", f"0 to {MAX_DEGREE}, or None", sh_degree)
        channels = ("K", 3)
    per_camera = colors.dim() == 2 + len(channels)
    check_tensor("colors", colors, (*((n_cameras,) if per_camera else ()), n, *channels))
    if sh_degree is not None and colors.shape[-2] < (sh_degree + 1) ** 2:
        fail("colors", f"{(sh_degree + 1) ** 2} or more coefficients for degree {sh_degree}", colors.shape[-2])
    if backgrounds is not None:
        check_tensor("backgrounds", backgrounds, (n_cameras, colors.shape[-1]), like=means)
    for name, value in named.items():
        if not all_finite(value):
            fail(name, "finite numbers", "others")


def _meta(drawn: Drawn, n: int, n_cameras: int, n_batches: int, sizes: tuple[int, int, int]) -> Meta:
    width, height, tile_size = sizes
    tile_width, tile_height = math.ceil(width / tile_size), math.ceil(height / tile_size)
    rows = drawn.rows

    def lists() -> dict[str, torch.Tensor]:
        tiles_per_gauss, isect_ids, flatten_ids = isect_tiles(
            drawn.means2d,
            drawn.radii,
            drawn.depths,
            tile_size,
            tile_width,
            tile_height,
            packed=rows is not None,
            n_images=n_batches * n_cameras,
            image_ids=None if rows is None else rows // max(n, 1),
        )
        return {
            "tiles_per_gauss": tiles_per_gauss,
            "isect_ids": isect_ids,
            "flatten_ids": flatten_ids,
            "isect_offsets": isect_offset_encode(isect_ids, n_batches * n_cameras, tile_width, tile_height).view(
                *drawn.images.shape[:-3], tile_height, tile_width
            ),
        }

    values = {
        "batch_ids": None if rows is None else rows // max(n * n_cameras, 1),
        "camera_ids": None if rows is None else rows // max(n, 1) % max(n_cameras, 1),
        "gaussian_ids": None if rows is None else rows % max(n, 1),
        "radii": drawn.radii,
        "means2d": drawn.means2d,
        "depths": drawn.depths,
        "conics": drawn.conics,
        "opacities": drawn.opacities,
        "tile_width": tile_width,
        "tile_height": tile_height,
        "width": width,
        "height": height,
        "tile_size": tile_size,
        "n_batches": n_batches,
        "n_cameras": n_cameras,
    }
    return Meta(values, lists)
