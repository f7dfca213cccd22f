"""Textures with a feature vector at each vertex."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from tirender.checks import fail
from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.renderer.mesh.private_names import PrivateNamesOfVertexTextures
from tirender.renderer.mesh.textures_base import PerMesh, TexturesBase, check_per_mesh, device_of


class TexturesVertex(PrivateNamesOfVertexTextures, TexturesBase):
    """A feature vector at each vertex (a colour, for example), interpolated over the faces.

    Args:
        verts_features: (N, V, D) padded, or N tensors (V_i, D), numbers; half floats and integers become float32.
    Raises:
        ValueError: if a shape or dtype does not fit.
    """

    _fields: ClassVar[dict[str, str | None]] = {"_verts_features": "verts"}

    def __init__(self, verts_features: PerMesh) -> None:
        self._verts_features = check_per_mesh("verts_features", verts_features, "V", "D")
        self._start(
            len(verts_features), device_of(self._verts_features), None, [len(features) for features in verts_features]
        )

    def verts_features_padded(self) -> torch.Tensor:
        """(N, V, D), 0 beyond a mesh's vertices."""
        return self._padded("_verts_features") if self._N else torch.zeros(0, 0, 3, device=self.device)

    def verts_features_list(self) -> list[torch.Tensor]:
        """N tensors (V_i, D)."""
        return self._list("_verts_features")

    def verts_features_packed(self) -> torch.Tensor:
        """(sum of V_i, D)."""
        return torch.cat(self.verts_features_list()) if self._N else torch.zeros(0, 3, device=self.device)

    def faces_verts_textures_packed(self, faces_packed: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """(F, 3, D): the features at the corners of ``faces_packed`` (F, 3) int64, the meshes' packed faces.

        Raises:
            ValueError: if ``faces_packed`` is None.
        """
        if faces_packed is None:
            fail("faces_packed", "the meshes' packed faces", None)
        features = self.verts_features_packed()
        return features.index_select(0, faces_packed.reshape(-1)).view(-1, 3, features.shape[1])

    def sample_textures(self, fragments: Any, faces_packed: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Interpolate the vertex features at fragments.

        Args:
            fragments: dense fragments (N, H, W, K) or packed ones (M,).
            faces_packed: (F, 3) int64, the meshes' packed faces.
        Returns:
            (N, H, W, K, D) or (M, D), 0 in empty slots; differentiable in features and barycentric coordinates.
        Raises:
            ValueError: if ``faces_packed`` is None, or a face index is out of range.
        """
        corners = self.faces_verts_textures_packed(faces_packed)
        return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, corners)

    def submeshes(
        self, vertex_ids_list: list[list[torch.Tensor]], faces_ids_list: list[list[torch.Tensor]]
    ) -> TexturesVertex:
        """The textures of submeshes; see :meth:`TexturesBase.submeshes`."""
        if len(vertex_ids_list) != self._N:
            fail("vertex_ids_list", f"{self._N} lists, one a mesh", len(vertex_ids_list))
        pairs = zip(self.verts_features_list(), vertex_ids_list)
        return TexturesVertex([features.index_select(0, ids) for features, parts in pairs for ids in parts])

    def join_scene(self) -> TexturesVertex:
        """The textures of the mesh that joins all meshes."""
        return TexturesVertex([self.verts_features_packed()])

    def check_shapes(self, batch_size: int, max_num_verts: int, max_num_faces: int) -> bool:
        """Whether there are features for ``batch_size`` meshes of ``max_num_verts`` padded vertices."""
        return tuple(self.verts_features_padded().shape[:2]) == (batch_size, max_num_verts)
