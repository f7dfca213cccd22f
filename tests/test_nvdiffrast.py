"""nvdiffrast's anti-aliasing against a twin in torch, all of its functions together, and its name for tirender."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clip_scenes import SIZE, ball, check_alike, rasterize
from conftest import rounding
from reference.antialias import antialias as slow_antialias

import tirender.nvdiffrast.torch as dr
import tirender.renderer as r
from tirender.engine.edge_partners import edge_partners
from tirender.structures import Meshes
from tirender.utils import ico_sphere

# --- antialias ---


def in_ndc(pos: torch.Tensor) -> torch.Tensor:
    """(V, 3) with +X left and +Y up from the last row, as the twin of anti-aliasing has them."""
    short = min(SIZE)
    xy = pos[..., :2] / pos[..., 3:] * pos.new_tensor([-SIZE[1] / short, -SIZE[0] / short])
    return torch.nn.functional.pad(xy, (0, 1)).view(-1, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blended_outlines_match_the_twin(dtype, request):
    if dtype == torch.float64:
        request.getfixturevalue("needs_f64")
    pos, tri = ball(dtype)
    pos.requires_grad_()
    color = torch.rand(2, *SIZE, 3, dtype=dtype, requires_grad=True)
    rast, _ = rasterize(pos, tri)
    ours = dr.antialias(color, rast, pos, tri)
    assert (ours != color).any()
    faces = torch.cat([tri, tri + pos.shape[1]]).long()
    ids = rast[..., 3].long() - 1
    shown = torch.where(ids < 0, -1, ids + len(tri) * torch.arange(2)[:, None, None])
    theirs = slow_antialias(color, shown, rast[..., 2].detach(), faces, edge_partners(faces, None), in_ndc(pos))
    check_alike((ours,), (theirs,), (color, pos))


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck_of_outlines():
    pos, tri = ball(torch.float64, 1)
    color = torch.rand(1, *SIZE, 2, dtype=torch.float64, requires_grad=True)
    rast, _ = rasterize(pos, tri)
    edges = dr.antialias_construct_topology_hash(tri)

    def blend(color, pos):
        return dr.antialias(color, rast, pos, tri, edges)

    assert torch.autograd.gradcheck(blend, (color, pos.requires_grad_()), eps=1e-7, atol=1e-6)


def test_topology_ranges_and_boost():
    pos, tri = ball(n_images=1)
    pos.requires_grad_()
    rast, _ = rasterize(pos, tri)
    color = torch.rand(1, *SIZE, 3)
    edges = dr.antialias_construct_topology_hash(tri)
    plain = dr.antialias(color, rast, pos, tri)
    assert torch.equal(plain, dr.antialias(color, rast, pos, tri, topology_hash=edges))
    (grad,) = torch.autograd.grad(plain.square().sum(), pos)
    (boosted,) = torch.autograd.grad(dr.antialias(color, rast, pos, tri, edges, 3.0).square().sum(), pos)
    torch.testing.assert_close(boosted, 3 * grad)
    ranges = torch.tensor([[0, len(tri)], [0, len(tri)]], dtype=torch.int32)
    rast, _ = dr.rasterize(dr.RasterizeCudaContext(), pos[0], tri, SIZE, ranges=ranges)
    both = dr.antialias(color.expand(2, -1, -1, -1), rast, pos[0], tri)
    torch.testing.assert_close(both, plain.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="topology_hash: expected that of 79 triangles"):
        dr.antialias(color, rast[:1], pos[0], tri[1:], edges)

    with pytest.raises(ValueError, match="partners: expected indices of the 3 edges, got 3"):
        dr.TopologyHash(torch.tensor([[0, 1, 3]], dtype=torch.int32))


def test_outlines_are_those_of_the_renderer():
    """The silhouette of ``HardSilhouetteShader``, whose first row is at the top."""
    verts, faces = ico_sphere(2).get_mesh_verts_faces(0)
    verts = 0.8 * verts + torch.tensor([0.013, 0.017, 3.0])
    mesh = Meshes([verts], [faces])
    fragments = r.MeshRasterizer(r.FoVOrthographicCameras(), r.RasterizationSettings(24))(mesh)
    expected = r.HardSilhouetteShader()(fragments, mesh)[..., 3:]
    pos = torch.cat([-verts[:, :2], verts[:, 2:] / 10, torch.ones(len(verts), 1)], 1)[None]
    rast, _ = rasterize(pos, faces, (24, 24))
    mask = rast[..., 3:].clamp(0, 1)
    assert torch.equal(rast[..., 3].long() - 1, fragments.pix_to_face[..., 0])
    torch.testing.assert_close(dr.antialias(mask, rast, pos, faces), expected, rtol=0, atol=1e-5 * rounding())


def test_triangles_that_reach_behind_the_eye_have_outlines():
    """A wall from beside the camera to the distance: blended as its part in view is, which is cut beforehand."""
    depth = torch.tensor([-2.0, 8, 8, -2])
    x, y = torch.tensor([1.0, 1, 1, 1]), torch.tensor([-0.7, -0.7, 0.6, 0.6])
    tri = torch.tensor([[0, 1, 2], [0, 2, 3]])

    def clip(depth):
        return torch.stack([x, y, depth - 0.02, depth], 1)[None].requires_grad_()  # z / w = -1 at a depth of 0.01

    pictures = []
    for pos in (clip(depth), clip(depth.clamp(min=0.5))):
        rast, _ = rasterize(pos, tri)
        mask = rast[..., 3:].clamp(0, 1)
        out = dr.antialias(mask, rast, pos, tri)
        (grad,) = torch.autograd.grad(out.sum(), pos)
        assert grad.isfinite().all()
        assert grad.any()
        pictures.append(out)
    assert (pictures[0] != mask).any()
    torch.testing.assert_close(*pictures, rtol=0, atol=1e-4 * rounding())


def test_a_cube_from_within_has_no_outline():
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    sides = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    tri = torch.tensor([[side[0], *side[i : i + 2]] for side in sides for i in (1, 2)])
    z = corners[:, 2:] + 0.1
    pos = torch.cat([corners[:, :2], z - 0.05, z], 1)[None].requires_grad_()
    rast, _ = rasterize(pos, tri)
    assert (rast[..., 3] > 0).all()
    color = torch.rand(1, *SIZE, 3)
    out = dr.antialias(color, rast, pos, tri)
    torch.testing.assert_close(out, color)
    assert torch.autograd.grad(out.sum(), pos)[0].isfinite().all()


# --- all together ---


def test_from_vertices_to_a_textured_picture_and_back():
    """Repeats have the same bits on a CPU; what is strided, or used twice, is as what is not."""
    pos, tri = ball()
    uv, tex = torch.rand(1, pos.shape[1], 2), torch.rand(1, 16, 16, 3)
    leaves = [x.requires_grad_() for x in (pos, uv, tex)]

    def render(pos, uv, tex):
        rast, rast_db = rasterize(pos, tri)
        texc, texd = dr.interpolate(uv, rast, tri, rast_db, "all")
        color = dr.texture(tex, texc, texd, filter_mode="linear-mipmap-linear")
        return dr.antialias(torch.where(rast[..., 3:] > 0, color, 0), rast, pos, tri)

    runs = []
    for inputs in (leaves, leaves, [x.mT.contiguous().mT for x in leaves]):
        out = render(*inputs)
        runs.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
        assert all(x.isfinite().all() and x.any() for x in runs[-1])
    for a, b, c in zip(*runs, strict=True):
        if rounding() == 1:
            assert torch.equal(a, b)
            assert torch.equal(a, c)
        torch.testing.assert_close(a, c, rtol=1e-3, atol=1e-3 * float(a.detach().abs().max()))
    assert render(pos.double(), uv, tex).dtype == torch.float64 if rounding() == 1 else True


def test_pictures_without_pixels_or_channels():
    pos, tri = ball(n_images=1)
    rast, rast_db = rasterize(pos, tri)
    none = [
        dr.antialias(rast[:, :0], rast[:, :0], pos, tri),
        dr.antialias(rast[..., :0], rast, pos, tri),
        *dr.interpolate(pos[..., :0], rast, tri, rast_db, "all"),
        dr.texture(torch.zeros(1, 4, 4, 0), rast[..., :2], rast_db),
    ]
    height, width = SIZE
    assert [x.shape for x in none] == [(1, 0, width, 4), *4 * [(1, height, width, 0)]]


def test_what_is_made_by_hand_is_checked():
    uv = torch.zeros(2, 4, 4, 2)
    mip = dr.Mipmaps([torch.zeros(1, 2, 2, 3)], (2, 4, 4, 3))
    with pytest.raises(ValueError, match=r"mip\[0\]: expected shape \(2, 2, 2, 3\), got \(1, 2, 2, 3\)"):
        dr.texture(torch.zeros(2, 4, 4, 3), uv, mip_level_bias=uv[..., 0], mip=mip)
    pos, tri = ball(n_images=1)
    ranges = torch.full((1, 2), 2**62)
    with pytest.raises(ValueError, match="ranges: expected first triangles and counts within the 80 of tri"):
        dr.rasterize(dr.RasterizeCudaContext(), pos[0], tri, SIZE, ranges)


# --- the name ---

ROOT = Path(__file__).parent.parent


def run(code: str, cwd: Path, path: str = "") -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)]))}
    script = cwd / "program.py"
    script.write_text(code, "utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_install(tmp_path):
    code = """
import sys
import tirender.nvdiffrast
tirender.nvdiffrast.install()
path = [*sys.path]
tirender.nvdiffrast.install()
assert sys.path == path
import nvdiffrast
import nvdiffrast.torch as dr
from nvdiffrast.torch import DepthPeeler, antialias
import tirender.nvdiffrast.torch
assert dr is tirender.nvdiffrast.torch and dr.antialias is antialias
dr.set_log_level(0)
assert dr.get_log_level() == 0
print(nvdiffrast.__version__, dr.rasterize.__module__)
"""
    assert run(code, tmp_path) == "0.4.0 tirender.nvdiffrast.rasterization"
    site = str(ROOT / "tirender" / "nvdiffrast" / "site")
    assert run("import nvdiffrast.torch as dr; print(dr.__name__)", tmp_path, site) == "tirender.nvdiffrast.torch"


def test_install_after_nvdiffrast_itself(tmp_path):
    (tmp_path / "nvdiffrast").mkdir()
    (tmp_path / "nvdiffrast" / "__init__.py").write_text("", "utf-8")
    code = """
import nvdiffrast, tirender.nvdiffrast
try:
    tirender.nvdiffrast.install()
except ImportError as error:
    print(error)
"""
    assert run(code, tmp_path).startswith("nvdiffrast is already imported")
