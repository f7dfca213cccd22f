"""Gaussians fitted to photos of a scene (Kerbl et al. 2023), with growth by relocation (Kheradmand et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tirender.captures import Capture
from tirender.checks import check_kind, fail
from tirender.engine.project_gaussians import Projection
from tirender.engine.splatting import Drawing, Drawn, World, draw_gaussians
from tirender.fit import distributed, growth
from tirender.fit.adam import adam
from tirender.fit.exposure import Exposure
from tirender.fit.first_gaussians import first_gaussians, scene_extent
from tirender.fit.loop import fit
from tirender.fit.photos import as_capture, batches, image_on, pinholes
from tirender.fit.refinement import rate_of_cameras, refined_viewmats, refinement_of
from tirender.fit.run import Callback, FitRun
from tirender.fit.splat_config import BEST_SPLATS as BEST_SPLATS
from tirender.fit.splat_config import GROWTH as GROWTH
from tirender.fit.splat_config import SplatConfig
from tirender.fit.views import Views
from tirender.loss import ssim
from tirender.renderer import CamerasBase, PerspectiveCameras
from tirender.renderer.gaussians.cameras import pixel_cameras
from tirender.structures import Gaussians, Meshes, Pointclouds

FINAL_RATE = 0.01  # the means' learning rate at the last step, as a fraction of the first
PRUNED, RESET_EVERY = 0.005, 3000  # opacity below which Gaussians are removed; steps between resets
HIGH_GRADIENT, SMALL, BIG = 2e-4, 0.01, 0.1  # in units of half an image, and of the scene
NEAR = 0.2  # what is drawn begins at this part of the depth at which the points of a scene do
DISTURBANCE = 5e5  # of means, times their learning rate


class SplatModel(nn.Module):
    """Gaussians as parameters; ``forward(cameras)`` returns images.

    Args:
        gaussians: at first.
        image_size: height and width of the images where none is asked for.
        config: the settings.
        photos: those fitted to, if their cameras are to be refined, or they have exposures, or bound the scene.
    Attributes:
        refinement: of the cameras, or None.
        exposure: of the photos, or None.
    """

    gradients: torch.Tensor
    counts: torch.Tensor

    def __init__(
        self,
        gaussians: Gaussians,
        image_size: tuple[int, int],
        config: SplatConfig,
        photos: Capture | None = None,
    ) -> None:
        super().__init__()
        g = gaussians.detach().with_degree(config.degree)
        values = {
            "means": g.means,
            "quats": g.quats,
            "scales": g.log_scales,
            "opacities": g.logits,
            "first": g.harmonics[:, :1],
            "rest": g.harmonics[:, 1:],
        }
        self.values = nn.ParameterDict({name: nn.Parameter(value.clone()) for name, value in values.items()})
        self.register_buffer("gradients", g.means.new_zeros(len(g)))  # of means in the image, summed since the growth
        self.register_buffer("counts", g.means.new_zeros(len(g)))  # of images that they were summed over
        self.background = config.background
        self.image_size, self._config = image_size, config
        self.refinement = self.exposure = None
        if photos is not None and config.refine_cameras:
            self.refinement = refinement_of(photos)
        if photos is not None and config.exposure != "none":
            self.exposure = Exposure(len(photos), config.exposure).to(g.means)
        is_scene = photos is not None and photos.points is not None and not photos.has_masks
        self._near = NEAR * photos.bounds.near if is_scene else Projection.near  # type: ignore[union-attr]

    def gaussians(self) -> Gaussians:
        """The Gaussians, differentiable in the parameters."""
        v = self.values
        harmonics = torch.cat([v["first"], v["rest"]], 1)
        return Gaussians.from_raw(v["means"], v["quats"], v["scales"], v["opacities"], harmonics)

    def forward(self, cameras: CamerasBase, image_size: tuple[int, int] | None = None) -> torch.Tensor:
        """Images (N, H, W, 4) for N cameras, colours on the background and opacity, without gradients."""
        size = image_size or self.image_size
        viewmats, intrinsics, _ = pixel_cameras(cameras, size)
        with torch.no_grad():
            drawn = [self.draw(v[None], k[None], self._config.degree, None, size) for v, k in zip(viewmats, intrinsics)]
            return torch.cat([torch.cat([d.images, d.alphas], -1) for d in drawn])

    def draw(
        self,
        viewmats: torch.Tensor,
        intrinsics: torch.Tensor,
        degree: int,
        backgrounds: torch.Tensor | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> Drawn:
        """Draw the Gaussians, with harmonics to a degree, on backgrounds (I, 3) or that of the settings."""
        config, v = self._config, self.values
        rest = v["rest"] if degree else None
        world = World(v["means"], v["quats"], v["scales"].exp(), v["opacities"].sigmoid(), v["first"], rest)
        height, width = image_size or self.image_size
        projection = Projection(width, height, near=self._near, compensated=config.antialiased)
        if backgrounds is None and self.background is not None:
            backgrounds = viewmats.new_tensor(self.background).expand(len(viewmats), 3)
        return draw_gaussians(world, viewmats, intrinsics, backgrounds, projection, Drawing(degree))

    def exposed(self, drawn: Drawn, photos: Sequence[int], backgrounds: torch.Tensor | None) -> torch.Tensor:
        """Images as photos show them, by their exposures."""
        if self.exposure is None:
            return drawn.images
        if backgrounds is None:
            behind = drawn.images.new_zeros(3) if self.background is None else drawn.images.new_tensor(self.background)
        else:
            behind = backgrounds[:, None, None]
        behind = (1 - drawn.alphas) * behind
        shown: torch.Tensor = self.exposure(drawn.images - behind, drawn.alphas, photos)
        return shown + behind

    def photo_loss(self, photos: Capture, i: int, camera: PerspectiveCameras) -> torch.Tensor:
        """How a photo differs from what a camera sees; differentiable in the camera's place and direction."""
        viewmats, intrinsics, _ = pixel_cameras(camera, photos.sizes[i])
        drawn = self.draw(viewmats, intrinsics.detach(), self._config.degree, None, photos.sizes[i])
        return (drawn.images[0] - image_on(photos, i, self.background)).abs().mean()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of any module; the number of Gaussians becomes that of the state."""
        own = {name: v for name, v in self.state_dict().items() if not name.startswith(("refinement.", "exposure."))}
        rows = {name: state_dict[name].shape[:1] for name in own if name in state_dict}
        if len({*rows.values()}) > 1:
            fail("module", "one row a Gaussian in all parameters", {name: list(n) for name, n in rows.items()})
        for name, n in rows.items():
            holder, _, key = name.rpartition(".")
            resized = own[name].new_empty(n + own[name].shape[1:])
            if holder:
                self.values[key].data = resized
            else:
                setattr(self, key, resized)
        return super().load_state_dict(state_dict, strict, assign)

    def watch(self, drawn: Drawn, scale: float = 1.0) -> None:
        """Add up the gradients of the means in each image, during the backward pass.

        Args:
            drawn: images, of whose mean loss this is to be the gradient.
            scale: factor of that loss.
        """
        height, width = drawn.images.shape[1:3]
        seen = drawn.radii[..., 0] > 0

        def remember(gradient: torch.Tensor) -> None:
            size = (gradient * gradient.new_tensor([width / 2, height / 2])).norm(dim=-1) * (len(gradient) / scale)
            self.gradients += (size * seen).sum(0)
            self.counts += seen.sum(0)

        drawn.means2d.register_hook(remember)


def fit_splats(
    photos: Capture | Views,
    start: Gaussians | Pointclouds | Meshes | None = None,
    config: SplatConfig | None = None,
    callbacks: Sequence[Callback] = (),
) -> FitRun:
    """Fit Gaussians until they look like a scene in every photo.

    Args:
        photos: images and cameras.
        start: the Gaussians to start from; or points, with colours as features; or a mesh, on whose surface points are
            drawn. None: the points of the capture, or random ones around what the cameras look at.
        config: the settings.
        callbacks: see :func:`~tirender.fit.loop.fit`.
    Returns:
        the run; ``run.module`` is a :class:`SplatModel`, and ``run.module.gaussians()`` the result.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
        ValueError: the views have no images, the cameras are no pinholes, or there are more Gaussians to start from
            than there may be.
    """
    config = config or SplatConfig()
    check_kind("photos", photos, Capture, Views)
    photos = as_capture(photos)
    viewmats, intrinsics = pinholes(photos)
    with torch.random.fork_rng(enabled=config.seed is not None):
        if config.seed is not None:
            torch.manual_seed(config.seed)
        gaussians = first_gaussians(photos, start, config)
    if len(gaussians) > config.max_gaussians:
        fail("max_gaussians", f"at least the {len(gaussians)} of the start", config.max_gaussians)
    module = SplatModel(gaussians, photos.image_size, config, photos)
    extent = scene_extent(photos.cameras)
    optimizer = make_optimizer(module, config, extent)
    decay = FINAL_RATE ** (1 / max(config.steps, 1))
    rates: list[Callable[[int], float]] = [lambda step: decay**step, *[lambda step: 1.0] * (len(module.values) - 1)]
    if module.exposure is not None:
        rates.append(lambda step: 1.0)
    if module.refinement is not None:
        rates += [lambda step: rate_of_cameras(step, config.steps)] * 2
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rates)

    def losses(step: int) -> dict[str, torch.Tensor]:
        grow(module, optimizer, config, step, extent)
        part = distributed.part(config.photos_per_step)
        chosen = _photos(step, len(photos), config)[part.rows]
        given = (config.background,) * len(chosen)
        backgrounds = [*torch.rand(part.n, 3)[part.rows]] if config.background is None and photos.has_masks else given
        degree = min(step // config.degree_every, config.degree)
        values: dict[str, list[torch.Tensor]] = {"l1": [], "dssim": []}
        for batch in batches(photos, chosen, backgrounds):
            views = viewmats[batch.numbers]
            if module.refinement is not None:
                views = refined_viewmats(module.refinement, batch.numbers, views)
            drawn = module.draw(views, intrinsics[batch.numbers], degree, batch.backgrounds, batch.size)
            if config.growth == "split" and part.scale:
                module.watch(drawn, part.scale * batch.share)
            images = module.exposed(drawn, batch.numbers, batch.backgrounds)
            values["l1"].append(batch.share * (images - batch.images).abs().mean())
            values["dssim"].append(batch.share * (1 - ssim(images, batch.images)))
        of_photos = {name: torch.stack(parts).sum() for name, parts in values.items()}
        return {**part.scaled(of_photos), **_sizes(module, config)}

    def shown() -> dict[str, torch.Tensor]:
        predicted = module(photos.cameras[[0]], photos.sizes[0])[0, ..., :3]
        return {"prediction": predicted, "target": image_on(photos, 0, config.background)}

    return fit(
        losses,
        module,
        optimizer,
        config,
        weights=config.weights,
        scheduler=scheduler,
        callbacks=callbacks,
        images=shown,
    )


def gaussians_of(parameters: Mapping[str, torch.Tensor]) -> Gaussians:
    """The Gaussians in the state of a :class:`SplatModel`."""
    v = {name.removeprefix("values."): value for name, value in parameters.items()}
    harmonics = torch.cat([v["first"], v["rest"]], 1)
    return Gaussians.from_raw(v["means"], v["quats"], v["scales"], v["opacities"], harmonics)


def make_optimizer(module: SplatModel, config: SplatConfig, extent: float) -> torch.optim.Optimizer:
    """Adam, with the learning rate of each kind of parameter."""
    rates = {
        "means": config.lr_means * extent,
        "quats": config.lr_quats,
        "scales": config.lr_scales,
        "opacities": config.lr_opacities,
        "first": config.lr_colors,
        "rest": config.lr_colors / 20,
    }
    groups = [{"params": [parameter], "lr": rates[name]} for name, parameter in module.values.items()]
    if module.exposure is not None:
        groups.append({"params": [*module.exposure.parameters()], "lr": config.lr_exposure})
    if module.refinement is not None:
        groups += [{**group, "eps": 1e-8} for group in module.refinement.groups(config.lr_cameras)]
    return adam(module, groups, eps=1e-15)


@torch.no_grad()
def grow(module: SplatModel, optimizer: torch.optim.Optimizer, config: SplatConfig, step: int, extent: float) -> None:
    """What happens to the Gaussians before a step, besides the update of their parameters."""
    values: MutableMapping[str, Any] = module.values  # type: ignore[assignment]
    optimizers: Any = dict(zip(module.values, _Groups(optimizer)))
    if config.growth == "mcmc":
        if step > 0:
            growth.disturb(values, DISTURBANCE * optimizer.param_groups[0]["lr"])
        if config.grows(step):
            _move_and_add(values, optimizers, config)
    elif config.growth == "split":
        if config.grows(step):
            _split_and_prune(module, optimizers, config, step, extent)
        if 0 < step < config.grow_until * config.steps and step % RESET_EVERY == 0:
            growth.reset_opacities(values, optimizers, 2 * PRUNED)
    n = len(module.values["means"])
    if len(module.counts) != n or config.grows(step):
        module.gradients, module.counts = (module.values["means"].new_zeros(n) for _ in range(2))


class _Groups:
    """The groups of one optimizer, as an optimizer each."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def __iter__(self) -> Iterator[Any]:
        for group in self.optimizer.param_groups:
            yield _Group(self.optimizer.state, [group])


@dataclass
class _Group:
    state: Any
    param_groups: list[dict[str, Any]]


def _move_and_add(values: growth.Parameters, optimizers: growth.Optimizers, config: SplatConfig) -> None:
    """Move transparent Gaussians, add a twentieth."""
    dead = values["opacities"].sigmoid() <= PRUNED
    growth.relocate(values, optimizers, {}, dead)
    n = len(dead)
    added = min(config.max_gaussians, int(1.05 * n)) - n
    if added > 0:
        growth.add(values, optimizers, {}, added)


def _split_and_prune(
    module: SplatModel, optimizers: growth.Optimizers, config: SplatConfig, step: int, extent: float
) -> None:
    """Clone small and split large Gaussians of a high gradient, as far as there is room; remove transparent ones."""
    values: Any = module.values
    distributed.average([module.gradients, module.counts])
    high = module.gradients / module.counts.clamp(min=1e-6)
    room = config.max_gaussians - len(high)
    chosen = high > HIGH_GRADIENT
    if int(chosen.sum()) > room:
        chosen = torch.zeros_like(chosen)
        chosen[high.topk(max(room, 0)).indices] = True
    small = values["scales"].exp().amax(1) <= SMALL * extent
    state: dict[str, Any] = {}
    growth.duplicate(values, optimizers, state, chosen & small)
    added = len(values["means"]) - len(chosen)
    growth.split(values, optimizers, state, torch.cat([chosen & ~small, chosen.new_zeros(added)]))
    removed = values["opacities"].sigmoid() < PRUNED
    if step > RESET_EVERY:
        removed |= values["scales"].exp().amax(1) > BIG * extent
    if not bool(removed.all()):
        growth.remove(values, optimizers, state, removed)


def _sizes(module: SplatModel, config: SplatConfig) -> dict[str, torch.Tensor]:
    """The losses that let Gaussians vanish."""
    if config.growth != "mcmc":
        return {}
    return {"opacity": module.values["opacities"].sigmoid().mean(), "scale": module.values["scales"].exp().mean()}


def _photos(step: int, n: int, config: SplatConfig) -> list[int]:
    """The photos of a step: each of n once, in an order drawn anew each time."""
    orders: dict[int, list[int]] = {}
    chosen = []
    for place in range(step * config.photos_per_step, (step + 1) * config.photos_per_step):
        turn = place // n
        if turn not in orders:
            generator = torch.Generator().manual_seed((config.seed or 0) * 1_000_003 + turn)
            orders[turn] = torch.randperm(n, generator=generator).tolist()
        chosen.append(orders[turn][place % n])
    return chosen
