"""The signs of normals."""

from __future__ import annotations

import torch

from tirender.engine.local_frames import _toward_most


def _disambiguate_vector_directions(pcl: torch.Tensor, knns: torch.Tensor, vecs: torch.Tensor) -> torch.Tensor:
    """Vectors (N, P, 3), turned round where less than half of the neighbours (N, P, K, 3) of a point are ahead."""
    return _toward_most(pcl, knns, vecs)
