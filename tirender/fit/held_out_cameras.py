"""Cameras of photos that are not fitted to, aligned with a scene whose own cameras were refined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tirender.captures import Capture
from tirender.fit.refinement import CameraRefinement, as_pinholes, depths_of
from tirender.renderer import PerspectiveCameras

STEPS = 200  # for each photo
RATE, FINAL_RATE = 2e-3, 0.02  # the learning rate at first, and the factor at the last step


def aligned(module: Any, photos: Capture, steps: int = STEPS) -> Capture:
    """Photos with their cameras aligned with a fitted scene, which stays as it is.

    A scene that was fitted with its cameras has moved a little, as a whole and in its parts. So the cameras move with
    the others as a whole, see :meth:`~tirender.fit.refinement.CameraRefinement.moved`. Then each turns and shifts until
    the scene looks most like its photo; its focal length stays.

    Args:
        module: with a ``refinement``, or None, and ``photo_loss(photos, i, camera)``, as the models of fits have them.
        photos: those to measure quality with.
        steps: of Adam, for each photo; 0 for the movement as a whole.
    """
    refinement: CameraRefinement | None = module.refinement
    if refinement is None:
        return photos
    state = (photos, steps, [parameter._version for parameter in module.parameters()])
    if module.__dict__.get("_aligned", (None,))[:-1] == state:  # it takes a while, and is asked for more than once
        found: Capture = module.__dict__["_aligned"][-1]
        return found
    moved = refinement.moved(as_pinholes(photos))
    own = CameraRefinement(moved, depths_of(replace(photos, cameras=moved))).to(moved.T.device)
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for i in range(len(photos) if steps else 0):
                _align(module, photos, i, own, steps)
    finally:
        for parameter in wanted:
            parameter.requires_grad_()
    with torch.no_grad():
        found = replace(photos, cameras=own())
    module.__dict__["_aligned"] = (*state, found)
    return found


def _align(module: Any, photos: Capture, i: int, own: CameraRefinement, steps: int) -> None:
    """Turn and shift the camera of photo i."""
    optimizer = torch.optim.Adam([own.turns, own.shifts], lr=RATE)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, FINAL_RATE ** (1 / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        camera: PerspectiveCameras = own([i])
        module.photo_loss(photos, i, camera).backward()
        optimizer.step()  # the others' gradients are 0, and so are their moments
        scheduler.step()
