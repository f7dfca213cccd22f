"""Interpolation of vertex attributes, with nvdiffrast's arguments and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tirender.checks import as_indices, as_tensor, check_range, check_tensor, fail
from tirender.engine import interpolate as engine
from tirender.nvdiffrast.arguments import check_rast, check_triangles, in_one_dtype


def interpolate(
    attr: torch.Tensor,
    rast: torch.Tensor,
    tri: torch.Tensor,
    rast_db: torch.Tensor | None = None,
    diff_attrs: str | Sequence[int] | Any | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attributes of vertices at each pixel, and their derivatives in the image.

    Args:
        attr: (N or 1, V, A) float32 or float64, 1 for the same in all images, or (V, A) if ``rast`` was made with
            ranges.
        rast: (N, H, W, 4), the first result of :func:`rasterize`.
        tri: (T, 3) int32 or int64, as many triangles as were rasterized, but they may have other indices.
        rast_db: (N, H, W, 4), its second result; needed with ``diff_attrs``.
        diff_attrs: the D attributes whose derivatives are wanted, integers in [0, A), or "all".
    Returns:
        out: (N, H, W, A), 0 where there is no triangle.
        out_da: (N, H, W, 2 * D) of dA/dX and dA/dY of each of the D attributes, X and Y in pixels.

        Both are differentiable in ``attr``, in u and v of ``rast``, and in ``rast_db``.
    Raises:
        ValueError: for arguments of other shapes, dtypes or devices, and indices out of range.
    """
    rast = check_rast(rast)
    check_tensor("attr", attr)
    per_image = attr if attr.dim() == 3 else attr[None] if attr.dim() == 2 else None
    if per_image is None or len(per_image) not in (1, len(rast)):
        fail("attr", f"shape ({len(rast)} or 1, num_vertices, num_attributes) or without the first", tuple(attr.shape))
    chosen = _chosen(diff_attrs, per_image.shape[2], rast.device)
    if not len(chosen):
        rast_db = None
    elif rast_db is None:
        fail("rast_db", "the second result of rasterize(), as diff_attrs asks for derivatives", None)
    elif check_rast(rast_db, "rast_db").shape != rast.shape:
        fail("rast_db", f"shape {tuple(rast.shape)}", tuple(rast_db.shape))
    given = in_one_dtype(attr=per_image, rast=rast, rast_db=rast_db)
    faces = check_triangles(tri, per_image.shape[1], rast.device)
    return engine.interpolate(given["attr"], given["rast"], faces, given.get("rast_db"), chosen)


def _chosen(diff_attrs: Any, n_attributes: int, device: torch.device) -> torch.Tensor:
    """(D,) int32: the attributes whose derivatives are wanted."""
    if diff_attrs is None:
        diff_attrs = []
    elif isinstance(diff_attrs, str):
        if diff_attrs != "all":
            fail("diff_attrs", "'all' or integers", repr(diff_attrs))
        diff_attrs = range(n_attributes)
    indices = as_indices("diff_attrs", as_tensor("diff_attrs", diff_attrs))
    if indices.dim() != 1:
        fail("diff_attrs", "'all' or integers", diff_attrs)
    check_range("diff_attrs", indices, n_attributes, "attributes")
    return indices.to(device=device, dtype=torch.int32)
