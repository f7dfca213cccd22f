"""Batches of a dataset of meshes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tirender.renderer.mesh.textures import TexturesAtlas
from tirender.structures import Meshes


def collate_batched_meshes(batch: Sequence[dict[str, Any]] | None) -> dict[str, Any] | None:
    """A list of samples as one dictionary of lists, with the ``Meshes`` of all samples under "mesh".

    Args:
        batch: dictionaries with the keys of the first. "verts" and "faces" make the meshes, and "textures" (F, R, R, C)
            their atlases.
    Returns:
        the dictionary, whose "mesh" is None without vertices and faces; None for an empty batch.
    """
    if not batch:
        return None
    collated: dict[str, Any] = {key: [sample[key] for sample in batch] for key in batch[0]}
    collated["mesh"] = None
    if {"verts", "faces"} <= collated.keys():
        textures = TexturesAtlas(collated["textures"]) if "textures" in collated else None
        collated["mesh"] = Meshes(collated["verts"], collated["faces"], textures)
    return collated
