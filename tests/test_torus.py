"""Tori."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.utils import torus

REFERENCE = Path(__file__).parent / "data" / "reference"


def test_same_as_pytorch3d():
    with np.load(REFERENCE / "structures" / "meshes.npz") as data:
        verts, faces = torch.from_numpy(data["in_verts1"]), torch.from_numpy(data["in_faces1"])
    mesh = torus(r=0.3, R=0.8, sides=12, rings=16)
    assert torch.equal(mesh.faces_packed(), faces)
    torch.testing.assert_close(mesh.verts_packed(), verts, rtol=0, atol=1e-7)


def test_encloses_its_volume():
    mesh = torus(0.5, 2.0, sides=60, rings=120)
    corners = mesh.verts_packed()[mesh.faces_packed()]
    volume = torch.linalg.det(corners).sum() / 6  # positive if the faces point outwards
    torch.testing.assert_close(volume, torch.tensor(2 * math.pi**2 * 2.0 * 0.5**2), rtol=5e-3, atol=0)
    assert len(mesh.verts_packed()) - len(mesh.edges_packed()) + len(mesh.faces_packed()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 5, 5), "r: expected a positive radius, got 0"),
        ((1, -1, 5, 5), "R: expected a positive radius, got -1"),
        ((1, 2, 2, 5), "sides: expected an integer of 3 or more, got 2"),
        ((1, 2, 5, 2.5), "rings: expected an integer of 3 or more, got 2.5"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        torus(*arguments)
