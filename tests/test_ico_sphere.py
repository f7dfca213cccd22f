"""Spheres."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.utils import ico_sphere

REFERENCE = Path(__file__).parent / "data" / "reference"


def test_same_as_pytorch3d():
    with np.load(REFERENCE / "mesh_render" / "HardPhongShader_vertex_point.npz") as data:
        verts, faces = torch.from_numpy(data["in_verts"]), torch.from_numpy(data["in_faces"])
    sphere = ico_sphere(2)
    assert torch.equal(sphere.faces_packed(), faces)
    torch.testing.assert_close(sphere.verts_packed(), verts, rtol=0, atol=1e-7)


@pytest.mark.parametrize("level", [0, 1, 3])
def test_is_a_closed_sphere_facing_outwards(level):
    sphere = ico_sphere(level)
    verts, faces = sphere.verts_packed(), sphere.faces_packed()
    assert verts.shape == (10 * 4**level + 2, 3)
    assert faces.shape == (20 * 4**level, 3)
    assert verts.dtype == torch.float32
    assert len(verts) - len(sphere.edges_packed()) + len(faces) == 2
    torch.testing.assert_close(verts.norm(dim=1), torch.ones(len(verts)), rtol=0, atol=1e-4)
    outward = (sphere.faces_normals_packed() * verts[faces].mean(1)).sum(1)
    assert (outward > 0.79).all()


@pytest.mark.parametrize("level", [-1, 1.5, None])
def test_refuses(level):
    with pytest.raises(ValueError, match="level: expected an integer of 0 or more, got"):
        ico_sphere(level)
