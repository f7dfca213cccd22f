"""The base class of datasets of ShapeNet's models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tirender.io import load_obj
from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.pytorch3d.shims.datasets.utils import collate_batched_meshes
from tirender.renderer import (
    FoVPerspectiveCameras,
    HardPhongShader,
    MeshRasterizer,
    MeshRenderer,
    PointLights,
    RasterizationSettings,
    TexturesVertex,
)


class ShapeNetBase(torch.utils.data.Dataset):
    """Models by category: subclasses fill the lists and implement ``__getitem__``.

    Attributes:
        synset_ids, model_ids: the category and the name of each model, all models of a category in a row.
        synset_inv: category ids by their labels.
        synset_start_idxs, synset_num_models: of each category id, its first model and how many there are.
        shapenet_dir, model_dir: folder of the models, and the file within a model's folder.
        load_textures, texture_resolution: whether to load atlases, and their texels a side.
    """

    def __init__(self) -> None:
        self.synset_ids: list[str] = []
        self.model_ids: list[str] = []
        self.synset_inv: dict[str, str] = {}
        self.synset_start_idxs: dict[str, int] = {}
        self.synset_num_models: dict[str, int] = {}
        self.shapenet_dir = ""
        self.model_dir = "model.obj"
        self.load_textures = True
        self.texture_resolution = 4

    def __len__(self) -> int:
        """The number of models."""
        return len(self.model_ids)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """A sample with at least "verts", "faces" and "textures"; subclasses implement it."""
        raise NotImplementedError(f"{type(self).__name__} implements no __getitem__")

    def _get_item_ids(self, idx: int) -> dict[str, Any]:
        """The category's id and the name of a model."""
        return {"synset_id": self.synset_ids[idx], "model_id": self.model_ids[idx]}

    def _load_mesh(self, model_path: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Vertices (V, 3), faces (F, 3) and atlas (F, R, R, 3), or None without textures, of an OBJ file."""
        verts, faces, aux = load_obj(
            model_path,
            load_textures=self.load_textures,
            create_texture_atlas=self.load_textures,
            texture_atlas_size=self.texture_resolution,
        )
        return verts, faces.verts_idx, aux.texture_atlas

    def render(
        self,
        model_ids: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        sample_nums: Sequence[int] | None = None,
        idxs: Sequence[int] | None = None,
        shader_type: Any = HardPhongShader,
        device: Device = "cpu",
        **kwargs: Any,
    ) -> torch.Tensor:
        """Render models, selected by name, by index, or at random from categories.

        Args:
            model_ids: names; then the other choices are ignored.
            categories: labels or ids of categories.
            sample_nums: how many models of each category, or one number for all; of all models without categories.
            idxs: indices of models.
            shader_type: class of the shader.
            device: where to render.
            kwargs: ``cameras``, ``raster_settings`` and ``lights`` replace the defaults.
        Returns:
            (N, H, W, 4); models without textures are white.
        Raises:
            ValueError, IndexError: if a model or category is unknown.
        """
        samples = [self[i] for i in self._handle_render_inputs(model_ids, categories, sample_nums, idxs)]
        keys = ("verts", "faces", "textures") if self.load_textures else ("verts", "faces")
        collated = collate_batched_meshes([{key: sample[key] for key in keys} for sample in samples])
        assert collated is not None
        meshes = collated["mesh"].to(device)
        if meshes.textures is None:
            meshes.textures = TexturesVertex(torch.ones_like(meshes.verts_padded()))
        return render_meshes(meshes, shader_type, device, **kwargs)

    def _handle_render_inputs(
        self,
        model_ids: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
        sample_nums: Sequence[int] | None = None,
        idxs: Sequence[int] | None = None,
    ) -> list[int]:
        """The indices of the models that the arguments of ``render`` select."""
        if model_ids:
            unknown = [name for name in model_ids if name not in self.model_ids]
            if unknown:
                raise ValueError(f"model_ids: expected models of the dataset, got {unknown[0]!r}")
            return [self.model_ids.index(name) for name in model_ids]
        if idxs:
            if any(not 0 <= i < len(self) for i in idxs):
                raise IndexError(f"idxs: expected 0 to {len(self) - 1}, got {list(idxs)}")
            return list(idxs)
        counts = list(sample_nums or [1])
        if not categories:
            return self._sample_idxs_from_category(counts[0])
        counts = counts * len(categories) if len(counts) == 1 else counts
        if len(counts) != len(categories):
            raise ValueError(f"sample_nums: expected 1 or {len(categories)} numbers, got {len(counts)}")
        return [i for pair in zip(counts, categories) for i in self._sample_idxs_from_category(*pair)]

    def _sample_idxs_from_category(self, sample_num: int = 1, category: str | None = None) -> list[int]:
        """Random indices of a category's models, or of all; with repetition only if there are too few."""
        first, count = 0, len(self)
        if category is not None:
            synset = self.synset_inv.get(category, category)
            if synset not in self.synset_num_models:
                raise ValueError(f"categories: expected categories of the dataset, got {category!r}")
            first, count = self.synset_start_idxs[synset], self.synset_num_models[synset]
        drawn = torch.randperm(count) if sample_num <= count else torch.randint(count, (sample_num,))
        return [first + int(i) for i in drawn[:sample_num]]


def render_meshes(meshes: Any, shader_type: Any, device: Device, **kwargs: Any) -> torch.Tensor:
    """Render with a shader class; ``cameras``, ``raster_settings`` and ``lights`` replace the defaults."""
    cameras = kwargs.get("cameras", FoVPerspectiveCameras()).to(device)
    rasterizer = MeshRasterizer(cameras, kwargs.get("raster_settings", RasterizationSettings()))
    lights = kwargs.get("lights", PointLights()).to(device)
    return MeshRenderer(rasterizer, shader_type(device=device, cameras=cameras, lights=lights))(meshes)
