"""Rasterization in clip space, with nvdiffrast's arguments and results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from tirender.checks import INTEGERS, as_floats, check_choice, check_integer, check_kind, check_tensor, fail
from tirender.engine.rasterize_clip import ClipTriangles, rasterize_clip, select_in_clip_space
from tirender.nvdiffrast.arguments import check_triangles


class _Context:
    def __init__(self, output_db: bool) -> None:
        self.output_db = output_db
        self.active_depth_peeler: DepthPeeler | None = None


class RasterizeCudaContext(_Context):
    """What :func:`rasterize` wants to be given. It holds nothing: tensors are rasterized on the device they are on.

    Args:
        device: not used.
    """

    def __init__(self, device: Any = None) -> None:
        super().__init__(output_db=True)


class RasterizeGLContext(_Context):
    """As :class:`RasterizeCudaContext`, and it may turn derivatives off. There is no OpenGL behind it.

    Args:
        output_db: whether :func:`rasterize` returns derivatives of the barycentric coordinates.
        mode: "automatic", or "manual" for programs that call ``set_context`` and ``release_context``.
        device: not used.
    Raises:
        ValueError: for another mode.
    """

    def __init__(self, output_db: bool = True, mode: str = "automatic", device: Any = None) -> None:
        super().__init__(output_db=bool(check_choice("output_db", output_db, (True, False))))
        self.mode = check_choice("mode", mode, ("automatic", "manual"))

    def set_context(self) -> None:
        """Nothing is to be done.

        Raises:
            RuntimeError: where the mode is not "manual".
        """
        self._check_manual("set_context")

    def release_context(self) -> None:
        """Nothing is to be done.

        Raises:
            RuntimeError: where the mode is not "manual".
        """
        self._check_manual("release_context")

    def _check_manual(self, method: str) -> None:
        if self.mode != "manual":
            raise RuntimeError(f"{method}: expected a context of mode 'manual', got {self.mode!r}")


def rasterize(
    glctx: RasterizeCudaContext | RasterizeGLContext,
    pos: torch.Tensor,
    tri: torch.Tensor,
    resolution: Sequence[int],
    ranges: torch.Tensor | None = None,
    grad_db: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The triangle in front at each pixel, from either side.

    Clip space is OpenGL's: what has x / w, y / w and z / w in [-1, 1], and w > 0, is in view, and a smaller z / w is in
    front. x / w = -1 is the left edge of the first column, y / w = -1 the lower edge of the first row, which is the
    bottom of the picture. Triangles may reach out of view, and behind the eye. A pixel whose centre is on an edge that
    triangles share belongs to one of them. Of triangles at the same depth, the first is shown.

    Args:
        glctx: a context.
        pos: vertices in clip space, (N, V, 4) float32 or float64, or (V, 4) with ``ranges``.
        tri: (T, 3) int32 or int64 vertices of triangles.
        resolution: (H, W) of the images in pixels.
        ranges: (N, 2) int32 or int64 on any device, the first triangle of each image and how many it has; needed with
            (V, 4), and not used with (N, V, 4).
        grad_db: whether gradients of the derivatives reach ``pos``.
    Returns:
        rast: (N, H, W, 4) of u and v, the barycentric coordinates in space that are 1 at the first and second vertex;
            z / w; and the index in ``tri`` plus 1. All are 0 where there is no triangle.
        rast_db: (N, H, W, 4) of du/dX, du/dY, dv/dX and dv/dY, X and Y in pixels; (N, H, W, 0) if the context has
            ``output_db=False``.

        Both are differentiable in x, y and w of ``pos``. No gradient passes through z / w, nor through the choice of
        the triangle, which is what :func:`antialias` is for. Triangles seen edge-on pass none.
    Raises:
        ValueError: for arguments of other shapes, dtypes or devices, and indices out of range.
        RuntimeError: while a :class:`DepthPeeler` has the context.
    """
    check_kind("glctx", glctx, RasterizeCudaContext, RasterizeGLContext)
    if glctx.active_depth_peeler is not None:
        raise RuntimeError("glctx: expected a free context, got one of a DepthPeeler: call its rasterize_next_layer()")
    with DepthPeeler(glctx, pos, tri, resolution, ranges, grad_db) as peeler:
        return peeler.rasterize_next_layer()


class DepthPeeler:
    """Rasterizes what lies in front, then what lies behind that, and so on.

    Use it as a context manager. Of triangles at the same depth in a pixel, one is seen.

    Args:
        glctx, pos, tri, resolution, ranges, grad_db: as of :func:`rasterize`, with the same errors.
    """

    def __init__(
        self,
        glctx: RasterizeCudaContext | RasterizeGLContext,
        pos: torch.Tensor,
        tri: torch.Tensor,
        resolution: Sequence[int],
        ranges: torch.Tensor | None = None,
        grad_db: bool = True,
    ) -> None:
        check_kind("glctx", glctx, RasterizeCudaContext, RasterizeGLContext)
        self._context = glctx
        self._grad_db = check_choice("grad_db", grad_db, (True, False))
        size = tuple(resolution) if isinstance(resolution, Iterable) else ()
        if len(size) != 2:
            fail("resolution", "two integers (height, width)", resolution)
        self._size = (check_integer("resolution", size[0], 1), check_integer("resolution", size[1], 1))
        self._triangles: ClipTriangles | None = _triangles(pos, tri, ranges)
        self._behind: torch.Tensor | None = None

    def __enter__(self) -> DepthPeeler:
        if self._triangles is None:
            raise RuntimeError("DepthPeeler: expected one that was not used yet, got one that has ended")
        if self._context.active_depth_peeler is not None:
            raise RuntimeError("glctx: expected a free context, got one of another DepthPeeler")
        self._context.active_depth_peeler = self
        return self

    def __exit__(self, *_: object) -> None:
        self._context.active_depth_peeler = self._triangles = self._behind = None

    def rasterize_next_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``rast`` and ``rast_db``, as of :func:`rasterize`, of what lies behind all that was returned before.

        Raises:
            RuntimeError: outside of the ``with`` block.
        """
        if self._triangles is None or self._context.active_depth_peeler is not self:
            raise RuntimeError("rasterize_next_layer: expected a call within the block of the DepthPeeler")
        nearest, depth = select_in_clip_space(self._triangles, self._size, self._behind)
        self._behind = depth
        with_changes = self._context.output_db
        rast, rast_db = rasterize_clip(self._triangles, self._size, (nearest, depth), with_changes)
        shape = (self._triangles.n_images, *self._size)
        rast_db = rast_db.view(*shape, 4) if with_changes else rast_db.view(*shape, 0)
        return rast.view(*shape, 4), rast_db if self._grad_db else rast_db.detach()


def _triangles(pos: torch.Tensor, tri: torch.Tensor, ranges: torch.Tensor | None) -> ClipTriangles:
    """The triangles of all images, those of the first image first."""
    pos = as_floats("pos", check_tensor("pos", pos))
    if pos.dim() not in (2, 3) or pos.shape[-1] != 4:
        fail("pos", "shape (minibatch_size, num_vertices, 4), or (num_vertices, 4) with ranges", tuple(pos.shape))
    faces = check_triangles(tri, pos.shape[-2], pos.device)
    place = torch.arange(len(faces), dtype=torch.int32, device=pos.device)
    if pos.dim() == 3:
        n_images, n_verts = pos.shape[:2]
        images = torch.arange(n_images, dtype=torch.int32, device=pos.device)
        return ClipTriangles(
            verts=pos.reshape(-1, 4),
            faces=(images[:, None, None] * n_verts + faces).view(-1, 3),
            ids=place.repeat(n_images),
            image=images.repeat_interleave(len(faces)),
            n_images=n_images,
        )
    if ranges is None:
        fail("ranges", "a tensor (minibatch_size, 2), as pos is (num_vertices, 4)", None)
    check_tensor("ranges", ranges, ("minibatch_size", 2), INTEGERS)
    first, count = ranges.to(pos.device).long().unbind(1)
    if bool(((first < 0) | (count < 0) | (count > len(faces) - first)).any()):
        fail("ranges", f"first triangles and counts within the {len(faces)} of tri", ranges.tolist())
    before = count.cumsum(0) - count
    ids = torch.repeat_interleave(first - before, count) + torch.arange(int(count.sum()), device=pos.device)
    image = torch.arange(len(ranges), dtype=torch.int32, device=pos.device).repeat_interleave(count)
    return ClipTriangles(pos, faces.index_select(0, ids), ids.int(), image, len(ranges))
