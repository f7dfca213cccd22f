"""Cameras fitted with a scene: what their changes mean, and that they lead back from perturbed places."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_fit_splats import SIZE, Stop, capture, config, truth, write_photos

from tirender import datasets
from tirender.captures import load_capture
from tirender.cli import main
from tirender.engine import runtime
from tirender.fit import Capture, Checkpoint, SplatConfig, Views, fit_nerf, fit_splats, normalized, render_views
from tirender.fit.held_out import photo_quality
from tirender.fit.held_out_cameras import aligned
from tirender.fit.nerf import HASHGRID_NERF
from tirender.fit.photos import as_capture, pinholes
from tirender.fit.refinement import CameraRefinement, as_pinholes, refined_record, refined_viewmats
from tirender.fit.splats import SplatModel
from tirender.fit.views import camera_record
from tirender.io import load_objs_as_meshes
from tirender.ops import corresponding_cameras_alignment
from tirender.renderer import PerspectiveCameras
from tirender.transforms import so3_exp_map


def centres_of(cameras: PerspectiveCameras) -> torch.Tensor:
    return -(cameras.R @ cameras.T[..., None])[..., 0]


def perturbed(cameras: PerspectiveCameras, degrees: float, share: float, seed: int = 1) -> PerspectiveCameras:
    """Cameras turned by so many degrees, and moved by a share of their distance from the origin, in any direction."""
    g = torch.Generator().manual_seed(seed)
    axes, ways = (F.normalize(torch.randn(len(cameras), 3, generator=g), dim=1) for _ in range(2))
    centres = centres_of(cameras)
    moved = cameras.clone()
    moved.R = cameras.R @ so3_exp_map(axes * torch.deg2rad(torch.tensor(degrees)))
    centres = centres + share * centres.norm(dim=1, keepdim=True) * ways
    moved.T = -(centres[:, None] @ moved.R)[:, 0]
    return moved


def errors(cameras: PerspectiveCameras, true: PerspectiveCameras) -> tuple[float, float]:
    """The median error of directions in degrees, and of places as a share of the distance from the origin."""
    found = corresponding_cameras_alignment(cameras, true)
    rest = found.R.transpose(1, 2) @ true.R
    sines = (rest - rest.transpose(1, 2)).flatten(1).norm(dim=1) / 8**0.5
    off = (centres_of(found) - centres_of(true)).norm(dim=1) / centres_of(true).norm(dim=1)
    return float(torch.rad2deg(sines.asin()).median()), float(off.median())


def refinement_of(cameras: PerspectiveCameras, depth: float = 2.0) -> CameraRefinement:
    return CameraRefinement(cameras, torch.full((len(cameras.T),), depth))


def test_no_change_at_first():
    cameras = as_pinholes(capture())
    found = refinement_of(cameras)()
    for name in ("R", "focal_length", "principal_point"):
        assert torch.equal(getattr(found, name), getattr(cameras, name))
    torch.testing.assert_close(found.T, cameras.T)


def test_what_the_changes_mean():
    cameras = as_pinholes(capture())
    refinement = refinement_of(cameras)
    with torch.no_grad():
        refinement.turns[2, 1], refinement.shifts[3, 2], refinement.zooms[0] = 0.1, 0.25, 0.5
    found = refinement([2, 3])
    assert len(refinement.zooms) == 1  # one lens
    pivot = centres_of(cameras)[2] + 2 * cameras.R[2, :, 2]
    torch.testing.assert_close(found.transform_points(pivot[None])[0], cameras[[2]].transform_points(pivot[None]))
    torch.testing.assert_close((centres_of(found)[0] - pivot).norm(), torch.tensor(2.0))
    cosine = (found.R[0] * cameras.R[2]).sum(0)  # of its axes with what they were
    torch.testing.assert_close(cosine, torch.tensor([0.1, 0.0, 0.1]).cos(), atol=1e-5, rtol=0)
    ahead = cameras.R[3, :, 2]
    torch.testing.assert_close(centres_of(found)[1], centres_of(cameras)[3] + 0.5 * ahead)
    torch.testing.assert_close(found.focal_length, cameras.focal_length[2:4] * torch.tensor(0.5).exp())


def test_a_zoom_is_drawn_as_a_longer_focal_length():
    photos = capture()
    viewmats, intrinsics = pinholes(photos)
    refinement = refinement_of(as_pinholes(photos))
    model = SplatModel(truth(), SIZE, config())
    zoomed = intrinsics.clone()
    zoomed[:, :2, :2] *= torch.tensor(0.2).exp()
    expected = model.draw(viewmats[:2], zoomed[:2], 1).images
    with torch.no_grad():
        refinement.zooms.fill_(0.2)
    views = refined_viewmats(refinement, [0, 1], viewmats)
    drawn = model.draw(views, intrinsics[:2], 1).images
    torch.testing.assert_close(drawn, expected, atol=2e-4, rtol=0)
    means = model.draw(views, intrinsics[:2], 1).means2d  # in pixels: focal length times x / z, plus the centre
    from_centre = torch.where(means == 0, 0.0, means - intrinsics[:2, None, :2, 2]).detach()
    weights = torch.rand(means.shape, generator=torch.Generator().manual_seed(0))
    (means * weights).sum().backward()
    assert float(refinement.zooms.grad) == pytest.approx(float((from_centre * weights).sum()), rel=1e-4)


def test_others_move_as_the_world_did():
    cameras = as_pinholes(capture())
    fitted, others = (PerspectiveCameras(1.5, R=cameras.R[i::2], T=cameras.T[i::2]) for i in (0, 1))
    fitted.focal_length, others.focal_length = (torch.full((len(c.T), 2), 1.5) for c in (fitted, others))
    turn, scale = so3_exp_map(torch.tensor([[0.1, -0.2, 0.05]]))[0], 1.1
    refinement = refinement_of(fitted, 1.0)

    def world(camera: PerspectiveCameras) -> tuple[torch.Tensor, torch.Tensor]:
        return turn @ camera.R, scale * camera.T + torch.tensor([0.1, 0.0, 0.2]) @ (turn @ camera.R)

    R, T = world(fitted)
    refinement.forward = lambda index=None: PerspectiveCameras(fitted.focal_length, R=R, T=T)  # type: ignore[method-assign]
    with torch.no_grad():
        refinement.zooms.fill_(0.3)
    found, (R, T) = refinement.moved(others), world(others)
    torch.testing.assert_close(found.R, R, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.T, T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.focal_length, 1.5 * torch.tensor(0.3).exp().expand(len(R), 2))


def test_cameras_are_aligned_with_a_scene_that_stays():
    photos = capture()
    model = SplatModel(truth(), SIZE, replace(config(), refine_cameras=True), photos)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    true = as_pinholes(photos)[[0, 3, 6]]
    wrong = replace(photos[[0, 3, 6]], cameras=perturbed(true, 1.0, 0.01))
    found = aligned(model, wrong)
    degrees = torch.rad2deg((found.cameras.R - true.R).flatten(1).norm(dim=1) / 2**0.5)
    assert float(degrees.max()) < 0.1
    assert float((centres_of(found.cameras) - centres_of(true)).norm(dim=1).max()) < 0.003 * 3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert photo_quality(model, wrong)["psnr"] > 40
    assert photo_quality(model, wrong, aligning=False)["psnr"] < 30


@pytest.mark.parametrize("exposure", ["none", "affine"])
def test_resumed_to_the_bit(tmp_path: Path, exposure: str):
    if runtime.arch() != "cpu":
        pytest.skip("a GPU adds in any order")
    photos, settings = capture(), config(steps=30, refine_cameras=True, exposure=exposure)
    whole = fit_splats(photos, config=settings)
    assert whole.module.refinement.turns.abs().max() > 0
    fit_splats(photos, config=settings, callbacks=[Checkpoint(tmp_path / "a.pt", 1000), Stop(13)])
    again = fit_splats(photos, config=settings, callbacks=[Checkpoint(tmp_path / "a.pt", 1000)])
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name]), name


def test_states_that_no_camera_has_are_refused():
    refinement = refinement_of(as_pinholes(capture()))
    state = refinement.state_dict()
    for name, value, message in (
        ("depths", torch.zeros(9), "depths: expected numbers above 0"),
        ("zooms", torch.tensor([80.0]), "zooms: expected at most 5"),
    ):
        with pytest.raises(ValueError, match=message):
            refinement.load_state_dict({**state, name: value})
    with pytest.raises(RuntimeError, match="turns"):
        refinement.load_state_dict({**state, "turns": torch.zeros(2, 3)})


def test_the_record_of_a_checkpoint_is_refined():
    photos = capture()
    refinement = refinement_of(as_pinholes(photos))
    record = camera_record(photos)
    assert refined_record(record, {}) == record
    with torch.no_grad():
        refinement.turns.normal_(0, 0.1)
        refinement.zooms.fill_(0.1)
        expected = refinement()
    found = refined_record(record, {f"refinement.{k}": v for k, v in refinement.state_dict().items()})
    torch.testing.assert_close(found["R"], expected.R)
    torch.testing.assert_close(found["T"], expected.T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["focal"], expected.focal_length)
    with pytest.raises(ValueError, match="cameras T"):
        refined_record({**record, "T": record["T"][:2]}, {"refinement.turns": torch.zeros(9, 3)})


def test_the_command(tmp_path: Path):
    photos, output = tmp_path / "photos", tmp_path / "out"
    write_photos(photos)
    command = ["fit", "splats", str(photos), "-o", str(output), "--steps", "12", "--refine-cameras"]
    assert main([*command, "--exposure", "gain", "--max-gaussians", "150"]) == 0
    facts = json.loads((output / "losses.json").read_text())
    assert {"held_out_psnr", "held_out_psnr_unmatched", "held_out_ssim"} <= facts["quality"].keys()
    assert facts["settings"]["refine_cameras"] is True
    written = json.loads((output / "transforms.json").read_text())
    given = load_capture(photos).split()[0]
    assert [frame["file_path"] for frame in written["frames"]] == [*given.names]
    poses = torch.tensor([frame["transform_matrix"] for frame in written["frames"]])
    # a few steps have moved them a little, from where they were
    assert 0 < float((poses[:, :3, 3] - given.cameras.get_camera_center()).abs().max()) < 0.2
    assert float((poses[:, :3, 2] + given.cameras.R[:, :, 2]).abs().max()) < 0.1
    assert written["frames"][0]["fl_x"] == pytest.approx(1.5 * min(SIZE) / 2, rel=0.05)


def creature(n: int, size: int) -> Views:
    """Views whose pixels are means of four."""
    return render_views(normalized(load_objs_as_meshes([datasets.creature()]))[0], n, 2 * size).resized(size)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["splats", "hashgrid"])
def test_perturbed_cameras_are_recovered(kind: str):
    """By 1 degree and 1 %: what is left is below 0.2 degrees and 0.2 %, a tenth of a pixel."""
    views = creature(40, 400)
    true = as_pinholes(as_capture(views))
    wrong = perturbed(true, 1.0, 0.01)
    before = errors(wrong, true)
    assert before[0] > 0.8
    assert before[1] > 0.008
    photos = replace(views, cameras=wrong)
    settings = {"refine_cameras": True, "progress": False}
    if kind == "splats":
        run = fit_splats(photos, config=SplatConfig(steps=6000, max_gaussians=10_000, n_random=5000, **settings))
    else:
        run = fit_nerf(photos, replace(HASHGRID_NERF, steps=5000, **settings))
    with torch.no_grad():
        degrees, share = errors(run.module.refinement(), true)
    assert degrees < 0.2
    assert share < 0.002


def test_a_capture_is_what_refinement_takes():
    views = creature(3, 16)
    photos = as_capture(views)
    assert isinstance(photos, Capture)
    cameras = as_pinholes(photos)
    points = torch.randn(3, 5, 3)
    expected = views.cameras.transform_points(points)[..., :2]
    torch.testing.assert_close(cameras.transform_points(points)[..., :2], expected, atol=1e-4, rtol=1e-4)
