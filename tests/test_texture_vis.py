from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from tirender.renderer.mesh.textures import TexturesUV, TexturesVertex
from tirender.vis.texture_vis import texturesuv_image_matplotlib, texturesuv_image_PIL


def textures(**options):
    grey = torch.full((2, 9, 17, 3), 0.5)
    uvs = torch.tensor([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0], [0.25, 1.0]]).expand(2, 4, 2)
    return TexturesUV(grey, torch.tensor([[[0, 1, 2], [1, 2, 3]]]).expand(2, 2, 3), uvs, **options)


def test_pil_draws_the_vertices_where_they_are():
    picture = np.asarray(texturesuv_image_PIL(textures(), texture_index=1, radius=1))
    assert picture.shape == (9, 17, 3)
    red = (picture == (255, 0, 0)).all(-1)
    assert all(red[y, x] for y, x in [(8, 0), (4, 8), (0, 16), (0, 4)])
    assert 4 < red.sum() < 4 * 9
    assert (picture[2, 2] == 128).all()


@pytest.mark.parametrize(("subsample", "drawn"), [(None, 4), (2, 2), (10000, 4)])
@pytest.mark.parametrize("origin", ["upper", "lower"])
def test_matplotlib(subsample, drawn, origin):
    figure = plt.figure()
    texturesuv_image_matplotlib(textures(), subsample=subsample, radius=2, color="blue", origin=origin)
    (axes,) = figure.axes
    assert axes.images[0].get_array().shape == (9, 17, 3)
    assert axes.images[0].origin == origin
    circles = axes.collections[0].get_paths()
    assert len(circles) == drawn
    centre = circles[0].get_extents()
    assert (centre.x0 + centre.x1, centre.y0 + centre.y1) == pytest.approx((0, 16))
    plt.close(figure)


def test_values_outside_the_range_are_clipped():
    wild = TexturesUV([torch.tensor([[[-1.0, 2.0, 0.5]]])], [torch.zeros(0, 3).long()], [torch.zeros(0, 2)])
    assert np.asarray(texturesuv_image_PIL(wild))[0, 0].tolist() == [0, 255, 128]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: texturesuv_image_PIL(TexturesVertex(torch.zeros(1, 2, 3))),
            "texture: expected TexturesUV, got Textures",
        ),
        (lambda: texturesuv_image_PIL(textures(), texture_index=2), "texture_index: expected 0 to 1, got 2"),
        (lambda: texturesuv_image_PIL(textures(), subsample=0), "subsample: expected a number above 0, or None, got 0"),
        (lambda: texturesuv_image_matplotlib(textures(), origin="left"), "origin: expected 'upper' or 'lower'"),
        (
            lambda: texturesuv_image_PIL(
                TexturesUV([torch.zeros(1, 1, 2)], [torch.zeros(0, 3).long()], [torch.zeros(0, 2)])
            ),
            "texture: expected maps of 1, 3 or 4 channels, got 2",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
