"""Second derivatives and ``torch.func``: they work, or an error names the operation. No gradient is lost silently."""

from __future__ import annotations

import pytest
import torch

import tirender.renderer as r
from tirender import loss, ops
from tirender.engine.first_order import FirstOrder
from tirender.structures import Meshes, Pointclouds, Volumes
from tirender.utils import ico_sphere

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),  # torch's forward mode
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]

SPHERE = ico_sphere(1)
FACES, VERTS = SPHERE.faces_packed(), SPHERE.verts_packed()
CLOUD = torch.rand(1, 30, 3, generator=torch.Generator().manual_seed(0))
R, T = r.look_at_view_transform(2.5, 10.0, 20.0)
CAMERAS = r.FoVPerspectiveCameras(R=R, T=T)
RASTERIZER = r.MeshRasterizer(CAMERAS, r.RasterizationSettings(12, 1e-3, 4))
POINTS = r.PointsRenderer(r.PointsRasterizer(CAMERAS, r.PointsRasterizationSettings(12, 0.2, 4)), r.AlphaCompositor())
RAYS = r.NDCMultinomialRaysampler(image_width=4, image_height=4, n_pts_per_ray=5, min_depth=1.0, max_depth=4.0)


def mesh(x):
    return Meshes([x], [FACES], r.TexturesVertex([x.detach() ** 2]))


def render(shader):
    return lambda x: shader(RASTERIZER(mesh(x)), mesh(x)).square().sum()


def volume(x):
    volumes = Volumes(x[:27].reshape(1, 1, 3, 3, 3).sigmoid(), x[:27].reshape(1, 1, 3, 3, 3), 0.4)
    return r.VolumeRenderer(RAYS, r.EmissionAbsorptionRaymarcher())(CAMERAS, volumes)[0].square().sum()


POINTWISE = torch.rand(42, 3, generator=torch.Generator().manual_seed(1))
FIRST_ORDER = {
    "knn": (lambda x: ops.knn_points(x[None], CLOUD).dists.square().sum(), POINTWISE),
    "knn.Distances": (lambda x: loss.chamfer_distance(x[None], CLOUD)[0] ** 2, POINTWISE),
    "point_mesh": (lambda x: loss.point_mesh_face_distance(mesh(x), Pointclouds([CLOUD[0]])), VERTS),
    "normal_consistency": (lambda x: loss.mesh_normal_consistency(mesh(x * torch.tensor([1.0, 2.0, 3.0]))), VERTS),
    "points_alignment": (
        lambda x: ops.corresponding_points_alignment(x[None], x[None] ** 2).R.square().sum(),
        POINTWISE,
    ),
    "silhouette": (render(r.SoftSilhouetteShader(r.BlendParams(sigma=1e-2))), VERTS),
    "mesh_shading": (render(r.SoftPhongShader(cameras=CAMERAS, blend_params=r.BlendParams(1e-2, 1e-2))), VERTS),
    "mesh_fragments": (lambda x: RASTERIZER(mesh(x)).zbuf.square().sum(), VERTS),
    "rasterize_points": (
        lambda x: POINTS(Pointclouds([x], features=[CLOUD[0, :1] * x.new_ones(len(x), 1)])).square().sum(),
        VERTS,
    ),
    "compositing": (lambda x: POINTS(Pointclouds([VERTS], features=[x])).square().sum(), VERTS),
    "volume_march": (volume, torch.linspace(-1, 1, 27)),
}


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_second_derivatives_are_errors(name):
    function, x = FIRST_ORDER[name]
    leaf = x.clone().requires_grad_()
    expected = torch.autograd.grad(function(leaf), leaf)[0]
    gradient = torch.autograd.grad(function(leaf), leaf, create_graph=True)[0]
    torch.testing.assert_close(gradient, expected)
    module = name.partition(".")[0]
    message = (
        rf"tirender\.\w+\.(mesh_)?{module}\.\w+: expected first-order gradients only, .*, got a request for second"
    )
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(gradient.square().sum(), leaf, retain_graph=True)
    with pytest.raises(RuntimeError, match=message):
        torch.autograd.grad(gradient.sum() + leaf.square().sum(), leaf, retain_graph=True)
    with pytest.raises(RuntimeError, match=message):
        gradient.sum().backward()


@pytest.mark.parametrize("name", FIRST_ORDER)
@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.vmap, torch.func.hessian, torch.func.jacrev])
def test_transforms_are_errors(name, transform):
    function, x = FIRST_ORDER[name]
    x = x[None].expand(2, *x.shape).clone() if transform is torch.func.vmap else x
    with pytest.raises(
        RuntimeError, match=r"tirender\.[\w.]+: expected first-order gradients only, .*transform of torch.func"
    ):
        transform(function)(x)


def test_forward_mode_is_an_error():
    import torch.autograd.forward_ad as forward_ad

    with forward_ad.dual_level():
        dual = forward_ad.make_dual(POINTWISE, torch.ones_like(POINTWISE))
        with pytest.raises(
            RuntimeError, match="tirender.engine.knn.Distances: expected first-order .* got forward mode"
        ):
            ops.knn_points(dual[None], CLOUD)


SMOOTH = {
    "edges": lambda x: loss.mesh_edge_loss(Meshes([x], [FACES]), 0.3),
    "laplacian": lambda x: loss.mesh_laplacian_smoothing(SPHERE.offset_verts(x)),
    "areas": lambda x: Meshes([x], [FACES]).faces_areas_packed().square().sum(),
    "normals": lambda x: (Meshes([x], [FACES]).verts_normals_packed() * POINTWISE).sum(),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_smooth_has_all_derivatives(name):
    function, x = SMOOTH[name], (1.1 * VERTS).double()
    gradient = torch.autograd.functional.jacobian(function, x)
    torch.testing.assert_close(torch.func.grad(function)(x), gradient)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(function))(torch.stack([x, x]))[1], gradient)
    hessian = torch.autograd.functional.hessian(function, x)
    assert hessian.any()
    torch.testing.assert_close(torch.func.hessian(function)(x), hessian)


def test_all_functions_of_one_derivative_are_of_this_kind():
    names = {cls.__module__.removeprefix("tirender.") for cls in FirstOrder.__subclasses__()}
    assert {"engine.knn", "engine.silhouette", "engine.mesh_shading", "loss.mesh_normal_consistency"} <= names
