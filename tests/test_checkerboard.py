"""The checkerboard."""

import pytest
import torch

from tirender.utils import checkerboard


def test_squares_alternate():
    red, blue = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
    board = checkerboard(2, red, blue)
    corners = board.verts_packed()[board.faces_packed()]
    assert corners.shape == (2 * 16, 3, 3)
    assert corners[..., :2].amin() == -2
    assert corners[..., :2].amax() == 2
    squares = ((corners.amin(1) + corners.amax(1)) / 2 + 1.5)[:, :2]
    assert len(squares.unique(dim=0)) == 16
    expected = torch.tensor([red, blue])[squares.sum(1).long() % 2]
    assert torch.equal(board.textures.atlas_packed()[:, 0, 0], expected)
    torch.testing.assert_close(board.faces_areas_packed(), torch.full((32,), 0.5))
    assert torch.equal(board.faces_normals_packed(), torch.tensor([[0.0, 0, 1]]).expand(32, 3))


def test_defaults():
    board = checkerboard()
    assert len(board.faces_packed()) == 2 * 8 * 8
    assert board.textures.atlas_packed()[0].flatten().tolist() == [0, 0, 0]


def test_refuses():
    with pytest.raises(ValueError, match="radius: expected an integer of 1 or more, got 0"):
        checkerboard(0)
    with pytest.raises(ValueError, match="color2: expected 3 channels as in color1, got 1"):
        checkerboard(color2=(1.0,))
