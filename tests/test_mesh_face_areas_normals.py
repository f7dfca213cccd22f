"""Areas and normals of faces given as packed tensors."""

import pytest
import torch

from tirender.ops.mesh_face_areas_normals import mesh_face_areas_normals

VERTS = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 1]], dtype=torch.float64)
FACES = torch.tensor([[0, 1, 2], [0, 3, 1], [2, 2, 1]])


def test_values():
    areas, normals = mesh_face_areas_normals(VERTS, FACES)
    assert areas.tolist() == [3, 1, 0]
    assert normals.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_gradients():
    verts = VERTS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: mesh_face_areas_normals(v, FACES[:2]), verts)
    areas, normals = mesh_face_areas_normals(verts, FACES)
    assert torch.autograd.grad(areas.sum() + normals.sum(), verts)[0].isfinite().all()


def test_empty():
    areas, normals = mesh_face_areas_normals(VERTS, FACES[:0])
    assert areas.shape == (0,)
    assert normals.shape == (0, 3)


def test_refuses():
    with pytest.raises(ValueError, match=r"verts: expected shape \(V, 3\), got \(4, 2\)"):
        mesh_face_areas_normals(VERTS[:, :2], FACES)
    with pytest.raises(ValueError, match="faces: expected int32 or int64, got torch.float64"):
        mesh_face_areas_normals(VERTS, FACES.double())
    with pytest.raises(ValueError, match="expected vertex indices from 0 to 3, got 9 in face 1"):
        mesh_face_areas_normals(VERTS, torch.tensor([[0, 1, 2], [0, 1, 9]]))
