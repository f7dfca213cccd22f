"""Interpolation of the attributes of faces' corners at fragments."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tirender.checks import INTEGERS, check_tensor, fail


def interpolate_face_attributes(
    pix_to_face: torch.Tensor, barycentric_coords: torch.Tensor, face_attributes: torch.Tensor
) -> torch.Tensor:
    """Interpolate the attributes of each fragment's face with its barycentric coordinates.

    Args:
        pix_to_face: (...) int64 or int32, index into the packed faces; -1 where empty. The shape is (N, H, W, K) for
            dense fragments and (M,) for packed fragments.
        barycentric_coords: (..., 3).
        face_attributes: (F, 3, D), D values at each corner of a face.
    Returns:
        (..., D), 0 where empty; differentiable in the coordinates and the attributes. Gradients repeat to the bit on
        the CPU.
    Raises:
        ValueError: if the shapes do not fit each other, or an index is F or more.
    """
    check_tensor("face_attributes", face_attributes, ("F", 3, "D"))
    check_faces("pix_to_face", pix_to_face, len(face_attributes))
    check_tensor("barycentric_coords", barycentric_coords, (*pix_to_face.shape, 3))
    coords = barycentric_coords.reshape(-1, 3)

    def blend(slots: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        weights = coords.index_select(0, slots)[:, :, None]
        return (weights * face_attributes.index_select(0, faces)).sum(1)

    return evaluate_filled(pix_to_face, blend)


def evaluate_filled(
    pix_to_face: torch.Tensor, evaluate: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Evaluate a function at the filled slots, and put 0 into the empty ones.

    Args:
        pix_to_face: (...) integers, negative where empty.
        evaluate: maps the flat indices of the filled slots (M,) and their faces (M,), both int64, to values (M, D).
    Returns:
        (..., D), differentiable if ``evaluate`` is.
    """
    check_tensor("pix_to_face", pix_to_face, dtype=INTEGERS)
    flat = pix_to_face.reshape(-1).long()
    slots = (flat >= 0).nonzero().squeeze(1)
    values = evaluate(slots, flat.index_select(0, slots))
    if len(slots) < len(flat):
        values = values.new_zeros(len(flat), values.shape[1]).index_copy(0, slots, values)
    return values.reshape(*pix_to_face.shape, values.shape[1])


def check_faces(name: str, pix_to_face: torch.Tensor, n_faces: int) -> None:
    """Raise ``ValueError`` if ``pix_to_face`` is not an integer tensor with indices below ``n_faces``."""
    check_tensor(name, pix_to_face, dtype=INTEGERS)
    if pix_to_face.numel() and (largest := int(pix_to_face.max())) >= n_faces:
        fail(name, f"indices below {n_faces}, the number of faces", largest)
