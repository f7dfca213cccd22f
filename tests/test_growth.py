"""Gaussians added, divided, moved and removed, with the moments of their optimizers; gsplat's strategies."""

from __future__ import annotations

import math

import pytest
import torch
from splat_cases import views, world

from tirender.fit import growth
from tirender.gsplat import DefaultStrategy, MCMCStrategy, SelectiveAdam, rasterization
from tirender.gsplat.relocation import compute_relocation
from tirender.gsplat.strategy import ops

N = 20


def trained(n: int = N, column: bool = False) -> tuple[dict, dict]:
    """Parameters after a step of their optimizers."""
    shape = (n, 1) if column else (n,)
    values = {
        "means": torch.randn(n, 3),
        "quats": torch.randn(n, 4),
        "scales": torch.randn(n, 3) - 1,
        "opacities": torch.randn(*shape),
        "sh0": torch.randn(n, 1, 3),
    }
    params = {k: torch.nn.Parameter(v) for k, v in values.items()}
    optimizers = {k: torch.optim.Adam([v], lr=0.01) for k, v in params.items()}
    for optimizer, p in zip(optimizers.values(), params.values()):
        p.grad = torch.randn_like(p)
        optimizer.step()
    return params, optimizers


def moments(params: dict, optimizers: dict, name: str = "means") -> torch.Tensor:
    return optimizers[name].state[params[name]]["exp_avg"]


def consistent(params: dict, optimizers: dict) -> int:
    n = len(params["means"])
    for name, p in params.items():
        assert len(p) == n
        assert p.requires_grad
        assert optimizers[name].param_groups[0]["params"][0] is p
        assert moments(params, optimizers, name).shape == p.shape
        p.grad = torch.ones_like(p)
        optimizers[name].step()
    return n


@pytest.mark.parametrize("column", [False, True])
def test_duplicate_and_remove(column):
    params, optimizers = trained(column=column)
    before, first = params["means"].detach().clone(), moments(params, optimizers).clone()
    state = {"grad2d": torch.arange(float(N)), "scene_scale": 2.0}
    mask = torch.arange(N) % 3 == 0
    growth.duplicate(params, optimizers, state, mask)
    assert torch.equal(params["means"], torch.cat([before, before[mask]]))
    assert torch.equal(moments(params, optimizers)[:N], first)
    assert not moments(params, optimizers)[N:].any()
    assert torch.equal(state["grad2d"][N:], torch.arange(float(N))[mask])
    growth.remove(params, optimizers, state, torch.arange(len(state["grad2d"])) < N)
    assert torch.equal(params["means"], before[mask])
    assert consistent(params, optimizers) == int(mask.sum())


@pytest.mark.parametrize("revised", [False, True])
def test_split(revised):
    params, optimizers = trained(4000)
    with torch.no_grad():
        for name in ("means", "quats", "scales", "opacities"):
            params[name][:] = params[name][:1].clone()
    whole = {k: v.detach().clone() for k, v in params.items()}
    state = {"count": torch.arange(4000.0)}
    mask = torch.arange(4000) < 2000
    growth.split(params, optimizers, state, mask, revised)
    assert consistent(params, optimizers) == 6000
    torch.testing.assert_close(params["means"][:2000].detach(), whole["means"][2000:], atol=0.03, rtol=0)
    torch.testing.assert_close(params["scales"][2000].exp() * 1.6, whole["scales"][0].exp(), rtol=0.02, atol=0)
    spread = (params["means"][2000:].detach() - whole["means"][0]).T.cov()
    turn = growth.quaternion_to_matrix(whole["quats"][0]) * whole["scales"][0].exp()
    assert ((spread - turn @ turn.T).abs() < 0.12 * (turn @ turn.T).diagonal().max()).all()
    opacity = params["opacities"][2000:].detach().sigmoid().mean()
    expected = whole["opacities"][0].sigmoid()
    expected = 1 - (1 - expected).sqrt() if revised else expected
    assert abs(opacity - expected) < 0.01
    assert torch.equal(state["count"], torch.cat([torch.arange(2000.0, 4000), torch.arange(2000.0).repeat(2)]))


def test_reset():
    params, optimizers = trained(column=True)
    growth.reset_opacities(params, optimizers, 0.01)
    assert params["opacities"].sigmoid().max() <= 0.010001
    assert not moments(params, optimizers, "opacities").any()
    assert moments(params, optimizers).any()


def test_parts_look_as_the_whole_did():
    """Of n Gaussians at one place, the sum over x of all is what it was: the integral, as the paper asks for."""
    opacities = torch.tensor([0.3, 0.9, 0.05, 1.0], dtype=torch.float64)
    scales = torch.full((4, 3), 0.7, dtype=torch.float64)
    x = torch.linspace(-20, 20, 40001, dtype=torch.float64)
    for ratio in (1, 2, 5, 51):
        parts, sizes = growth.relocated(opacities, scales, torch.full((4,), ratio))
        for o, s, part, size in zip(opacities, scales, parts, sizes):
            one = o * torch.exp(-(x**2) / (2 * s[0] ** 2))
            alpha = part * torch.exp(-(x**2) / (2 * size[0] ** 2))
            seen = 1 - (1 - alpha) ** ratio
            assert abs(float(one.sum() / seen.sum()) - 1) < 1e-5
            assert abs(float(1 - (1 - part) ** ratio - o)) < 1e-6
    again = compute_relocation(opacities, scales, torch.tensor([1, 2, 99, 0]), torch.zeros(51, 51))
    assert all(v.isfinite().all() for v in again)


@pytest.mark.parametrize("column", [False, True])
def test_relocate_and_add(column):
    params, optimizers = trained(200, column)
    with torch.no_grad():
        params["opacities"][:50] = -9
    before = {k: v.detach().clone() for k, v in params.items()}
    dead = params["opacities"].flatten().sigmoid() <= 0.005
    growth.relocate(params, optimizers, {}, dead)
    assert (params["opacities"].sigmoid() > 0.004).all()
    moved = params["means"][:50].detach()
    assert (moved[:, None] == before["means"][50:]).all(-1).any(1).all()
    changed = (params["opacities"] != before["opacities"]).flatten()[50:]
    assert 20 < changed.sum() <= 50
    assert not moments(params, optimizers)[50:][changed].any()
    growth.add(params, optimizers, {}, 30)
    assert consistent(params, optimizers) == 230
    growth.relocate(params, optimizers, {}, torch.zeros(230, dtype=torch.bool))
    growth.relocate(params, optimizers, {}, torch.ones(230, dtype=torch.bool))
    assert consistent(params, optimizers) == 230


def test_disturbance_follows_covariance_and_opacity():
    params, _ = trained(6000)
    with torch.no_grad():
        params["quats"][:], params["scales"][:] = params["quats"][0].clone(), torch.tensor([0.0, -1, -2])
        params["means"].zero_()
        params["opacities"][:3000], params["opacities"][3000:] = -12, 3
    growth.disturb(params, 1.0)
    assert params["means"][3000:].abs().max() < 1e-6
    turn = growth.quaternion_to_matrix(params["quats"][0]).detach()
    along = params["means"][:3000].detach() @ turn
    expected = torch.sigmoid(torch.tensor(0.5)) * torch.tensor([1.0, math.exp(-2), math.exp(-4)])
    torch.testing.assert_close(along.std(0), expected, rtol=0.1, atol=0)


def test_draws_from_very_many():
    chosen = growth.draw(torch.tensor([0.0, 3.0, 1.0]), 4000)
    assert abs(int((chosen == 1).sum()) - 3000) < 150
    weights = torch.zeros((1 << 24) + 2)
    weights[-1] = 1
    assert growth.draw(weights, 3).tolist() == [(1 << 24) + 1] * 3


def test_parameters_without_optimizer():
    params, optimizers = trained()
    del optimizers["sh0"]
    with pytest.raises(ValueError, match="optimizers"):
        growth.remove(params, optimizers, {}, torch.zeros(N, dtype=torch.bool))
    params["sh0"].requires_grad_(False)
    growth.remove(params, optimizers, {}, torch.arange(N) < 5)
    assert len(params["sh0"]) == N - 5
    assert not params["sh0"].requires_grad


def gsplat_scene(n: int = 150) -> tuple[torch.nn.ParameterDict, dict, torch.Tensor, list]:
    """Parameters as gsplat's trainer has them, a target image, and the cameras."""
    given = world(n)
    viewmats, Ks = views(1, 48, 40)
    with torch.no_grad():
        target = rasterization(*given.values(), viewmats, Ks, 48, 40)[0]
    raw = {
        "means": given["means"] + 0.05 * torch.randn(n, 3),
        "quats": given["quats"],
        "scales": given["scales"].log(),
        "opacities": given["opacities"].logit() - 1,
        "colors": torch.zeros(n, 3),
    }
    params = torch.nn.ParameterDict({k: torch.nn.Parameter(v) for k, v in raw.items()})
    optimizers = {k: torch.optim.Adam([p], lr=0.01) for k, p in params.items()}
    return params, optimizers, target, [viewmats, Ks, 48, 40]


def train(strategy, steps: int, is_packed: bool = False, **more) -> tuple[list[float], list[int]]:
    """gsplat's training loop."""
    params, optimizers, target, cameras = gsplat_scene()
    strategy.check_sanity(params, optimizers)
    state = strategy.initialize_state()
    losses, counts = [], []
    for step in range(steps):
        image, _, info = rasterization(
            params["means"],
            params["quats"],
            params["scales"].exp(),
            params["opacities"].sigmoid(),
            params["colors"].sigmoid(),
            *cameras,
            packed=is_packed,
            absgrad=getattr(strategy, "absgrad", False),
        )
        strategy.step_pre_backward(params, optimizers, state, step, info)
        loss = (image - target).abs().mean()
        loss.backward()
        losses.append(loss.item())
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        strategy.step_post_backward(params, optimizers, state, step, info, **more)
        counts.append(len(params["means"]))
    return losses, counts


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("absgrad", [False, True])
def test_default_strategy(packed, absgrad, capsys):
    strategy = DefaultStrategy(
        refine_start_iter=5, refine_every=10, reset_every=25, grow_grad2d=1e-3, grow_scale3d=0.1, absgrad=absgrad,
        refine_scale2d_stop_iter=30, verbose=True,
    )  # fmt: skip
    losses, counts = train(strategy, 60, packed, packed=packed)
    assert losses[20] < 0.7 * losses[0]
    assert max(counts) > 150
    assert losses[26] > 1.2 * losses[25]  # opacities are low again
    assert "cloned" in capsys.readouterr().out


def test_mcmc_strategy(capsys):
    strategy = MCMCStrategy(refine_start_iter=5, refine_every=10, cap_max=180, noise_lr=10, verbose=True)
    losses, counts = train(strategy, 60, lr=1e-3)
    assert losses[-1] < 0.5 * losses[0]
    assert counts[-1] == 180
    assert "moved" in capsys.readouterr().out


def test_strategies_check_what_they_get():
    params, optimizers = trained()
    for strategy in (DefaultStrategy(), MCMCStrategy()):
        strategy.check_sanity(params, optimizers)
        with pytest.raises(AssertionError, match="optimizers"):
            strategy.check_sanity(params, {})
        with pytest.raises(AssertionError, match="quats"):
            strategy.check_sanity(*({k: v for k, v in d.items() if k != "quats"} for d in (params, optimizers)))


def test_names_of_ops():
    params, optimizers = trained()
    binoms = MCMCStrategy().initialize_state()["binoms"]
    assert binoms[5, 2] == 10
    ops.reset_opa(params, optimizers, {}, 0.5)
    ops.relocate(params, optimizers, {}, torch.arange(N) < 3, binoms)
    ops.sample_add(params, optimizers, {}, 4, binoms)
    ops.inject_noise_to_position(params, optimizers, {}, 0.1)
    assert consistent(params, optimizers) == N + 4


def test_selective_adam():
    p = torch.nn.Parameter(torch.ones(4, 3))
    optimizer = SelectiveAdam([{"params": [p], "lr": 0.1}], eps=1e-15, betas=(0.9, 0.999))
    p.grad = torch.full_like(p, 2.0)
    optimizer.step(torch.tensor([1.0, 0, 1, 0]))
    step = 0.1 * (0.1 * 2) / math.sqrt(0.001 * 4)
    torch.testing.assert_close(p[:, 0].detach(), torch.tensor([1 - step, 1, 1 - step, 1]))
