"""Runs every kernel on one arch, in a process of its own: ``python arch_worker.py ARCH SELECTION.npz OUTPUT.npz``.

The selection of triangles and points is read from a file, so that archs are compared on the same discrete choices, and
made again to be compared by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

SIZE = (24, 40)


def scene():
    from conftest import random_scene, rasterization

    verts, faces, image = random_scene(300, size=0.4)
    mode = {"image_size": SIZE, "faces_per_pixel": 8, "blur_radius": 0.004, "clip_barycentric_coords": True}
    soft = rasterization(verts.requires_grad_(), faces, image, perspective_correct=True, **mode)
    hard = rasterization(verts, faces, image, image_size=SIZE, faces_per_pixel=1)
    return verts, soft, hard


def cloud():
    from tirender.engine.rasterize_points import PointRasterization

    points = (torch.rand(400, 3) * 2 - 1 + torch.tensor([0.0, 0.0, 0.8])).requires_grad_()
    radius, image = torch.rand(400) * 0.2, (torch.arange(400) // 200).int()
    return points, PointRasterization(points, radius, image, 2, SIZE, 6)


def marched():
    from tirender.engine.volume_march import march_volumes

    densities, features = torch.rand(2, 1, 5, 6, 7), torch.rand(2, 4, 5, 6, 7)
    origins = torch.rand(500, 3) * 12 - 3
    directions = torch.rand(500, 3) * 7 - origins
    leaves = [x.requires_grad_() for x in (densities, features, origins, directions)]
    return march_volumes(*leaves, torch.rand(500, 20), 1e-10, 2), leaves


def occupied_samples():
    from tirender.engine.occupancy import pack_bits, sample_occupied

    step, occupied = 0.01, pack_bits(torch.rand(8, 8, 8) < 0.5)
    directions = torch.nn.functional.normalize(torch.randn(50, 3), dim=1)
    samples = sample_occupied(torch.rand(50, 3), directions, occupied, step)  # from within: at (k + 1/2) steps
    return {"occupied_offsets": samples.offsets, "occupied_index": (samples.lengths / step - 0.5).round().int()}


def outputs(selection: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    """Values and gradients of every kernel, and the selection that this arch makes."""
    from tirender.engine.compositing import composite
    from tirender.engine.emission_absorption import count_visible, emission_absorption
    from tirender.engine.hash_grid import HashGridLayout, hash_encode
    from tirender.engine.mesh_fragments import mesh_fragments
    from tirender.engine.rasterize_points import point_fragments, select_points
    from tirender.engine.silhouette import soft_silhouette

    torch.manual_seed(0)
    verts, soft, hard = scene()
    points, point_rasterization = cloud()
    out = dict(zip(("offsets", "index"), soft.selection()))
    out |= dict(zip(("hard_offsets", "hard_index"), hard.selection()))
    out |= dict(zip(("point_offsets", "point_index"), select_points(point_rasterization)))
    chosen = out if selection is None else selection
    offsets, index = chosen["offsets"], chosen["index"]
    pixels = pixels_of(offsets)

    def record(name, values, leaves):
        up = [torch.rand_like(v) for v in values]
        for i, v in enumerate(values):
            out[f"{name}_{i}"] = v.detach()
        for i, g in enumerate(torch.autograd.grad(values, leaves, up, retain_graph=True)):
            out[f"{name}_grad_{i}"] = g

    record("fragments", mesh_fragments(soft.triangles, soft.mode, pixels, index), [verts])
    record("silhouette", [soft_silhouette(soft.triangles, soft.mode, offsets, index, 1e-3)], [verts])
    record_shading(record, soft, verts, offsets, index)
    offsets, index = chosen["point_offsets"], chosen["point_index"]
    record("points", point_fragments(points, SIZE, offsets, index), [points])
    alphas, features = torch.rand(len(index), requires_grad=True), torch.rand(len(points), 5, requires_grad=True)
    for mode in ("alpha", "norm", "sum"):
        record(f"composite_{mode}", [composite(offsets, index, alphas, features, mode)], [alphas, features])
    march_volumes, ray_leaves = marched()
    record("march", [march_volumes], ray_leaves)
    layout = HashGridLayout(4, 2, 9, 4, 60)
    places, table = torch.rand(200, 3, requires_grad=True), torch.rand(layout.n_rows, 2, requires_grad=True)
    record("hash_grid", [hash_encode(places, table, layout)], [places, table])
    offsets = torch.tensor([0, 80, 80, 200], dtype=torch.int32)
    opacities, colors = torch.rand(200, requires_grad=True), torch.rand(200, 3, requires_grad=True)
    record("emission_absorption", [emission_absorption(offsets, opacities, colors)], [opacities, colors])
    record_splats(record)
    out["visible"] = count_visible(offsets, opacities.detach(), 0.01)
    out |= occupied_samples()
    return out


def record_splats(record) -> None:
    """Values and gradients of Gaussians: projected, coloured, drawn."""
    from splat_cases import flat, views, world

    from tirender.engine.composite_gaussians import Canvas, composite_gaussians
    from tirender.engine.project_gaussians import Projection, project_gaussians
    from tirender.engine.spherical_harmonics import view_colors

    scene, (viewmats, intrinsics) = world(2000, size=0.05), views(2, SIZE[1], SIZE[0])
    given = [scene[k].requires_grad_() for k in ("means", "quats", "scales")]
    viewmats.requires_grad_()
    for model in ("pinhole", "ortho", "fisheye"):
        projection = Projection(SIZE[1], SIZE[0], model)
        *projected, radii = project_gaussians(*given, scene["opacities"], viewmats, intrinsics, projection)
        record(f"project_{model}", projected, [*given, viewmats])
        if model == "pinhole":
            means2d, depths, conics, _ = (v.detach().requires_grad_() for v in projected)
            drawn = radii
    centres, coefficients = torch.rand(2, 3, requires_grad=True), torch.randn(2000, 25, 3, requires_grad=True)
    colors = view_colors(given[0], centres, coefficients, 4, drawn)
    record("harmonics", [colors], [given[0], centres, coefficients])
    colors, opacities = colors.detach().requires_grad_(), scene["opacities"].expand(2, -1).clone().requires_grad_()
    background = torch.rand(2, 3, requires_grad=True)
    gaussians = flat(means2d, conics, colors, opacities, depths, drawn)
    images = composite_gaussians(gaussians, background, Canvas(*SIZE, 2), means2d)
    record("splats", images, [means2d, conics, colors, opacities, background])


def record_shading(record, soft, verts, offsets, index) -> None:
    """Values and gradients of the shading kernels, with vertex colours and with a texture map."""
    from tirender.engine.kernels.lighting import N_PARAMS, POINT, SHININESS, ZFAR, ZNEAR
    from tirender.engine.mesh_shading import ShadingMode, SurfaceSource, TextureSource, padding_code, shade_mesh

    faces, n = soft.triangles.faces, len(verts)
    positions, normals, colors, uv, texels, params = (
        torch.rand(*shape, requires_grad=True) for shape in ((n, 3), (n, 3), (n, 3), (n, 2), (6 * 5, 3), (2, N_PARAMS))
    )
    with torch.no_grad():
        params[:, SHININESS] *= 20
        params[:, ZNEAR], params[:, ZFAR] = 1.0, 10.0
    layout = torch.tensor([[0, 6, 5, padding_code("reflection", "repeat")]], dtype=torch.int32)
    zero = torch.zeros(len(faces), dtype=torch.int32)
    sources = {
        "vertex": (TextureSource("vertex", colors, faces), colors),
        "bilinear": (TextureSource("bilinear", uv, faces, texels, layout, zero, False), texels),
    }
    for kind, (source, leaf) in sources.items():
        image = shade_mesh(
            soft.triangles,
            soft.mode,
            offsets,
            index,
            SurfaceSource(positions, normals, faces),
            source,
            params,
            ShadingMode(POINT, True, 1e-3, 1e-2),
        )
        record(f"shading_{kind}", [image], [verts, positions, normals, leaf, params])


def pixels_of(offsets: torch.Tensor) -> torch.Tensor:
    """The pixel of each fragment, int32."""
    return torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff().long()).int()


def main(arch: str, selection_file: str, output_file: str) -> None:
    import tirender

    tirender.init(arch)
    with np.load(selection_file) as data:
        selection = {k: torch.from_numpy(data[k]) for k in data.files}
    np.savez(output_file, **{k: v.numpy() for k, v in outputs(selection).items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
