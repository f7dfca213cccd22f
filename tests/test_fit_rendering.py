"""Fits to views: how soft edges are in the course of one, which views and learning rates it takes, its presets."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tirender import datasets
from tirender.cli import main
from tirender.fit import (
    DeformedMesh,
    ImageConfig,
    SilhouetteConfig,
    Views,
    fit_images,
    fit_silhouettes,
    normalized,
    render_views,
)
from tirender.fit import rendering as module
from tirender.fit.quality import image_psnr, silhouette_iou
from tirender.fit.rendering import BEST_IMAGES, BEST_SILHOUETTE, image_renderer, silhouette_renderer
from tirender.io import IO
from tirender.renderer import PointLights, TexturesVertex
from tirender.structures import Meshes
from tirender.utils import ico_sphere


@pytest.fixture
def views() -> Views:
    """Five of a coloured egg."""
    sphere = ico_sphere(2)
    egg = sphere.update_padded(sphere.verts_padded() * torch.tensor([0.8, 0.4, 0.4]))
    egg.textures = TexturesVertex(sphere.verts_padded() / 2 + 0.5)
    return render_views(egg, 5, 24)


def test_one_of_the_views_is_shown_however_few_there_are(views: Views) -> None:
    assert views.shown == 1
    assert views[:1].shown == 0


@pytest.mark.parametrize(("progress", "sigma"), [(0, 1e-4), (0.5, 1e-5), (1, 1e-6)])
def test_edges_sharpen_geometrically(progress: float, sigma: float) -> None:
    softness = SilhouetteConfig(sigma_final=1e-6).edge_settings((20, 30), progress)
    assert softness["blend_params"].sigma == pytest.approx(sigma)
    settings = softness["raster_settings"]
    assert settings.image_size == (20, 30)
    assert 1 / (1 + math.exp(settings.blur_radius / sigma)) == pytest.approx(1e-4)  # coverage at the blur's rim


def test_edges_stay_as_they_are_by_default() -> None:
    config = SilhouetteConfig()
    assert config.edge_settings((8, 8), 0) == config.edge_settings((8, 8), 1)


@pytest.mark.parametrize(
    "config", [SilhouetteConfig(), replace(BEST_SILHOUETTE, edges="soft"), ImageConfig(), BEST_SILHOUETTE, BEST_IMAGES]
)
def test_the_renderer_of_a_config_is_as_soft_as_its_last_step(config: SilhouetteConfig) -> None:
    sigma = config.sigma_final or config.sigma
    if isinstance(config, ImageConfig):
        renderer = image_renderer((8, 9), config, PointLights())
    else:
        renderer = silhouette_renderer((8, 9), config)
    assert renderer.shader.blend_params.sigma == pytest.approx(sigma)
    blur_radius = math.log(1e4 - 1) * sigma if config.edges == "soft" else 0
    assert renderer.rasterizer.raster_settings.blur_radius == pytest.approx(blur_radius)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views_per_step": 0}, "views_per_step: expected at least 1, got 0"),
        ({"sigma": 0.0}, "sigma: expected a finite number above 0, got 0.0"),
        ({"sigma_final": math.inf}, "sigma_final: expected a finite number above 0, got inf"),
        ({"optimizer": "lbfgs"}, "optimizer: expected "),
        ({"decay": 0.0}, r"decay: expected a number in \(0, 1\], got 0.0"),
        ({"texture": "atlas"}, "texture: expected "),
    ],
)
def test_settings_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageConfig(**settings)


@pytest.mark.parametrize(("config", "kind"), [(ImageConfig(), torch.optim.SGD), (BEST_IMAGES, torch.optim.Adam)])
def test_colours_have_a_learning_rate_of_their_own(config: ImageConfig, kind: type) -> None:
    source = ico_sphere(0)
    optimizer = config.make_optimizer(DeformedMesh(source, config.make_textures(source)), config.texture_rate)
    assert type(optimizer) is kind
    assert [group["lr"] for group in optimizer.param_groups] == [config.lr, config.lr_texture or config.lr]


def test_a_texture_map_learns_faster_by_default() -> None:
    assert ImageConfig(texture="uv", lr=0.5).texture_rate == 50
    assert ImageConfig(texture="uv", lr_texture=2.0).texture_rate == 2


def test_learning_rates_end_at_their_decayed_values(views: Views) -> None:
    config = replace(BEST_IMAGES, steps=4, level=1, progress=False)
    run = fit_images(views, config=config)
    rates = [group["lr"] for group in run.optimizer.param_groups]
    assert rates == pytest.approx([config.lr * config.decay, config.lr_texture * config.decay])


@pytest.mark.parametrize(("n", "seen"), [(2, 2), (5, 5), (99, 5)])
def test_a_step_takes_each_view_at_most_once(views: Views, monkeypatch: pytest.MonkeyPatch, n: int, seen: int) -> None:
    taken = []
    choose = module.choose_views
    monkeypatch.setattr(module, "choose_views", lambda *args: (taken.append(choose(*args)), taken[-1])[1])
    fit_silhouettes(views, config=SilhouetteConfig(steps=3, level=0, views_per_step=n, progress=False))
    assert [len(set(chosen.tolist())) for chosen, _ in taken] == [seen] * 3


@pytest.mark.parametrize(("kind", "best"), [("silhouette", BEST_SILHOUETTE), ("images", BEST_IMAGES)])
def test_the_command_takes_the_preset(tmp_path: Path, kind: str, best: SilhouetteConfig) -> None:
    mesh = str(datasets.creature())
    args = ["--views", "2", "--size", "16", "--steps", "2", "--level", "1", "-o", str(tmp_path)]
    assert main(["fit", kind, mesh, "--preset", "best", *args]) == 0
    settings = json.loads((tmp_path / "losses.json").read_text("utf-8"))["settings"]
    expected = {k: v for k, v in vars(best).items() if k not in ("steps", "level", "progress")}
    assert {k: settings[k] for k in expected} == expected


@pytest.fixture(params=["creature", "cow"])
def target(request: pytest.FixtureRequest) -> Meshes:
    path = (
        request.getfixturevalue("tutorial_data") / "cow_mesh/cow.obj" if request.param == "cow" else datasets.creature()
    )
    return normalized(IO().load_mesh(path))[0]


@pytest.mark.long
def test_the_best_silhouettes(target: Meshes) -> None:
    views, config = render_views(target), replace(BEST_SILHOUETTE, progress=False)
    fitted = fit_silhouettes(views, config=config).module()
    assert silhouette_iou(fitted, silhouette_renderer(views.image_size, config), views) >= 0.97


@pytest.mark.long
@pytest.mark.parametrize("texture", ["vertex", "uv"])
def test_the_best_images(target: Meshes, texture: str) -> None:
    views, config = render_views(target), replace(BEST_IMAGES, texture=texture, progress=False)
    fitted = fit_images(views, config=config).module()
    renderer = image_renderer(views.image_size, config, views.lights)
    half = torch.linspace(0, 360, 20)[1] / 2
    elev, azim = torch.linspace(0, 360, 20) + half, torch.linspace(-180, 180, 20) + half
    assert image_psnr(fitted, renderer, render_views(target, 20, elev=elev, azim=azim)) >= 24
    assert silhouette_iou(fitted, renderer, views) >= 0.97
