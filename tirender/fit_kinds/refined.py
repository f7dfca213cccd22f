"""Options of fits that fit cameras and exposures with the scene, and the file of the cameras found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import Option, Target

if TYPE_CHECKING:
    from tirender.captures import Capture
    from tirender.fit import FitRun, Views

REFINEMENT_OPTIONS = (
    Option("refine-cameras", "fit the cameras too: where they are, look and how far they zoom", flag=True),
    Option(
        "exposure",
        "fit the exposure of each photo: a gain and an offset, or an affine map of colours (default: none)",
        ("none", "gain", "affine"),
    ),
)
CAMERAS = "transforms.json"


def write_cameras(run: FitRun, target: Target, photos: Capture | Views, folder: Path) -> None:
    """Write refined cameras, in the source's own space, as nerfstudio has them; nothing where none were refined."""
    module: Any = run.module
    if getattr(module, "refinement", None) is None:
        return
    import torch

    from tirender.fit.photos import as_capture
    from tirender.io.files import write_file

    capture = as_capture(photos)
    with torch.no_grad():
        cameras = module.refinement()
    R, T = cameras.R.double().cpu(), cameras.T.double().cpu() * target.scale
    centres = -(R @ T[..., None])[..., 0]
    for offset in (target.centre, target.origin):
        if offset is not None:
            centres = centres + offset.double().cpu()
    axes = R * R.new_tensor([-1, 1, -1])  # x to the right, y up, looking along -z
    frames = []
    for i, (height, width) in enumerate(capture.sizes):
        half = min(height, width) / 2
        (fx, fy), (px, py) = (v[i].tolist() for v in (cameras.focal_length, cameras.principal_point))
        pose = torch.cat([axes[i], centres[i][:, None]], 1).tolist()
        numbers = {"w": width, "h": height, "fl_x": fx * half, "fl_y": fy * half}
        numbers |= {"cx": width / 2 - px * half, "cy": height / 2 - py * half}
        frames.append({"file_path": capture.names[i], **numbers, "transform_matrix": [*pose, [0.0, 0.0, 0.0, 1.0]]})
    text = json.dumps({"camera_model": "PINHOLE", "frames": frames}, indent=2)
    write_file(folder / CAMERAS, [(text + "\n").encode()])
