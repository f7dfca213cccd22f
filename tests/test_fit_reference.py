"""The first steps of the tutorials' fits follow PyTorch3D's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.fit import DeformedMesh, SilhouetteConfig, normalized, render_views
from tirender.fit.rendering import silhouette_renderer
from tirender.fit.shape import shape_losses
from tirender.io import load_objs_as_meshes
from tirender.structures import Meshes
from tirender.utils import ico_sphere

CURVES = json.loads((Path(__file__).parent / "data" / "reference" / "curves.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def cow(tutorial_data: Path) -> Meshes:
    return normalized(load_objs_as_meshes([tutorial_data / "cow_mesh" / "cow.obj"]))[0]


@pytest.mark.parametrize("batched", [False, True])
def test_25_steps_of_the_silhouette_fit(cow: Meshes, batched: bool) -> None:
    views = render_views(cow)
    config = SilhouetteConfig()
    module = DeformedMesh(ico_sphere(config.level))
    optimizer = config.make_optimizer(module)
    render = silhouette_renderer(views.image_size, config)
    random = np.random.RandomState(0)
    curve = []
    for _ in CURVES["t4a"]["curve"]:
        chosen = random.permutation(20)[:2].tolist()
        optimizer.zero_grad()
        mesh = module()
        if batched:
            silhouettes = render(mesh.extend(2), cameras=views.cameras[chosen])[..., 3]
        else:
            silhouettes = torch.cat([render(mesh, cameras=views.cameras[i])[..., 3] for i in chosen])
        losses = {"silhouette": (silhouettes - views.silhouettes[chosen]).square().mean(), **shape_losses(mesh)}
        total = torch.stack([config.weights[name] * loss for name, loss in losses.items()]).sum()
        total.backward()
        optimizer.step()
        curve.append(float(total.detach()))
    np.testing.assert_allclose(curve, CURVES["t4a"]["curve"], rtol=0.01)
