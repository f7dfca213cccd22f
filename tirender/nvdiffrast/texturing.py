"""Texture sampling, with nvdiffrast's arguments and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tirender.checks import as_floats, check_choice, check_integer, check_tensor, fail
from tirender.engine.texture_lookup import BOUNDARIES, FILTERS, LookupMode, look_up, mip_levels
from tirender.nvdiffrast.arguments import in_one_dtype


@dataclass(frozen=True)
class Mipmaps:
    """The mip levels of a texture, made by :func:`texture_construct_mip`.

    Args:
        levels: those below the texture itself, without gradient.
        shape: that of the texture.
    """

    levels: list[torch.Tensor]
    shape: tuple[int, ...]


def texture(
    tex: torch.Tensor,
    uv: torch.Tensor,
    uv_da: torch.Tensor | None = None,
    mip_level_bias: torch.Tensor | None = None,
    mip: Mipmaps | Sequence[torch.Tensor] | None = None,
    filter_mode: str = "auto",
    boundary_mode: str = "wrap",
    max_mip_level: int | None = None,
) -> torch.Tensor:
    """The colours of a texture at each pixel.

    Coordinates run from 0 to 1 from edge to edge of a texture, and (0, 0) is the corner of its first texel. The mip
    level of a pixel is half of log2 of the squared major axis, in texels, of the ellipse that ``uv_da`` describes, plus
    ``mip_level_bias``. Without ``uv_da``, the bias is the level. The faces of a cube map are +x, -x, +y, -y, +z and -z,
    oriented as OpenGL has them, and texels beside an edge of the cube are mixed across it.

    Args:
        tex: (N or 1, H_t, W_t, C) float32 or float64, 1 for the same in all images; a cube map (N or 1, 6, S, S, C).
        uv: (N, H, W, 2) coordinates; for a cube map (N, H, W, 3) directions of any length.
        uv_da: (N, H, W, 4) of ds/dX, ds/dY, dt/dX and dt/dY, X and Y in pixels; for a cube map (N, H, W, 6).
        mip_level_bias: (N, H, W).
        mip: the result of :func:`texture_construct_mip`, or a list of the textures of mip levels 1, 2 ...; by default
            they are made from ``tex``.
        filter_mode: "nearest", "linear", "linear-mipmap-nearest" or "linear-mipmap-linear"; "auto" is the last if there
            is ``uv_da`` or ``mip_level_bias``, else "linear".
        boundary_mode: beyond 0 and 1, "wrap" repeats the texture, "clamp" its outermost texels, and "zero" has 0.
            "cube" is for cube maps.
        max_mip_level: how many mip levels are made and used at the most.
    Returns:
        (N, H, W, C), differentiable in ``tex``, through its mip levels too; in ``uv`` but with "nearest"; and with
        "linear-mipmap-linear" in ``uv_da`` and ``mip_level_bias``. The textures of a list have gradients of their own.
        Where a coordinate is not finite, or a direction has no length, the result and its gradients are 0.
    Raises:
        ValueError: for arguments of other shapes, dtypes or devices, a side of a mip level that is odd and not 1, and
            modes that need what is not there.
    """
    filter_mode, boundary_mode = _modes(filter_mode, boundary_mode, uv_da, mip_level_bias, max_mip_level)
    _check_texture(tex, boundary_mode == "cube")
    n_coords = 3 if boundary_mode == "cube" else 2
    check_tensor("uv", uv, ("minibatch_size", "height", "width", n_coords))
    size = tuple(uv.shape[:3])
    if len(tex) not in (1, size[0]):
        fail("tex", f"a minibatch of 1 or {size[0]}, as of uv", tuple(tex.shape))
    if uv_da is not None:
        check_tensor("uv_da", uv_da, (*size, 2 * n_coords))
    if mip_level_bias is not None:
        check_tensor("mip_level_bias", mip_level_bias, size)
    levels: list[torch.Tensor] = []
    if "mipmap" in filter_mode:
        levels = _levels(tex, mip, max_mip_level)
    else:
        uv_da = mip_level_bias = None
    smaller = {f"mip[{i}]": level for i, level in enumerate(levels)}
    given = in_one_dtype(tex=tex, uv=uv, uv_da=uv_da, mip_level_bias=mip_level_bias, **smaller)
    return look_up(
        levels=[given["tex"], *(given[name] for name in smaller)],
        coords=given["uv"],
        changes=given.get("uv_da"),
        bias=given.get("mip_level_bias"),
        mode=LookupMode(filter_mode, boundary_mode),
        gathered=mip is None or isinstance(mip, Mipmaps),
    )


def texture_construct_mip(tex: torch.Tensor, max_mip_level: int | None = None, cube_mode: bool = False) -> Mipmaps:
    """The mip levels of a texture that stays as it is, for several calls of :func:`texture`.

    Args:
        tex: as of :func:`texture`.
        max_mip_level: how many levels are made at the most; None for all, down to one texel.
        cube_mode: whether ``tex`` is a cube map.
    Returns:
        What :func:`texture` takes as ``mip``. Gradients reach the ``tex`` that is given there.
    Raises:
        ValueError: for a texture of another shape or dtype, and where a side is odd, and not 1, before the last level.
    """
    _check_texture(tex, bool(check_choice("cube_mode", cube_mode, (True, False))))
    if max_mip_level is not None:
        check_integer("max_mip_level", max_mip_level, 0)
    return Mipmaps(mip_levels(as_floats("tex", tex), max_mip_level), tuple(tex.shape))


def _modes(
    filter_mode: str,
    boundary_mode: str,
    uv_da: torch.Tensor | None,
    mip_level_bias: torch.Tensor | None,
    max_mip_level: int | None,
) -> tuple[str, str]:
    """The filter and boundary modes, checked, without "auto"."""
    check_choice("boundary_mode", boundary_mode, tuple(BOUNDARIES))
    has_level = uv_da is not None or mip_level_bias is not None
    if check_choice("filter_mode", filter_mode, ("auto", *FILTERS)) == "auto":
        filter_mode = "linear-mipmap-linear" if has_level else "linear"
    if max_mip_level is not None:
        check_integer("max_mip_level", max_mip_level, 0)
    if "mipmap" in filter_mode and not has_level:
        fail("uv_da", f"a tensor, or mip_level_bias, as filter_mode is {filter_mode!r}", None)
    return filter_mode, boundary_mode


def _check_texture(tex: torch.Tensor, is_cube: bool) -> None:
    if not is_cube:
        check_tensor("tex", tex, ("minibatch_size", "tex_height", "tex_width", "tex_channels"))
    elif check_tensor("tex", tex).dim() != 5 or tex.shape[1] != 6 or tex.shape[2] != tex.shape[3]:
        fail("tex", "shape (minibatch_size, 6, size, size, tex_channels) of a cube map", tuple(tex.shape))
    if 0 in tex.shape[:-1]:
        fail("tex", "at least one texel", tuple(tex.shape))


def _levels(
    tex: torch.Tensor, mip: Mipmaps | Sequence[torch.Tensor] | None, max_mip_level: int | None
) -> list[torch.Tensor]:
    """The mip levels below the texture."""
    if mip is None:
        return mip_levels(as_floats("tex", tex), max_mip_level)
    if isinstance(mip, Mipmaps):
        if mip.shape != tuple(tex.shape):
            fail("mip", f"levels of a texture {tuple(tex.shape)}", f"those of one {mip.shape}")
        mip = mip.levels
    if not isinstance(mip, list | tuple):
        fail("mip", "the result of texture_construct_mip(), or a list of tensors", type(mip).__name__)
    *front, height, width, channels = tex.shape
    for i, level in enumerate(mip[:max_mip_level]):
        if max(height, width) == 1 or any(side > 1 and side % 2 for side in (height, width)):
            fail("mip", f"{i} levels, as the next would halve ({height}, {width}) texels", len(mip))
        height, width = max(height // 2, 1), max(width // 2, 1)
        check_tensor(f"mip[{i}]", level, (*front, height, width, channels))
    return list(mip[:max_mip_level])
