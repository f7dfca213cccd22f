"""Features at vertices, against bilinear interpolation by hand."""

import pytest
import torch

from tirender.ops.vert_align import vert_align
from tirender.structures import Meshes, Pointclouds

RAMP = torch.stack([torch.arange(4.0).expand(3, 4), 10 * torch.arange(3.0)[:, None].expand(3, 4)])[None]  # x and 10 y


def test_ramp():
    verts = torch.tensor([[[-1.0, -1, 7], [1, 1, 7], [0, 0, 7], [-1 / 3, 0.5, 7], [3, 0, 7]]])
    sampled = vert_align(RAMP, verts)
    expected = torch.tensor([[[0.0, 0], [3, 20], [1.5, 10], [1, 15], [0, 0]]])
    torch.testing.assert_close(sampled, expected)
    assert vert_align(RAMP, verts, padding_mode="border")[0, 4].tolist() == [3, 10]
    assert vert_align(RAMP, verts[:, 3:4, :2] + 0.01, interp_mode="nearest").tolist() == [[[1, 20]]]
    edges = vert_align(RAMP, torch.tensor([[[-0.75, -2 / 3]]]), align_corners=False)
    torch.testing.assert_close(edges, torch.zeros(1, 1, 2), atol=1e-6, rtol=0)


def test_several_maps_and_packed():
    verts = [torch.rand(3, 3), torch.rand(5, 3)]
    maps = [torch.rand(2, 2, 6, 5), torch.rand(2, 4, 3, 3)]
    faces = [torch.tensor([[0, 1, 2]])] * 2
    meshes, clouds = Meshes(verts, faces), Pointclouds(verts)
    padded = vert_align(maps, meshes)
    assert padded.shape == (2, 5, 6)
    torch.testing.assert_close(padded[..., 2:], vert_align(maps[1], meshes.verts_padded()))
    for structure in (meshes, clouds):
        packed = vert_align(maps, structure, return_packed=True)
        assert torch.equal(packed, torch.cat([padded[0, :3], padded[1]]))


def test_gradcheck():
    maps = torch.rand(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    verts = (torch.rand(2, 5, 3, dtype=torch.float64) * 1.8 - 0.9).requires_grad_()
    assert torch.autograd.gradcheck(vert_align, (maps, verts))


def test_refuses():
    verts = torch.rand(1, 2, 3)
    with pytest.raises(ValueError, match=r"feats\[0\]: expected shape \(1, C, H, W\), got \(2, 4, 3\)"):
        vert_align(torch.zeros(2, 4, 3), verts)
    with pytest.raises(ValueError, match=r"feats\[1\]: expected shape \(1, C, H, W\), got \(2, 2, 3, 4\)"):
        vert_align([RAMP, RAMP.repeat(2, 1, 1, 1)], verts)
    with pytest.raises(ValueError, match=r"verts: expected shape \(N, V, 2 or more\), got \(2, 3\)"):
        vert_align(RAMP, verts[0])
    with pytest.raises(TypeError, match="verts: expected a tensor, Meshes or Pointclouds, got str"):
        vert_align(RAMP, "verts")
    with pytest.raises(ValueError, match="interp_mode: expected 'bilinear' or 'nearest', got 'cubic'"):
        vert_align(RAMP, verts, interp_mode="cubic")
