"""Figures: what is drawn, where, in which colours and seen from where; without a display."""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from tirender.renderer import RayBundle
from tirender.renderer.cameras import FoVPerspectiveCameras, look_at_view_transform
from tirender.renderer.mesh.textures import TexturesUV, TexturesVertex
from tirender.structures import Meshes
from tirender.vis import get_camera_wireframe, image_grid, plot_batch_individually, plot_scene, plotly_vis
from tirender.vis.matplotlib_figure import _view_angles
from tirender.vis.plotly_vis import AxisArgs, Lighting
from tirender.vis.traces import make_trace, view_direction


@pytest.fixture(autouse=True)
def offscreen_figures():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


class Clouds:
    """The part of Pointclouds that figures need."""

    def __init__(self, points: list[torch.Tensor], features: list[torch.Tensor] | None = None):
        self._points, self._features = points, features

    def __len__(self):
        return len(self._points)

    def __getitem__(self, i):
        return Clouds([self._points[i]], self._features and [self._features[i]])

    def points_list(self):
        return self._points

    def features_list(self):
        return self._features


def tetrahedra(n=1, textures=None, requires_grad=False):
    verts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], requires_grad=requires_grad)
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    return Meshes([verts + i for i in range(n)], [faces] * n, textures)


def cameras(azim=(0.0,), elev=0.0):
    R, T = look_at_view_transform(2.7, elev, torch.tensor(azim))
    return FoVPerspectiveCameras(R=R, T=T)


def trace(struct, **kwargs):
    return make_trace("name", struct, **{"camera_scale": 0.3, "max_points": 100, **kwargs})


# --- image_grid -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.Tensor, np.ndarray, list])
def test_image_grid_shows_the_images_in_order(kind):
    images = torch.rand(6, 4, 5, 4, requires_grad=kind is torch.Tensor)
    given = {torch.Tensor: images, np.ndarray: images.detach().numpy(), list: list(images)}[kind]
    assert image_grid(given, rows=2, cols=3) is None
    axes = plt.gcf().axes
    assert len(axes) == 6
    assert not any(a.axison for a in axes)
    for image, a in zip(images.detach().numpy(), axes):
        np.testing.assert_array_equal(a.images[0].get_array(), image[..., :3])


def test_image_grid_defaults_to_one_column_and_shows_axes_when_asked():
    image_grid(np.zeros((3, 2, 2, 3)), show_axes=True)
    assert plt.gcf().axes[0].get_gridspec().get_geometry() == (3, 1)
    assert all(a.axison for a in plt.gcf().axes)


def test_image_grid_fill_leaves_no_space():
    image_grid(np.zeros((2, 2, 2, 3)), rows=1, cols=2)
    left, right = (a.get_position(original=True) for a in plt.gcf().axes)
    np.testing.assert_allclose([left.x0, left.x1, right.x0, right.x1, left.y0, left.y1], [0, 0.5, 0.5, 1, 0, 1])
    image_grid(np.zeros((2, 2, 2, 3)), rows=1, cols=2, fill=False)
    left, right = (a.get_position(original=True) for a in plt.gcf().axes)
    assert left.x1 < right.x0


def test_image_grid_alpha_clipping_and_integers():
    image_grid(np.full((1, 2, 2, 4), 0.25), rgb=False)
    np.testing.assert_array_equal(plt.gcf().axes[0].images[0].get_array(), np.full((2, 2), 0.25))
    image_grid(np.full((1, 2, 2, 3), 1.5))
    np.testing.assert_array_equal(plt.gcf().axes[0].images[0].get_array(), np.ones((2, 2, 3)))
    image_grid(np.full((1, 2, 2, 3), 200, np.uint8))
    assert plt.gcf().axes[0].images[0].get_array().max() == 200


def test_image_grid_with_fewer_or_more_images_than_cells():
    image_grid(np.zeros((3, 2, 2, 3)), rows=2, cols=2)
    assert [len(a.images) for a in plt.gcf().axes] == [1, 1, 1, 0]
    assert not plt.gcf().axes[3].axison
    image_grid(np.zeros((5, 2, 2, 3)), rows=2, cols=2)
    assert len(plt.gcf().axes) == 4


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((np.zeros((2, 2, 2, 3)), 2), {}, r"rows, cols: expected both or neither, got \(2, None\)"),
        ((np.zeros((0, 2, 2, 3)),), {}, "images: expected at least one image, got 0"),
        ((np.zeros((2, 2, 3)),), {}, r"images\[0\]: expected shape \(H, W, C\) with C >= 3, got \(2, 3\)"),
        ((np.zeros((1, 2, 2, 3)),), {"rgb": False}, r"images\[0\]: expected shape \(H, W, C\) with C >= 4"),
    ],
)
def test_image_grid_bad_input(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        image_grid(*args, **kwargs)
    assert plt.get_fignums() == []


# --- traces ---------------------------------------------------------------------------------------------------------


def test_mesh_batch_becomes_triangles_in_world_space():
    result = trace(tetrahedra(2, requires_grad=True))
    assert result.kind == "triangles"
    assert result.positions.shape == (8, 3, 3)
    np.testing.assert_array_equal(result.positions[0], [[0, 0, 0], [0, 2, 0], [1, 0, 0]])
    np.testing.assert_array_equal(result.positions[4:], result.positions[:4] + 1)
    assert result.colors is None


def test_vertex_colours_are_averaged_over_the_face():
    colors = torch.eye(4)[:, :3]
    result = trace(tetrahedra(2, TexturesVertex([colors, 1 - colors])))
    expected = colors[tetrahedra().faces_packed()].mean(1)
    np.testing.assert_allclose(result.colors, torch.cat([expected, 1 - expected]), atol=1e-6)


def test_texture_map_is_sampled_at_the_centre_of_the_face():
    u = torch.linspace(0, 1, 5)
    ramp = torch.stack([u.expand(5, 5), u.flip(0)[:, None].expand(5, 5), torch.zeros(5, 5)], -1)  # red u, green v
    uvs = torch.tensor([[0.0, 0.0], [0.9, 0.0], [0.0, 0.6]])
    faces_uvs = torch.tensor([[0, 1, 2]] * 4)
    result = trace(tetrahedra(1, TexturesUV(ramp[None], [faces_uvs], [uvs])))
    np.testing.assert_allclose(result.colors, [[0.3, 0.2, 0.0]] * 4, atol=1e-6)


def test_empty_mesh_has_no_triangles():
    empty = Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.int64)])
    assert trace(empty).positions.shape == (0, 3, 3)


def test_cloud_batch_is_joined_and_thinned_reproducibly():
    points, colors = torch.rand(300, 3), torch.rand(300, 4)
    clouds = Clouds([points[:100], points[100:]], [colors[:100], colors[100:]])
    everything = trace(clouds, max_points=300)
    assert everything.kind == "points"
    np.testing.assert_array_equal(everything.positions, points)
    np.testing.assert_array_equal(everything.colors, colors[:, :3])
    few = trace(clouds, max_points=50)
    assert few.positions.shape == few.colors.shape == (50, 3)
    np.testing.assert_array_equal(few.positions, trace(clouds, max_points=50).positions)
    row = {tuple(p): tuple(c) for p, c in zip(points.tolist(), colors[:, :3].tolist())}
    assert all(row[tuple(p)] == tuple(c) for p, c in zip(few.positions.tolist(), few.colors.tolist()))


@pytest.mark.parametrize("features", [None, [torch.rand(5, 2)]])
def test_cloud_without_colours(features):
    assert trace(Clouds([torch.rand(5, 3)], features)).colors is None


def test_camera_wireframe_starts_at_each_camera_and_looks_at_its_target():
    batch = cameras((0.0, 90.0, 200.0), elev=20.0)
    strokes = trace(batch, camera_scale=0.5).positions
    assert strokes.shape == (3, 15, 3)
    wireframe = get_camera_wireframe(0.5).numpy()
    pinhole = int(np.flatnonzero((wireframe == 0).all(-1))[0])
    centres = batch.get_camera_center().numpy()
    np.testing.assert_allclose(strokes[:, pinhole], centres, atol=1e-5)
    np.testing.assert_allclose(strokes[:, -1], centres * (1 - 1.5 / 2.7), atol=1e-5)  # the axis ends at 3 * scale


def test_wireframe_is_symmetric_but_for_its_notch_above():
    points = get_camera_wireframe()
    assert points.shape == (15, 3)
    assert {tuple(p) for p in points.tolist()} == {tuple(p) for p in (points * torch.tensor([-1.0, 1, 1])).tolist()}
    assert points[:, 1].max() > -points[:, 1].min()
    torch.testing.assert_close(get_camera_wireframe(1.0) * 0.3, points)


def bundle(n=2, n_rays=5, n_points=4):
    """Rays along +Z from (i, j, 0), with samples at 1, 2, 3, 4."""
    i, j = torch.meshgrid(torch.arange(float(n)), torch.arange(float(n_rays)), indexing="ij")
    origins = torch.stack([i, j, torch.zeros_like(i)], dim=-1)
    lengths = torch.arange(1.0, n_points + 1).expand(n, n_rays, n_points)
    return RayBundle(origins, torch.tensor([0.0, 0, 1]).expand_as(origins), lengths, origins[..., :2])


def test_rays_become_their_samples():
    rays = trace(bundle())
    assert rays.kind == "rays"
    assert rays.positions.shape == (10, 4, 3)
    np.testing.assert_array_equal(rays.positions[7], [[1, 2, 1], [1, 2, 2], [1, 2, 3], [1, 2, 4]])
    few = trace(bundle(n_points=9), max_rays=3, max_points_per_ray=3).positions
    assert few.shape == (3, 3, 3)
    assert few[:, :, 2].tolist() == [[1, 5, 9]] * 3
    assert len(np.unique(few[:, 0, :2], axis=0)) == 3


def test_figures_of_rays():
    plots = {"title": {"rays": bundle(), "mesh": tetrahedra()}}
    figure = plot_scene(plots, raybundle_ray_point_marker_size=3, raybundle_ray_line_width=2, zaxis={"range": (0, 5)})
    (axes,) = figure.axes
    lines, points = [c for c in axes.collections if type(c).__name__ in ("Line3DCollection", "Path3DCollection")]
    assert lines.get_linewidths()[0] == 2
    assert points.get_sizes()[0] == 9
    assert len(points.get_offsets()) == 40
    assert axes.get_zlim() == (0, 5)
    pytest.importorskip("plotly", reason="plotly is not installed")
    drawn = plot_scene(plots, raybundle_ray_line_width=2, zaxis={"range": (0, 5)}, backend="plotly")
    assert drawn.data[0].mode == "lines+markers"
    assert drawn.data[0].line.width == 2
    assert len(drawn.data[0].x) == 50  # a gap after each ray
    assert drawn.layout.scene.zaxis.range == (0, 5)


def test_a_subplot_for_the_rays_of_each_camera():
    figure = plot_batch_individually([cameras((0.0, 30.0)), bundle()])
    assert len(figure.axes) == 2
    assert len(plot_batch_individually(bundle(3)).axes) == 3


def test_unknown_structure():
    with pytest.raises(
        ValueError, match=r"plots\[...\]\['name'\]: expected Meshes, Pointclouds, cameras or a RayBundle, got Tensor"
    ):
        trace(torch.zeros(3))


# --- scenes ---------------------------------------------------------------------------------------------------------


def project(axes, point):
    """Where matplotlib draws a point, (right, up) on the page, but for the perspective."""
    axes.set_proj_type("ortho")
    axes.figure.draw_without_rendering()
    return (axes.get_proj() @ [*point, 1.0])[:2]


def test_scene_has_titles_traces_legend_and_equal_axes():
    plots = {
        "one": {"mesh": tetrahedra(2)},
        "two": {"mesh": tetrahedra(), "cloud": Clouds([torch.rand(9, 3)], [torch.rand(9, 3)]), "cameras": cameras()},
    }
    figure = plot_scene(plots, ncols=2, width=640, height=320)
    one, two = figure.axes
    assert [a.get_title() for a in figure.axes] == ["one", "two"]
    assert one.get_gridspec().get_geometry() == (1, 2)
    assert [len(a.collections) for a in figure.axes] == [1, 3]
    assert one.get_legend() is None
    assert [t.get_text() for t in two.get_legend().get_texts()] == ["mesh", "cloud", "cameras"]
    spans = np.array([np.ptp(limits) for limits in (one.get_xlim(), one.get_ylim(), one.get_zlim())])
    np.testing.assert_allclose(spans, 4)  # the two tetrahedra reach from 0 to 4 along z
    np.testing.assert_allclose(figure.get_size_inches() * figure.dpi, [640, 320])
    assert plt.gcf() is figure
    figure.canvas.draw()
    assert (np.asarray(figure.canvas.buffer_rgba())[..., :3] < 250).any()


def test_default_view_is_pytorch3ds_world_from_the_front():
    (axes,) = plot_scene({"": {"": tetrahedra()}}).axes
    centre, right_up = project(axes, (0, 0, 0)), {}
    for name, point in {"x": (1, 0, 0), "y": (0, 1, 0)}.items():
        right_up[name] = project(axes, point) - centre
    assert right_up["x"][0] < 0  # +X left
    assert right_up["y"][1] > 0  # +Y up
    assert abs(right_up["y"][0]) < 1e-6


@pytest.mark.parametrize("azim", [0.0, 30.0, 180.0, 260.0])
@pytest.mark.parametrize("elev", [-40.0, 0.0, 35.0])
def test_viewpoint_camera_sees_what_the_figure_shows(azim, elev):
    camera = cameras((azim,), elev)
    (axes,) = plot_scene({"": {"": tetrahedra()}}, viewpoint_cameras=camera).axes
    assert axes.roll == pytest.approx(0, abs=1e-3)
    centre = project(axes, (0, 0, 0))
    for offset in np.eye(3) * 0.01:
        in_view = camera.get_world_to_view_transform().get_matrix()[0, :3, :3].T.numpy() @ offset
        on_page = project(axes, offset) - centre
        np.testing.assert_allclose(np.sign(on_page.round(6)), np.sign((in_view[:2] * [-1, 1]).round(6)))


def test_rolled_viewpoint_camera_rolls_the_figure():
    R, T = look_at_view_transform(2.7, 10, 150, up=((1.0, 1.0, 0.0),))
    camera = FoVPerspectiveCameras(R=R, T=T)
    (axes,) = plot_scene({"": {"": tetrahedra()}}, viewpoint_cameras=camera).axes
    towards_eye, up = view_direction(camera)
    on_page = project(axes, 0.01 * up) - project(axes, (0, 0, 0))
    assert on_page[1] > 0
    assert abs(on_page[0]) < 0.05 * on_page[1]
    assert abs(axes.roll) > 10


def test_view_from_the_pole_is_finite():
    assert np.isfinite(_view_angles(np.array([0.0, 1, 0]), np.array([0.0, 0, 1]))).all()


def test_mesh_colours_opacity_and_shading():
    mesh = tetrahedra(1, TexturesVertex(torch.tensor([[[0.8, 0.4, 0.2]] * 4])))
    (axes,) = plot_scene({"": {"": mesh}}, mesh_opacity=0.5, lighting=Lighting(ambient=1.0, diffuse=0.0)).axes
    np.testing.assert_allclose(axes.collections[0].get_facecolor(), [[0.8, 0.4, 0.2, 0.5]] * 4, atol=1e-6)
    (axes,) = plot_scene({"": {"": mesh}}).axes
    shade = axes.collections[0].get_facecolor()[:, :3] / [0.8, 0.4, 0.2]
    assert shade.max() <= 1 + 1e-6
    assert np.ptp(shade[:, 0]) > 0.01


def test_axis_args():
    def n_green_pixels(axis_args):
        figure = plot_scene({"": {"": tetrahedra()}}, axis_args=axis_args)
        figure.canvas.draw()
        return (np.asarray(figure.canvas.buffer_rgba())[..., :3] == [0, 255, 0]).all(-1).sum()

    assert n_green_pixels(AxisArgs(backgroundcolor="#0f0")) == 0  # no axes, no planes behind the scene
    assert n_green_pixels(AxisArgs(backgroundcolor="#0f0", showgrid=True, showaxeslabels=True)) > 1000
    (axes,) = plt.gcf().axes
    assert [axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()] == ["x", "y", "z"]
    assert all(not t.get_text() for t in axes.get_xticklabels())


def test_empty_mesh_makes_an_empty_figure():
    def n_drawn_pixels(meshes):
        figure = plot_scene({"": {"": meshes}})
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())
        return (pixels != pixels[0, 0]).any(-1).sum()

    assert n_drawn_pixels(Meshes([torch.zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.int64)])) == 0
    assert n_drawn_pixels(tetrahedra()) > 1000


@pytest.mark.parametrize(
    ("plots", "kwargs", "message"),
    [
        ({}, {}, "plots: expected .* at least one structure"),
        ({"a": {}}, {}, "plots: expected .* at least one structure"),
        ({"a": {"b": 3}}, {}, r"plots\[...\]\['b'\]: expected Meshes, Pointclouds, cameras or a RayBundle, got int"),
        ({"a": {"b": tetrahedra()}}, {"viewpoint_cameras": cameras((0.0, 1.0))}, "expected 1 or 1 cameras, got 2"),
        ({"a": {"b": tetrahedra()}}, {"ncols": 0}, "ncols: expected at least 1, got 0"),
        ({"a": {"b": tetrahedra()}}, {"backend": "gl"}, "backend: expected 'matplotlib' or 'plotly', got 'gl'"),
    ],
)
def test_scene_bad_input(plots, kwargs, message):
    with pytest.raises(ValueError, match=message):
        plot_scene(plots, **kwargs)
    assert plt.get_fignums() == []


# --- plot_batch_individually ----------------------------------------------------------------------------------------


def test_batch_has_a_subplot_for_each_element():
    figure = plot_batch_individually([tetrahedra(3), cameras((0.0, 90.0, 180.0)), tetrahedra()], ncols=2)
    assert [a.get_title() for a in figure.axes] == ["subplot 1", "subplot 2", "subplot 3"]
    assert [len(a.collections) for a in figure.axes] == [3, 3, 3]
    names = [t.get_text() for t in figure.axes[1].get_legend().get_texts()]
    assert names == ["trace 2-1", "trace 2-2", "trace 2-3"]


def test_batch_without_extension_titles_and_viewpoints():
    figure = plot_batch_individually(
        [tetrahedra(2), tetrahedra()],
        extend_struct=False,
        subplot_titles=["a", "b"],
        viewpoint_cameras=cameras((20.0, 70.0)),
    )
    assert [a.get_title() for a in figure.axes] == ["a", "b"]
    assert [len(a.collections) for a in figure.axes] == [2, 1]
    assert [round(a.azim) for a in figure.axes] == [20, 70]


def test_batch_of_one_kind_needs_no_list():
    assert len(plot_batch_individually(tetrahedra(2)).axes) == 2


@pytest.mark.parametrize(
    ("structs", "kwargs", "message"),
    [
        ([], {}, r"batched_structs: expected batches of one length, or length 1, got \[\]"),
        ([tetrahedra(3), tetrahedra(2)], {}, r"expected batches of one length, or length 1, got \[3, 2\]"),
        (tetrahedra(2), {"subplot_titles": ["a"]}, "subplot_titles: expected 2 titles, got 1"),
        (tetrahedra(2), {"subplot_titles": ["a", "a"]}, "subplot_titles: expected different titles"),
    ],
)
def test_batch_bad_input(structs, kwargs, message):
    with pytest.raises(ValueError, match=message):
        plot_batch_individually(structs, **kwargs)


# --- plotly ---------------------------------------------------------------------------------------------------------


def test_plotly_figure():
    pytest.importorskip("plotly", reason="plotly is not installed: its optional backend is not tested")
    colored = tetrahedra(1, TexturesVertex(torch.tensor([[[0.8, 0.4, 0.2]] * 4])))
    plots = {
        "one": {"mesh": tetrahedra(2), "cloud": Clouds([torch.rand(9, 3)], [torch.rand(9, 3)])},
        "two": {"mesh": colored, "cameras": cameras((0.0, 90.0))},
    }
    view = cameras((90.0,))
    figure = plot_scene(plots, ncols=2, backend="plotly", viewpoint_cameras=view, axis_args=AxisArgs(showgrid=True))
    assert [t.type for t in figure.data] == ["mesh3d", "scatter3d", "mesh3d", "scatter3d"]
    assert [t.scene for t in figure.data] == ["scene", "scene", "scene2", "scene2"]
    assert [a.text for a in figure.layout.annotations] == ["one", "two"]
    assert set(figure.data[2].facecolor) == {"rgb(204,102,51)"}
    assert len(figure.data[3].x) == 2 * 16
    assert np.isnan(figure.data[3].x[15])
    assert figure.layout.scene.camera.eye.x > 1
    assert figure.layout.scene.camera.up.y == pytest.approx(1, abs=1e-6)
    assert figure.layout.scene2.xaxis.showgrid
    assert (figure.layout.width, figure.layout.height) == (1000, 500)


def test_plotly_vis_draws_with_plotly():
    go = pytest.importorskip("plotly.graph_objects", reason="plotly is not installed")
    for figure in (
        plotly_vis.plot_scene({"": {"mesh": tetrahedra()}}),
        plotly_vis.plot_batch_individually(tetrahedra(), subplot_titles=None),
    ):
        assert isinstance(figure, go.Figure)
        assert isinstance(figure.data[0], go.Mesh3d)
    assert isinstance(plotly_vis.plot_scene({"": {"mesh": tetrahedra()}}, backend="matplotlib"), plt.Figure)


def test_plotly_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.subplots", None)
    with pytest.raises(ImportError, match=r"pip install 'tirender\[plotly\]'"):
        plot_scene({"": {"": tetrahedra()}}, backend="plotly")
