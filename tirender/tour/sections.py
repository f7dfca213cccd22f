"""The six tutorials and Gaussians: what each section computes, its figures, and a few words about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from tirender import vis
from tirender.fit import Figures, normalized, render_views_between
from tirender.fit.rendering import image_renderer
from tirender.fit_kinds import KINDS, MeshTarget, PhotosTarget, ViewsTarget
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
from tirender.scenes import CloudScene, MeshScene, fitted_scene
from tirender.scenes.base import Look, placement
from tirender.tour.results import Figure, Picture, Result, Work
from tirender.tour.stage import SKY, Stage
from tirender.utils import ico_sphere

COLUMNS = 5  # of pictures in a grid


def section1(stage: Stage) -> Result:
    """Fit a mesh to a mesh."""
    name, config = stage.data.target_name, stage.config.fits["mesh"]
    target = normalized(IO().load_mesh(stage.data.target, device=stage.device))[0]
    vis.plot_pointcloud(ico_sphere(config.level, stage.device), "source mesh")
    source_points = stage.save_plot("figure1_source", "Points on a sphere")
    vis.plot_pointcloud(target, "target mesh")
    target_points = stage.save_plot("figure1_target", f"Points on the surface of the {name}")

    every = math.ceil(config.steps / 4)
    snapshots = Figures(
        every, lambda run: vis.plot_pointcloud(run.module(), f"iter: {run.step}"), stage.folder / "figure2"
    )
    run, work = stage.fit("mesh", MeshTarget(mesh=target), [snapshots])
    predicted = []
    for letter, step in zip("abcd", range(0, config.steps, every)):
        file = f"{stage.folder.name}/figure2/iter_{step:05d}.png"
        label = f"({letter}) Predicted mesh of iter {step}"
        predicted.append(Picture(file, f"The sphere after {step} steps", label))
    losses = stage.save_losses("figure3_losses", run, "Curves of the chamfer, edge, normal and laplacian losses")
    film = stage.film("mesh")
    at_work = stage.save_film("film", film, f"A grey sphere slowly becomes the {name}")
    return Result(
        number=1,
        title="Fit a mesh",
        text=(
            f"A sphere is deformed until points sampled from it lie where those of the {name} do. The chamfer distance "
            "pulls; edge lengths, normals and the Laplacian keep the surface smooth."
        ),
        cover=stage.save_cover(film, f"A grey sphere turns into the {name}"),
        figures=(
            Figure(1, "Deform a source mesh to form a target mesh", (source_points, target_points)),
            Figure(2, "Predicted mesh of different iteration", tuple(predicted)),
            Figure(3, "Training loss of each iteration", (losses,)),
            Figure(None, "The fit at work", (at_work,)),
        ),
        work=(work,),
    )


def section2(stage: Stage) -> Result:
    """Render a textured mesh."""
    name, size, work = stage.data.subject, stage.config.picture_size, list[Work]()
    mesh = load_objs_as_meshes([stage.data.mesh], device=stage.device)
    texture = stage.save_pil(
        "figure4_texture",
        vis.texturesuv_image_PIL(mesh.textures, subsample=None),
        f"The texture map of the {name}, with a red dot for each vertex",
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
    cover = MeshScene(mesh).render(cameras, Look((stage.config.cover_size,) * 2))
    return Result(
        number=2,
        title="Render textured meshes",
        text=f"The {name} with its texture under a point light, and seen by 20 cameras in one call.",
        cover=stage.save_cover(cover, f"The {name}, textured and lit"),
        figures=(
            Figure(4, f"Mesh texture: {name}", (texture,)),
            Figure(5, "Render the mesh", lit),
            Figure(6, f"Batched rendering: {name}", (grid,)),
        ),
        work=tuple(work),
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
        number=3,
        title="Render color pointclouds",
        text=f"{len(cloud.points_packed()):,} coloured points, composited front to back.",
        cover=stage.save_cover(cover, f"The {name}: a point cloud"),
        figures=(Figure(7, "Render the point cloud", pictures),),
        work=tuple(work),
        note=stage.data.note,
    )


def section4(stage: Stage) -> Result:
    """Fit a mesh to silhouettes, then to images."""
    name = stage.data.subject
    views = stage.views(stage.config.n_views)
    images: Any = views.images
    columns, silhouettes = min(COLUMNS, len(views)), views.silhouettes[..., None].expand_as(images)
    data = (
        stage.save_grid("figure8_images", images, columns, f"Views of the {name}", "images"),
        stage.save_grid(
            "figure8_silhouettes", silhouettes, columns, f"White silhouettes of the {name} on black", "silhouettes"
        ),
    )
    first, first_work = stage.fit("silhouette", ViewsTarget(views=views))
    second, second_work = stage.fit("images", ViewsTarget(views=views))
    renderer = image_renderer(views.image_size, stage.config.fits["images"], views.lights)
    renderer.rasterizer.cameras = renderer.shader.cameras = views.cameras[views.shown]
    vis.visualize_prediction(second.module(), renderer, images[views.shown])
    prediction = stage.save_plot("figure10_prediction", f"The fitted mesh, left, beside the {name}, right")
    first_losses = stage.save_losses("figure9_losses", first, "Curves of the losses")
    second_losses = stage.save_losses("figure11_losses", second, "Curves of the losses, that of colours among them")
    first_film, second_film = (stage.film(kind) for kind in ("silhouette", "images"))
    at_work = (
        stage.save_film("film_silhouette", first_film, "The silhouette of a sphere changes", "silhouettes"),
        stage.save_film("film_images", second_film, "A sphere changes its shape and colours", "images"),
    )
    return Result(
        number=4,
        title="Fit a mesh via rendering",
        text=(
            f"A sphere becomes the {name}, first by silhouettes alone, then by images, which give colours to its "
            "vertices too. The cameras are known; the mesh is not."
        ),
        cover=stage.save_cover(second_film, f"A sphere turns into the {name}, and takes its colours"),
        figures=(
            Figure(8, "Dataset creation", data),
            Figure(9, "Silhouette training loss", (first_losses,)),
            Figure(10, "Predicted and target mesh", (prediction,)),
            Figure(11, "Predicted and target mesh: training loss", (second_losses,)),
            Figure(None, "The fits at work", at_work),
        ),
        work=(first_work, second_work),
    )


class _Radiance(NamedTuple):
    """What sections 5 to 7 do differently; the figure is a grid of pictures from all sides."""

    number: int
    title: str
    kind: str
    text: str
    figure: int | None
    caption: str
    n_pictures: int
    started_as: str = "fog"


def section5(stage: Stage) -> Result:
    """Fit a volume."""
    size = stage.config.fits["volume"].volume_size
    section = _Radiance(
        number=5,
        title="Fit a volume via raymarching",
        kind="volume",
        text=(
            f"{size}³ voxels have an opacity and a colour each. They are fitted until the pictures along rays through "
            f"them look like the {stage.data.subject}."
        ),
        figure=12,
        caption="Predicted volume from different viewpoints",
        n_pictures=20,
    )
    return _radiance(stage, section)


def section6(stage: Stage) -> Result:
    """Fit a radiance field."""
    is_grid = stage.config.fits["nerf"].field == "hashgrid"
    field = "A hash grid and a small network learn" if is_grid else "A network learns"
    section = _Radiance(
        number=6,
        title="Fit a simple Neural Radiance Field via raymarching",
        kind="nerf",
        text=f"{field} the opacity and the colour of every place in space, from random rays through the views.",
        figure=13,
        caption="Predicted NeRF from different viewpoints",
        n_pictures=15,
    )
    return _radiance(stage, section)


def section7(stage: Stage) -> Result:
    """Fit Gaussians, which the tutorials do not have."""
    section = _Radiance(
        number=7,
        title="Fit Gaussians",
        kind="splats",
        text=(
            "Small blurred spots, each with a place, a shape, an opacity and colours that depend on the side they are "
            f"seen from, start at random places. They move, change and multiply until they look like the "
            f"{stage.data.subject}: Gaussian splatting, which the tutorials do not have."
        ),
        figure=None,
        caption="Gaussians from different viewpoints",
        n_pictures=15,
        started_as="a cloud of spots",
    )
    return _radiance(stage, section)


def _radiance(stage: Stage, section: _Radiance) -> Result:
    """What sections 5 to 7 share: views to fit to, others to compare with, and a turntable of the result."""
    name, settings, kind = stage.data.subject, stage.config, section.kind
    views = stage.views(settings.n_views_radiance)
    unseen = render_views_between(stage.target, len(views), image_size=settings.view_size)
    target: Any = ViewsTarget(views=views, held_out=unseen)
    if kind == "splats":
        target = PhotosTarget(photos=views, held_out=unseen)
    run, work = stage.fit(kind, target)
    with torch.no_grad():
        scene = fitted_scene(KINDS[kind].result(run.module), run.config)
        vis.compare_view(run.module(unseen.cameras[0])[0], unseen.on_black[0], unseen.silhouettes[0])
    compared = stage.save_plot("unseen_view", f"The fitted picture of the {name}, and the true one, with silhouettes")
    seen = f"The {name} as fitted ({kind})"
    frames = stage.turntable(scene, settings.n_frames, settings.turntable_size)
    turntable = stage.save_film("turntable", frames, f"{seen}, turning")
    pictures = stage.turntable(scene, section.n_pictures, settings.view_size)
    grid = stage.save_grid(f"figure{section.figure or ''}_{kind}", pictures, COLUMNS, f"{seen}, from all sides")
    losses = stage.save_losses("losses", run, "Curves of the losses")
    at_work = stage.save_film("film", stage.film(kind), f"The {name} comes out of {section.started_as}")
    return Result(
        number=section.number,
        title=section.title,
        text=section.text,
        cover=stage.save_cover(frames, f"{seen}, turning"),
        figures=(
            Figure(section.figure, section.caption, (grid,)),
            Figure(None, "A turntable of it", (turntable,)),
            Figure(None, "From a place that the fit has not seen", (compared,)),
            Figure(None, "Training loss", (losses,)),
            Figure(None, "The fit at work", (at_work,)),
        ),
        work=(work,),
    )


SECTIONS: dict[int, tuple[str, Callable[[Stage], Result]]] = {
    1: ("fit a mesh", section1),
    2: ("render textured meshes", section2),
    3: ("render color pointclouds", section3),
    4: ("fit a mesh via rendering", section4),
    5: ("fit a volume via raymarching", section5),
    6: ("fit a radiance field via raymarching", section6),
    7: ("fit Gaussians", section7),
}
"""By number: the title, and the function that does it."""
