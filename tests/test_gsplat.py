"""gsplat's functions and arguments: values of its reference cases, shapes of what it returns, a trainer's loop."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference import splats as twin
from splat_cases import CASES, load_case, views, world

from tirender import gsplat
from tirender.engine import runtime
from tirender.gsplat import rasterization
from tirender.gsplat.strategy.ops import _update_param_with_optimizer

SIZE = (48, 40)
SHAPES = ("means", "quats", "scales", "opacities", "colors")


def scene(n: int = 80, n_cameras: int = 2, dtype: torch.dtype = torch.float32) -> list:
    given = world(n, dtype)
    viewmats, Ks = views(n_cameras, *SIZE, dtype)
    return [*(given[k].requires_grad_() for k in SHAPES), viewmats.requires_grad_(), Ks, *SIZE]


def render_case(name: str, dtype: torch.dtype, **more):
    inputs, meta, given = load_case(name, dtype)
    outputs = rasterization(
        *(inputs[k] for k in (*SHAPES, "viewmats", "Ks")),
        meta["width"],
        meta["height"],
        near_plane=meta["near_plane"],
        eps2d=meta["eps2d"],
        sh_degree=meta["sh_degree"],
        backgrounds=inputs["backgrounds"] if meta["backgrounds"] else None,
        render_mode=meta["render_mode"],
        rasterize_mode=meta["rasterize_mode"],
        camera_model=meta["camera_model"],
        **more,
    )
    return outputs, {k: v for k, v in inputs.items() if v.requires_grad}, given


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("packed", [False, True])
def test_reference_cases(name, packed):
    (colors, alphas, meta), leaves, given = render_case(name, torch.float64, packed=packed)
    torch.testing.assert_close((colors, alphas), (given["out_colors"], given["out_alphas"]), rtol=1e-11, atol=1e-11)
    grads = torch.autograd.grad((colors, alphas), list(leaves.values()), (given["up_colors"], given["up_alphas"]))
    for k, grad in zip(leaves, grads):
        expected = given[f"grad_{k}"]
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-10 * float(expected.abs().max()))
    if not packed:
        drawn = (meta["radii"] > 0).all(-1)
        for k in ("means2d", "depths", "conics"):
            torch.testing.assert_close(meta[k][drawn], given[f"out_{k}"][drawn], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "D", "ED", "RGB+D", "RGB+ED"])
def test_shapes(packed, mode):
    given = scene()
    colors, alphas, meta = rasterization(*given, packed=packed, render_mode=mode, backgrounds=torch.rand(2, 3))
    assert colors.shape == (2, 40, 48, 3 * ("RGB" in mode) + ("D" in mode))
    assert alphas.shape == (2, 40, 48, 1)
    n = int((meta["radii"] > 0).all(-1).sum())
    lead = (n,) if packed else (2, 80)
    for name, rest in (("means2d", (2,)), ("radii", (2,)), ("depths", ()), ("conics", (3,)), ("opacities", ())):
        assert meta[name].shape == (*lead, *rest), name
    assert meta["radii"].dtype == torch.int32
    assert meta["tiles_per_gauss"].shape == lead
    assert meta["isect_offsets"].shape == (2, 3, 3)
    assert meta["isect_ids"].shape == meta["flatten_ids"].shape
    assert (meta["width"], meta["height"], meta["n_cameras"]) == (48, 40, 2)
    if packed:
        assert (meta["radii"] > 0).all()
        assert meta["camera_ids"].shape == meta["gaussian_ids"].shape == meta["batch_ids"].shape == (n,)
        assert meta["gaussian_ids"].max() < 80
        assert set(meta["camera_ids"].tolist()) == {0, 1}
    else:
        assert meta["gaussian_ids"] is None
    assert "isect_ids" in meta
    assert len(meta) == len(list(meta)) == 19
    with pytest.raises(KeyError):
        meta["other"]


@pytest.mark.parametrize("packed", [False, True])
def test_the_gradient_of_means2d_is_kept(packed):
    given = scene()
    colors, _, meta = rasterization(*given, packed=packed, absgrad=True)
    meta["means2d"].retain_grad()
    colors.square().sum().backward()
    grad, absolute = meta["means2d"].grad, meta["means2d"].absgrad
    assert grad.shape == absolute.shape == meta["means2d"].shape
    assert grad.any()
    assert (absolute >= grad.abs() * 0.999 - 1e-6).all()
    assert given[0].grad.any()


def test_colours_of_cameras():
    given = scene(n_cameras=3)
    colors = torch.rand(3, 80, 5)
    given[4] = colors
    together, _, _ = rasterization(*given)
    for i in range(3):
        alone = [*given[:4], colors[i], given[5][i : i + 1], given[6][:1], *SIZE]
        torch.testing.assert_close(rasterization(*alone)[0][0], together[i])
    given[4] = torch.randn(3, 80, 9, 3)
    shaded = rasterization(*given, sh_degree=2)[0]
    given[4] = given[4][1]
    torch.testing.assert_close(rasterization(*given, sh_degree=2)[0][1], shaded[1])


def test_covariances_in_place_of_rotations_and_scales():
    given = scene()
    with torch.no_grad():
        covars = twin.covariances(given[1], given[2])
    other = rasterization(given[0], None, None, *given[3:], covars=covars)[0]
    torch.testing.assert_close(other, rasterization(*given)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "asked",
    [
        {"sparse_grad": True},
        {"distributed": True},
        {"with_ut": True},
        {"with_eval3d": True},
        {"radial_coeffs": torch.zeros(2, 6)},
        {"viewmats_rs": torch.zeros(2, 4, 4)},
        {"rolling_shutter": gsplat.RollingShutterType.ROLLING_TOP_TO_BOTTOM},
        {"camera_model": "ftheta"},
        {"render_mode": "depth"},
        {"rasterize_mode": "sharp"},
        {"backgrounds": torch.zeros(3)},
        {"sh_degree": 3},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_is_refused_names_the_argument(asked):
    name = next(iter(asked)) if "sh_degree" not in asked else "colors"
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        rasterization(*scene(), **asked)


@pytest.mark.parametrize("i", range(6))
def test_nan_is_refused(i):
    given = [v.detach() if isinstance(v, torch.Tensor) else v for v in scene()]
    given[i].view(-1)[3] = float("nan")
    with pytest.raises(ValueError, match="finite numbers"):
        rasterization(*given)


def test_what_is_not_built_says_so():
    with pytest.raises(NotImplementedError, match="rasterization_2dgs"):
        gsplat.rasterization_2dgs()
    with pytest.raises(NotImplementedError, match="PngCompression"):
        gsplat.PngCompression()


@pytest.mark.usefixtures("needs_f64")
def test_single_steps_make_the_same_image():
    means, quats, scales, opacities, colors, viewmats, Ks, width, height = scene(dtype=torch.float64)
    for packed in (False, True):
        *ids, radii, means2d, depths, conics, none = gsplat.fully_fused_projection(
            means, None, quats, scales, viewmats, Ks, width, height, packed=packed, opacities=opacities
        )
        assert none is None
        image = ids[1] if packed else None
        own = [x[ids[2]] if packed else x.expand(2, *x.shape) for x in (colors, opacities)]
        _, isect_ids, flatten_ids = gsplat.isect_tiles(
            means2d, radii, depths, 16, 3, 3, packed=packed, n_images=2, image_ids=image
        )
        offsets = gsplat.isect_offset_encode(isect_ids, 2, 3, 3)
        background = torch.rand(2, 3, dtype=torch.float64)
        images, alphas = gsplat.rasterize_to_pixels(
            means2d, conics, *own, width, height, 16, offsets, flatten_ids, background, packed=packed
        )
        expected = rasterization(means, quats, scales, opacities, colors, viewmats, Ks, *SIZE, backgrounds=background)
        torch.testing.assert_close((images, alphas), expected[:2])
        a, b = (torch.autograd.grad(v.square().sum(), (means, colors, opacities)) for v in (images, expected[0]))
        torch.testing.assert_close(a, b)
        masks = torch.ones_like(offsets, dtype=torch.bool)
        masks[0, 1, 1] = False
        masked, _ = gsplat.rasterize_to_pixels(
            means2d, conics, *own, width, height, 16, offsets, flatten_ids, background, masks, packed
        )
        torch.testing.assert_close(masked[0, 16:32, 16:32], background[0].expand(16, 16, 3))
        torch.testing.assert_close(masked[1], images[1])
    with pytest.raises(ValueError, match="tile_size"):
        gsplat.rasterize_to_pixels(means2d, conics, *own, width, height, 8, offsets, flatten_ids, packed=True)


def test_projection_of_means_and_covariances():
    means = torch.tensor([[[0.1, 0.2, 3.0], [0.0, 0.0, -1.0]]])
    covars = torch.eye(3).expand(1, 2, 3, 3) * 0.01
    K = torch.tensor([[[50.0, 0, 24], [0, 60, 20], [0, 0, 1]]])
    means2d, covars2d = gsplat.proj(means, covars, K, *SIZE)
    torch.testing.assert_close(means2d[0, 0], torch.tensor([50 / 30 + 24, 4 + 20.0]))
    expected = twin.project(means[0], covars[0], torch.eye(4)[None], K, *SIZE, "pinhole", 0.0)[2][0, 0]
    inverse = torch.linalg.inv(covars2d[0, 0])
    torch.testing.assert_close(torch.stack([inverse[0, 0], inverse[0, 1], inverse[1, 1]]), expected)
    assert not means2d[0, 1].any()
    with pytest.warns(DeprecationWarning, match="world_to_cam"):
        moved, turned = gsplat.world_to_cam(means[0], covars[0], torch.eye(4)[None])
    torch.testing.assert_close((moved, turned), (means, covars))


def test_covariances_and_their_inverses():
    quats, scales = torch.randn(2, 5, 4), torch.rand(2, 5, 3) + 0.5
    covars, precis = gsplat.quat_scale_to_covar_preci(quats, scales)
    torch.testing.assert_close(covars @ precis, torch.eye(3).expand(2, 5, 3, 3), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(covars.view(10, 3, 3), twin.covariances(quats.view(10, 4), scales.view(10, 3)))
    upper, none = gsplat.quat_scale_to_covar_preci(quats, scales, compute_preci=False, triu=True)
    assert none is None
    torch.testing.assert_close(upper, covars[..., [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]])


def test_harmonics():
    dirs, coeffs = torch.randn(2, 7, 3), torch.randn(2, 7, 16, 3)
    colors = gsplat.spherical_harmonics(3, dirs, coeffs)
    torch.testing.assert_close(colors, (twin.harmonics(dirs, 3)[..., None] * coeffs).sum(-2), rtol=1e-4, atol=1e-5)
    masks = torch.rand(2, 7) < 0.5
    masked = gsplat.spherical_harmonics(3, dirs, coeffs, masks)
    torch.testing.assert_close(masked, torch.where(masks[..., None], colors, 0))
    with pytest.raises(ValueError, match="coeffs"):
        gsplat.spherical_harmonics(4, dirs, coeffs)


@pytest.mark.parametrize("batch", [(3,), (2, 1)])
@pytest.mark.parametrize("packed", [False, True])
def test_batches_of_scenes(batch: tuple[int, ...], packed: bool):
    scenes = [scene(30 + 0 * i) for i in range(math.prod(batch))]
    for i, each in enumerate(scenes):
        each[0] = (each[0].detach() + 0.2 * i).requires_grad_()
    expected = [rasterization(*each, packed=packed, render_mode="RGB+ED") for each in scenes]
    tensors = [torch.stack(parts).view(*batch, *parts[0].shape) for parts in zip(*(each[:-2] for each in scenes))]
    colors, alphas, meta = rasterization(*tensors, *SIZE, packed=packed, render_mode="RGB+ED")
    assert colors.shape == (*batch, 2, SIZE[1], SIZE[0], 4)
    assert torch.equal(colors.flatten(0, len(batch) - 1), torch.stack([c for c, _, _ in expected]))
    assert torch.equal(alphas.flatten(0, len(batch) - 1), torch.stack([a for _, a, _ in expected]))
    assert meta["n_batches"] == len(scenes)
    assert meta["isect_offsets"].shape[: len(batch) + 1] == (*batch, 2)
    if packed:
        assert torch.equal(meta["depths"], torch.cat([m["depths"] for _, _, m in expected]))
        counts = torch.tensor([len(m["depths"]) for _, _, m in expected])
        assert torch.equal(meta["batch_ids"], torch.arange(len(scenes)).repeat_interleave(counts))
        assert torch.equal(meta["camera_ids"], torch.cat([m["camera_ids"] for _, _, m in expected]))
        assert torch.equal(meta["gaussian_ids"], torch.cat([m["gaussian_ids"] for _, _, m in expected]))
    else:
        assert meta["means2d"].shape == (*batch, 2, 30, 2)
    up = torch.randn_like(colors)
    grads = torch.autograd.grad(colors, [each[0] for each in scenes], up)
    for part, grad, (own, _, _), each in zip(up.flatten(0, len(batch) - 1), grads, expected, scenes):
        torch.testing.assert_close(grad, torch.autograd.grad(own, each[0], part)[0])
    with pytest.raises(ValueError, match="quats: expected batch dimensions"):
        rasterization(tensors[0], scenes[0][1], *tensors[2:], *SIZE)
    with pytest.raises(ValueError, match="absgrad: expected False with batch dimensions"):
        rasterization(*tensors, *SIZE, absgrad=True)


def test_functions_of_the_first_version():
    means, quats, scales, opacities, colors, viewmats, Ks, width, height = scene(60, 1)
    fx, fy, cx, cy = Ks[0, 0, 0], Ks[0, 1, 1], Ks[0, 0, 2], Ks[0, 1, 2]
    expected, alphas, meta = rasterization(
        means,
        quats,
        1.5 * scales,
        opacities,
        colors,
        viewmats,
        Ks,
        width,
        height,
        packed=False,
        backgrounds=torch.ones(1, colors.shape[1]),
    )
    outputs = gsplat.project_gaussians(means, scales, 1.5, quats, viewmats[0, :3], fx, fy, cx, cy, height, width, 16)
    xys, depths, radii, conics, compensation, hit, covars = outputs
    xys.retain_grad()
    image, alpha = gsplat.rasterize_gaussians(
        xys, depths, radii, conics, hit, colors, opacities[:, None], height, width, 16, return_alpha=True
    )
    torch.testing.assert_close(image, expected[0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(alpha, alphas[0, ..., 0], atol=1e-6, rtol=1e-5)
    assert torch.equal(radii > 0, (meta["radii"][0] > 0).any(-1))
    assert hit.shape == compensation.shape == (60,)
    assert covars.shape == (60, 6)
    up = torch.randn_like(image)
    leaves = [means, quats, scales, opacities, colors]
    found = torch.autograd.grad(image, [*leaves, xys], up)
    for a, b in zip(found, torch.autograd.grad(expected, leaves, up[None])):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-4)
    assert found[-1].any()
    as_bytes = (colors.detach() * 255).byte()
    grey = gsplat.rasterize_gaussians(
        xys, depths, radii, conics, hit, as_bytes, opacities[:, None], height, width, 16, torch.zeros(colors.shape[1])
    )
    torch.testing.assert_close(grey + (1 - alpha)[..., None], image, atol=0.01, rtol=0)
    with pytest.raises(ValueError, match="opacity: expected shape"):
        gsplat.rasterize_gaussians(xys, depths, radii, conics, hit, colors, opacities, height, width, 16)
    directions, coefficients = torch.randn(5, 3), torch.randn(5, gsplat.num_sh_bases(2), 3)
    torch.testing.assert_close(
        gsplat.legacy.spherical_harmonics(2, 3 * directions, coefficients, method="poly"),
        gsplat.spherical_harmonics(2, directions, coefficients),
    )


def test_an_own_operation_on_parameters_and_optimizers():
    params = torch.nn.ParameterDict({"means": torch.randn(4, 3), "opacities": torch.randn(4)})
    optimizers = {name: torch.optim.Adam([value]) for name, value in params.items()}
    sum(value.sum() for value in params.values()).backward()
    for optimizer in optimizers.values():
        optimizer.step()
    seen = []
    _update_param_with_optimizer(
        lambda name, p: torch.nn.Parameter(p[:2]),
        lambda key, v: seen.append(key) or v[:2],
        params,
        optimizers,
        names=["means"],
    )
    assert params["means"].shape == (2, 3)
    assert params["opacities"].shape == (4,)
    assert {*seen} == {"exp_avg", "exp_avg_sq"}
    assert optimizers["means"].state[params["means"]]["exp_avg"].shape == (2, 3)


def test_the_name_gsplat(tmp_path: Path):
    script = tmp_path / "program.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(gsplat.__file__).parents[2])!r})\n"
        "import tirender.gsplat; tirender.gsplat.install(); tirender.gsplat.install()\n"
        "import gsplat\n"
        "from gsplat import rasterization, DefaultStrategy, MCMCStrategy\n"
        "from gsplat.compression import PngCompression\n"
        "from gsplat.cuda._wrapper import fully_fused_projection\n"
        "from gsplat.distributed import cli\n"
        "from gsplat.optimizers import SelectiveAdam\n"
        "from gsplat.rendering import rasterization as same\n"
        "from gsplat.strategy import Strategy\n"
        "from gsplat.strategy.ops import relocate\n"
        "from gsplat.relocation import compute_relocation\n"
        "from gsplat.utils import depth_to_normal\n"
        "from gsplat.cuda_legacy._wrapper import num_sh_bases\n"
        "from gsplat.cuda_legacy._torch_impl import quat_to_rotmat\n"
        "from gsplat.project_gaussians import project_gaussians\n"
        "from gsplat.rasterize import rasterize_gaussians\n"
        "from gsplat.sh import spherical_harmonics\n"
        "assert project_gaussians is gsplat.project_gaussians\n"
        "assert same is rasterization is tirender.gsplat.rasterization and gsplat.__version__ == '1.5.3'\n"
        "cli(lambda *ranks: print(ranks[:3]), None)\n"
        "sys.modules['gsplat'] = sys\n"
        "try: tirender.gsplat.install()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "(0, 0, 1)" in done.stdout
    assert "already imported" in done.stdout


def test_the_same_bits_again():
    if runtime.arch() != "cpu":
        pytest.skip("a GPU adds in any order")
    given = scene(300, 2)
    runs = []
    for _ in range(2):
        colors, alphas, _ = rasterization(*given, render_mode="RGB+ED")
        runs.append((colors, alphas, *torch.autograd.grad(colors.sum() + alphas.sum(), given[:6])))
    assert all(torch.equal(a, b) for a, b in zip(*runs))


@pytest.mark.parametrize("format", ["ply", "splat", "ply_compressed"])
def test_export_splats(tmp_path: Path, format: str):
    from tirender.gsplat import export_splats
    from tirender.io import load_gaussians

    n = 20
    means, quats, scales, logits = torch.randn(n, 3), torch.randn(n, 4), torch.randn(n, 3) - 3, torch.randn(n)
    sh0, shN = torch.randn(n, 1, 3), torch.randn(n, 8, 3)
    shN[3, 2, 1], means[5] = float("nan"), float("inf")
    logits[7] = -9.0  # which the compressed kind leaves out
    path = tmp_path / {"ply": "a.ply", "splat": "a.splat", "ply_compressed": "a.compressed.ply"}[format]
    leaves = [x.requires_grad_() for x in (means, scales, quats, logits, sh0, shN)]
    data = export_splats(*leaves, format=format, save_to=str(path))
    assert path.read_bytes() == data
    again = load_gaussians(path)
    kept = [i for i in range(n) if i not in (3, 5, *([7] if format == "ply_compressed" else []))]
    assert len(again) == len(kept)
    if format == "ply":
        assert torch.equal(again.means, means[kept])
        assert torch.equal(again.log_scales, scales[kept])
        assert torch.equal(again.harmonics, torch.cat([sh0, shN], 1)[kept])
    assert (torch.cdist(means[kept].detach(), again.means).amin(0) < 0.01).all()
    with pytest.raises(ValueError, match="format: expected 'ply' or 'splat' or 'ply_compressed', got 'spz'"):
        export_splats(*leaves, format="spz")
    with pytest.raises(ValueError, match="sh0: expected shape"):
        export_splats(*leaves[:4], sh0[:, 0], shN)


def test_save_ply(tmp_path: Path):
    from tirender.gsplat.utils import get_projection_matrix, save_ply
    from tirender.io import load_gaussians

    n = 5
    splats = torch.nn.ParameterDict(
        {
            "means": torch.randn(n, 3),
            "scales": torch.randn(n, 3),
            "quats": torch.randn(n, 4),
            "opacities": torch.randn(n),
            "sh0": torch.randn(n, 1, 3),
            "shN": torch.randn(n, 3, 3),
        }
    )
    save_ply(splats, str(tmp_path / "a.ply"))
    assert torch.equal(load_gaussians(tmp_path / "a.ply").harmonics[:, 1:], splats["shN"])
    save_ply(splats, tmp_path / "a.ply", torch.full((n, 3), 0.75))
    assert torch.allclose(load_gaussians(tmp_path / "a.ply").colors, torch.tensor(0.75))
    corner = torch.tensor([[math.tan(0.5) * z, math.tan(1.0) * z, z, 1] for z in (1.0, 9.0)])
    clip = corner @ get_projection_matrix(1.0, 9.0, 1.0, 2.0).T
    torch.testing.assert_close(clip / clip[:, 3:], torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1.0]]), atol=1e-6, rtol=0)
