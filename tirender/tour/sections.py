"""The six tutorials: what each computes, its figures under the tutorials' numbers, and a few words on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from tirender import vis
from tirender.fit import (
    Figures,
    fit_images,
    fit_mesh,
    fit_nerf,
    fit_silhouettes,
    fit_volume,
    normalized,
    render_views_between,
    surface_chamfer,
)
from tirender.fit.quality import image_psnr, silhouette_iou, view_quality
from tirender.fit.rendering import image_renderer, silhouette_renderer
from tirender.io import IO, load_objs_as_meshes
from tirender.renderer import (
    AlphaCompositor,
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    PointsRasterizationSettings,
    PointsRasterizer,
    PointsRenderer,
    RasterizationSettings,
    SoftPhongShader,
    look_at_view_transform,
)
from tirender.scenes import CloudScene, FieldScene, VolumeScene
from tirender.scenes.base import Look, Scene, placement
from tirender.tour.results import Figure, Picture, Result, Work
from tirender.tour.stage import SKY, Stage
from tirender.utils import ico_sphere

N_VOLUME, N_NERF = 20, 15  # pictures in figures 12 and 13, in rows of
COLUMNS = 5


def section1(stage: Stage) -> Result:
    """Fit a mesh to a mesh."""
    name, config = stage.data.target_name, stage.config.mesh
    target = normalized(IO().load_mesh(stage.data.target, device=stage.device))[0]
    source = ico_sphere(config.level, stage.device)
    vis.plot_pointcloud(target, "target mesh")
    figure1 = [stage.save_plot("figure1_target", f"Points on the surface of the {name}")]
    vis.plot_pointcloud(source, "source mesh")
    figure1.insert(0, stage.save_plot("figure1_source", "Points on a sphere"))

    every = math.ceil(config.steps / 4)
    on_the_way = Figures(
        every, lambda run: vis.plot_pointcloud(run.module(), f"iter: {run.step}"), stage.folder / "figure2"
    )
    run, work = stage.fit(
        "mesh",
        config,
        lambda config, callbacks: fit_mesh(target, source, config, callbacks),
        lambda run: {"chamfer distance": f"{surface_chamfer(run.module(), target):.2e}"},
        [on_the_way],
    )
    figure2 = []
    for letter, step in zip("abcd", range(0, config.steps, every)):
        file = f"{stage.folder.name}/figure2/iter_{step:05d}.png"
        figure2.append(Picture(file, f"The sphere after {step} steps", f"({letter}) Predicted mesh of iter {step}"))
    losses = stage.save_losses("figure3_losses", run, "Curves of the chamfer, edge, normal and laplacian losses")
    film = stage.film("mesh")
    return Result(
        *(1, "Fit a mesh"),
        f"A sphere is pulled until points sampled from it lie where those of the {name} do. Chamfer distance pulls; "
        "edge lengths, normals and the Laplacian keep the surface smooth.",
        stage.save_cover(film, f"A grey sphere turns into the {name}"),
        (
            Figure(1, "Deform a source mesh to form a target mesh", tuple(figure1)),
            Figure(2, "Predicted mesh of different iteration", tuple(figure2)),
            Figure(3, "Training loss of each iteration", (losses,)),
            Figure(
                None, "The fit at work", (stage.save_film("film", film, f"A grey sphere slowly becomes the {name}"),)
            ),
        ),
        (work,),
    )


def section2(stage: Stage) -> Result:
    """Render a textured mesh."""
    name, size, work = stage.data.subject, stage.config.picture_size, list[Work]()
    mesh = load_objs_as_meshes([stage.data.mesh], device=stage.device)
    texture = stage.save_pil(
        "figure4_texture",
        vis.texturesuv_image_PIL(mesh.textures, subsample=None),
        f"The texture map of the {name}, with the vertices' places in it as red dots",
    )
    R, T = look_at_view_transform(dist=2.7, elev=0, azim=180)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=stage.device)
    renderer = MeshRenderer(
        MeshRasterizer(cameras, RasterizationSettings(image_size=size)),
        SoftPhongShader(stage.device, cameras, PointLights(location=[[0.0, 0.0, -3.0]], device=stage.device)),
    )
    with stage.timed("render 22 pictures", work), torch.no_grad():
        in_front = renderer(mesh)[0, ..., :3]
        behind = renderer(mesh, lights=PointLights(location=[[0.0, 0.0, 3.0]], device=stage.device))[0, ..., :3]
        R, T = look_at_view_transform(dist=2.7, elev=torch.linspace(0, 180, 20), azim=torch.linspace(-180, 180, 20))
        around = FoVPerspectiveCameras(R=R, T=T, device=stage.device)
        settings = RasterizationSettings(image_size=math.ceil(size / 2))
        batch = renderer(mesh.extend(20), cameras=around, raster_settings=settings)[..., :3]
    lit = (
        stage.save_image(
            "figure5a_light_in_front",
            in_front,
            f"The {name} from the front, brightly lit",
            f"(a) The light point is in front of the {name}",
        ),
        stage.save_image(
            "figure5b_light_behind",
            behind,
            f"The {name} from the front, in its own shadow",
            f"(b) The light point is behind the {name}",
        ),
    )
    grid = stage.save_grid("figure6_batch", batch, 5, f"The {name} from 20 sides, and upside down behind the poles")
    return Result(
        *(2, "Render textured meshes"),
        f"The {name} with its texture under a point light, and 20 cameras in one call.",
        stage.save_cover([in_front], f"The {name}, textured and lit"),
        (
            Figure(4, f"Mesh texture: {name}", (texture,)),
            Figure(5, "Render the mesh", lit),
            Figure(6, f"Batched rendering: {name}", (grid,)),
        ),
        tuple(work),
    )


def section3(stage: Stage) -> Result:
    """Render a coloured point cloud."""
    name, work = stage.data.cloud_name, list[Work]()
    cloud = IO().load_pointcloud(stage.data.cloud, device=stage.device)
    centre, radius = placement(cloud.points_packed(), name)
    cloud = cloud.offset(-centre.expand(len(cloud.points_packed()), 3)).scale(1 / radius)
    elev, azim = (28, 170) if name == "harbour" else (10, 0)
    R, T = look_at_view_transform(20, elev, azim)
    cameras = FoVOrthographicCameras(R=R, T=T, znear=0.01, device=stage.device)
    size = stage.config.picture_size
    settings = PointsRasterizationSettings(image_size=size, radius=stage.config.point_radius, points_per_pixel=10)
    rasterizer = PointsRasterizer(cameras, settings)
    with stage.timed("render 2 pictures", work), torch.no_grad():
        black = PointsRenderer(rasterizer, AlphaCompositor())(cloud)[0, ..., :3]
        blue = PointsRenderer(rasterizer, AlphaCompositor(background_color=(0, 0, 1)))(cloud)[0, ..., :3]
    pictures = (
        stage.save_image("figure7a_black", black, f"The {name}, a point cloud, on black", "on black"),
        stage.save_image("figure7b_blue", blue, f"The {name}, a point cloud, on blue", "on blue"),
    )
    R, T = look_at_view_transform(2.4, elev - 6, azim)
    view = FoVPerspectiveCameras(R=R, T=T, fov=45.0, device=stage.device)
    cover = CloudScene(cloud).render(view, Look((stage.config.cover_size,) * 2, background=SKY))
    return Result(
        *(3, "Render color pointclouds"),
        f"{len(cloud.points_packed()):,} coloured points, composited front to back.",
        stage.save_cover(cover, f"The {name}: a point cloud"),
        (Figure(7, "Render the point cloud", pictures),),
        tuple(work),
        stage.data.note,
    )


def section4(stage: Stage) -> Result:
    """Fit a mesh to silhouettes, then to images."""
    name, config = stage.data.subject, stage.config
    views = stage.views(config.n_views)
    images: Any = views.images
    columns = min(COLUMNS, len(views))
    data = (
        stage.save_grid("figure8_images", images, columns, f"Views of the {name}", "images"),
        stage.save_grid(
            "figure8_silhouettes",
            views.silhouettes[..., None].expand_as(images),
            columns,
            f"White silhouettes of the {name} on black",
            "silhouettes",
        ),
    )
    of_silhouettes = silhouette_renderer(views.image_size, config.silhouette)
    first, first_work = stage.fit(
        "silhouette",
        config.silhouette,
        lambda config, callbacks: fit_silhouettes(views, config=config, callbacks=callbacks),
        lambda run: {"silhouette IoU": f"{silhouette_iou(run.module(), of_silhouettes, views):.3f}"},
    )
    of_images = image_renderer(views.image_size, config.images, views.lights)
    second, second_work = stage.fit(
        "images",
        config.images,
        lambda config, callbacks: fit_images(views, config=config, callbacks=callbacks),
        lambda run: {
            "silhouette IoU": f"{silhouette_iou(run.module(), of_images, views):.3f}",
            "PSNR": f"{image_psnr(run.module(), of_images, views):.1f} dB",
        },
    )
    of_images.rasterizer.cameras = of_images.shader.cameras = views.cameras[views.shown]
    vis.visualize_prediction(second.module(), of_images, images[views.shown])
    prediction = stage.save_plot("figure10_prediction", f"The fitted mesh, left, beside the {name}, right")
    films = [stage.film(kind) for kind in ("silhouette", "images")]
    return Result(
        *(4, "Fit a mesh via rendering"),
        f"A sphere becomes the {name} by looks alone: first from silhouettes, then from images, which give colours at "
        "its vertices too. The cameras are known, the mesh is not.",
        stage.save_cover(films[1], f"A sphere turns into the {name}, and takes its colours"),
        (
            Figure(8, "Dataset creation", data),
            Figure(
                9, "Silhouette training loss", (stage.save_losses("figure9_losses", first, "Curves of the losses"),)
            ),
            Figure(10, "Predicted and target mesh", (prediction,)),
            Figure(
                11,
                "Predicted and target mesh: training loss",
                (stage.save_losses("figure11_losses", second, "Curves of the losses, that of colours among them"),),
            ),
            Figure(
                None,
                "The fits at work",
                (
                    stage.save_film("film_silhouette", films[0], "The silhouette of a sphere changes", "silhouettes"),
                    stage.save_film("film_images", films[1], "A sphere changes its shape and colours", "images"),
                ),
            ),
        ),
        (first_work, second_work),
    )


def section5(stage: Stage) -> Result:
    """Fit a volume."""
    config = stage.config.volume

    def scene(run: Any, step: float) -> Scene:
        return VolumeScene(run.module.volumes().detach(), step=step, place=False)

    return _radiance(
        stage,
        *(5, "Fit a volume via raymarching", "volume", config, fit_volume, scene),
        f"{config.volume_size}³ voxels, each with an opacity and a colour, until all views along rays through them "
        f"look like the {stage.data.subject}.",
        ("figure12_volume", Figure(12, "Predicted volume from different viewpoints", ()), N_VOLUME),
    )


def section6(stage: Stage) -> Result:
    """Fit a radiance field."""
    config = stage.config.nerf

    def scene(run: Any, step: float) -> Scene:
        return FieldScene(run.module.field, config.extent, step)

    field = "a hash grid and a small network" if config.field == "hashgrid" else "a network"
    return _radiance(
        stage,
        *(6, "Fit a simple Neural Radiance Field via raymarching", "nerf", config, fit_nerf, scene),
        f"Opacity and colour anywhere in space, by {field} that random rays through the views have taught.",
        ("figure13_nerf", Figure(13, "Predicted NeRF from different viewpoints", ()), N_NERF),
    )


def _radiance(
    stage: Stage,
    number: int,
    title: str,
    kind: str,
    config: Any,
    fit: Callable[..., Any],
    scene_of: Callable[[Any, float], Scene],
    text: str,
    numbered: tuple[str, Figure, int],
) -> Result:
    """What sections 5 and 6 share: 40 views, others to compare with, a way around what was fitted."""
    name, settings = stage.data.subject, stage.config
    views = stage.views(settings.n_views_radiance)
    unseen = render_views_between(stage.target, len(views), image_size=settings.view_size)

    def quality(run: Any) -> dict[str, str]:
        values = view_quality(run.module, unseen)
        return {"PSNR": f"{values['psnr']:.1f} dB", "SSIM": f"{values['ssim']:.3f}"}

    run, work = stage.fit(kind, config, lambda config, callbacks: fit(views, config, callbacks), quality)
    near, far = config.depths(views.cameras)
    scene = scene_of(run, (far - near) / max(config.n_pts_per_ray - 1, 1))
    around = stage.turntable(scene, settings.n_frames, settings.turntable_size)
    file, figure, n_pictures = numbered
    grid = stage.turntable(scene, n_pictures, settings.view_size)
    with torch.no_grad():
        vis.compare_view(run.module(unseen.cameras[0])[0], unseen.on_black[0], unseen.silhouettes[0])
    compared = stage.save_plot("unseen_view", f"The {kind}'s picture of the {name}, and the true one, with silhouettes")
    seen = f"The {name} as the fitted {kind} shows it"
    return Result(
        *(number, title, text),
        stage.save_cover(around, f"{seen}, turning"),
        (
            Figure(figure.number, figure.caption, (stage.save_grid(file, grid, COLUMNS, f"{seen}, from all sides"),)),
            Figure(None, "A turntable of it", (stage.save_film("turntable", around, f"{seen}, turning"),)),
            Figure(None, "From a place that the fit has not seen", (compared,)),
            Figure(None, "Training loss", (stage.save_losses("losses", run, "Curves of the losses"),)),
            Figure(
                None, "The fit at work", (stage.save_film("film", stage.film(kind), f"The {name} comes out of fog"),)
            ),
        ),
        (work,),
    )


SECTIONS: dict[int, tuple[str, Callable[[Stage], Result]]] = {
    1: ("fit a mesh", section1),
    2: ("render textured meshes", section2),
    3: ("render color pointclouds", section3),
    4: ("fit a mesh via rendering", section4),
    5: ("fit a volume via raymarching", section5),
    6: ("fit a radiance field via raymarching", section6),
}
"""Number -> title and what does it."""
