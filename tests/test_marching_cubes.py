"""Marching cubes: closed, oriented, in place, differentiable."""

import pytest
import torch

from tirender.ops.marching_cubes import marching_cubes
from tirender.ops.marching_cubes_table import EDGES, triangle_table


def surface(volume, isolevel=None, local=False):
    verts, faces = marching_cubes(volume[None], isolevel, return_local_coords=local)
    return verts[0], faces[0]


def directed_edges(faces):
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def enclosed_volume(verts, faces):
    a, b, c = verts[faces].unbind(1)
    return (a * torch.linalg.cross(b, c)).sum().item() / 6


def distance_to_origin(*shape, dtype=torch.float32):
    axes = [torch.linspace(-1, 1, n, dtype=dtype) for n in shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return (x * x + y * y + z * z).sqrt()


def corners(edge):
    axis, lower = EDGES[edge]
    return lower, lower | 1 << axis


def test_table_separates_low_from_high_corners():
    triangles, offsets = triangle_table()
    assert offsets[1] == 0
    assert offsets[-1] == offsets[-2] == len(triangles)
    for case in range(256):
        crossed = {e for e in range(12) if len({case >> c & 1 for c in corners(e)}) == 2}
        rows = triangles[offsets[case] : offsets[case + 1]]
        assert set(rows.reshape(-1).tolist()) == crossed
        # within the cube every line is met from both sides, on its surface once
        lines = [tuple(line) for line in directed_edges(rows).tolist()]
        assert len(set(lines)) == len(lines)
        outer = [line for line in lines if line[::-1] not in lines]
        assert all(any(on_side(a, side) and on_side(b, side) for side in range(6)) for a, b in outer)


def on_side(edge, side):
    return all((c >> side // 2 & 1) == side % 2 for c in corners(edge))


def test_one_low_corner():
    """PyTorch3D's first case: the face looks towards the high corners."""
    volume = torch.ones(2, 2, 2)
    volume[0, 0, 0] = 0
    verts, faces = surface(volume)
    assert verts[faces[0]].tolist() == [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    verts, _ = surface(volume, local=True)
    assert verts.tolist() == [[0, -1, -1], [-1, 0, -1], [-1, -1, 0]]


def test_axes():
    """Volumes are (z, y, x); vertices (x, y, z)."""
    volume = torch.zeros(4, 5, 6)
    volume[1, 2, 3] = 1
    verts, faces = surface(volume, 0.25)
    assert sorted(verts.tolist()) == sorted(
        [[2.25, 2, 1], [3.75, 2, 1], [3, 1.25, 1], [3, 2.75, 1], [3, 2, 0.25], [3, 2, 1.75]]
    )
    assert len(faces) == 8
    assert enclosed_volume(verts - torch.tensor([3.0, 2, 1]), faces) == pytest.approx(-4 / 3 * 0.75**3)
    local, _ = surface(volume, 0.25, local=True)
    torch.testing.assert_close(local, 2 * verts / torch.tensor([5.0, 4, 3]) - 1)


@pytest.mark.parametrize("isolevel", [0.3, 0.7])
@pytest.mark.parametrize("border", [0.0, 1.0])
def test_closed_whatever_the_volume(isolevel, border):
    """All 256 cases occur; each edge belongs to two faces, which run along it in opposite directions."""
    volume = torch.full((16, 18, 20), border)
    volume[1:-1, 1:-1, 1:-1] = torch.rand(14, 16, 18)
    verts, faces = surface(volume, isolevel)
    edges = [tuple(edge) for edge in directed_edges(faces).tolist()]
    assert len(set(edges)) == len(edges)
    assert {edge[::-1] for edge in edges} == set(edges)
    assert faces.unique().tolist() == list(range(len(verts)))
    assert verts.isfinite().all()


def test_sphere():
    volume = distance_to_origin(40, 50, 30)
    verts, faces = surface(volume, 0.6, local=True)
    torch.testing.assert_close(verts.norm(dim=1), torch.full((len(verts),), 0.6), atol=2e-3, rtol=0)
    assert enclosed_volume(verts, faces) == pytest.approx(4 / 3 * torch.pi * 0.6**3, rel=0.01)
    assert len(verts) - len(faces) / 2 == 2  # Euler's formula


def test_batch_and_default_level():
    volumes = torch.stack([distance_to_origin(9, 9, 9), 5 * distance_to_origin(9, 9, 9), torch.zeros(9, 9, 9)])
    verts, faces = marching_cubes(volumes)
    torch.testing.assert_close(verts[0], verts[1])
    assert torch.equal(faces[0], faces[1])
    assert verts[2].shape == faces[2].shape == (0, 3)
    assert faces[2].dtype == torch.int64
    torch.testing.assert_close(verts[0], surface(volumes[0], 3**0.5 / 2, local=True)[0])


def test_strided():
    volume = torch.rand(6, 5, 4)
    strided = volume.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert all(torch.equal(a, b) for a, b in zip(surface(volume, 0.5), surface(strided, 0.5)))


def test_gradcheck():
    volume = torch.rand(4, 3, 5, dtype=torch.float64)
    volume = (volume + 0.1 * (volume > 0.5)).requires_grad_()  # no value near the level
    assert torch.autograd.gradcheck(lambda v: surface(v, 0.55)[0], volume)


def test_grid_points_on_the_level():
    volume = torch.zeros(5, 5, 5)
    volume[2, 2, 2] = 1
    volume[1, 1, 1] = -1
    for level in (0.0, 1.0):
        verts, faces = surface(volume.requires_grad_(), level)
        edges = [tuple(edge) for edge in directed_edges(faces).tolist()]
        assert verts.isfinite().all()
        assert {edge[::-1] for edge in edges} == set(edges)
        assert torch.autograd.grad(verts.sum(), volume)[0].isfinite().all()


@pytest.mark.parametrize("shape", [(0, 4, 4, 4), (2, 1, 4, 4), (2, 4, 4, 0)])
def test_no_cells(shape):
    verts, faces = marching_cubes(torch.rand(shape))
    assert len(verts) == len(faces) == shape[0]
    assert all(v.shape == f.shape == (0, 3) for v, f in zip(verts, faces))


def test_refuses():
    with pytest.raises(ValueError, match=r"vol_batch: expected shape \(N, D, H, W\), got \(4, 4, 4\)"):
        marching_cubes(torch.rand(4, 4, 4))
    with pytest.raises(ValueError, match="vol_batch: expected float32 or float64, got torch.int64"):
        marching_cubes(torch.zeros(1, 4, 4, 4, dtype=torch.int64))
    volume = torch.zeros(1, 4, 4, 4)
    volume[0, 1, 1, 1] = torch.nan
    with pytest.raises(ValueError, match="vol_batch: expected finite values next to the surface, got nan or inf"):
        marching_cubes(volume, 0.5)
    with pytest.raises(ValueError, match="vol_batch: expected finite values, as isolevel is None, got nan or inf"):
        marching_cubes(volume)
    with pytest.raises(ValueError, match="isolevel: expected a number, got nan"):
        marching_cubes(torch.rand(1, 4, 4, 4), float("nan"))
