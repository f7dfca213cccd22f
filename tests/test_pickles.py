"""Pickles: of the library's own objects, and of PyTorch3D's, which hold the attributes of its classes."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
import types

import pytest
import torch

import tirender.renderer as r
import tirender.transforms as t
from tirender.structures import Meshes, Pointclouds, Volumes
from tirender.utils import ico_sphere

V, F = torch.rand(5, 3), torch.tensor([[0, 1, 2], [1, 3, 2], [2, 3, 4]])
RAGGED = {"verts": [V, V[:4]], "faces": [F, F[:2]]}
CLASSES = {
    "pytorch3d.structures.meshes": ("Meshes",),
    "pytorch3d.structures.pointclouds": ("Pointclouds",),
    "pytorch3d.structures.volumes": ("Volumes", "VolumeLocator"),
    "pytorch3d.renderer.mesh.textures": ("TexturesVertex", "TexturesUV", "TexturesAtlas"),
    "pytorch3d.renderer.mesh.rasterizer": ("Fragments",),
    "pytorch3d.transforms.transform3d": ("Transform3d", "Translate", "Rotate"),
}


@pytest.fixture
def theirs(monkeypatch):
    """Makes an object of a class of PyTorch3D's, with these attributes."""
    classes = {}
    for module, names in CLASSES.items():
        parts = module.split(".")
        for i in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        for name in names:
            classes[name] = type(name, (), {"__module__": module})
            setattr(sys.modules[module], name, classes[name])

    def make(name, **attributes):
        instance = classes[name].__new__(classes[name])
        instance.__dict__.update(attributes)
        return instance

    return make


class Renaming(pickle.Unpickler):
    """Finds the classes of PyTorch3D in tirender, as ``tirender.pytorch3d.install()`` has everything find them."""

    def find_class(self, module, name):
        if module.startswith("pytorch3d."):
            return getattr(importlib.import_module(module.replace("pytorch3d", "tirender", 1)), name)
        return super().find_class(module, name)


def load(instance):
    return Renaming(io.BytesIO(pickle.dumps(instance))).load()


def padded(parts, value=0):
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=value)


def common(n, **more):
    sizes = {"_num_verts_per_mesh": [0] * n, "_num_faces_per_mesh": [0] * n, "valid": torch.ones(n, dtype=torch.bool)}
    return {"device": torch.device("cpu"), "_N": n, **sizes, **more}


@pytest.mark.parametrize("as_list", [True, False])
def test_meshes_of_pytorch3d(theirs, as_list):
    verts, faces = RAGGED["verts"], RAGGED["faces"]
    even = [V, V + 1], [F, F.flip(1)]
    given = (verts, faces) if as_list else (padded(even[0]), padded(even[1], -1))
    layouts = {f"_{name}_{'list' if as_list else 'padded'}": value for name, value in zip(("verts", "faces"), given)}
    colors = [torch.rand(len(v), 3) for v in (verts if as_list else even[0])]
    stored_colors = {"_verts_features_list": colors, "_verts_features_padded": None}
    textures = theirs("TexturesVertex", **common(2, **stored_colors))
    state = {"_verts_list": None, "_faces_list": None, "_verts_padded": None, "_faces_padded": None, **layouts}
    meshes = load(theirs("Meshes", device=torch.device("cpu"), equisized=not as_list, textures=textures, **state))
    assert type(meshes) is Meshes
    expected = Meshes(*given)
    assert torch.equal(meshes.verts_packed(), expected.verts_packed())
    assert torch.equal(meshes.faces_packed(), expected.faces_packed())
    assert torch.equal(meshes.textures.verts_features_packed(), torch.cat(colors))
    assert len(meshes.extend(2)[1:3]) == 2


def test_normals_that_pytorch3d_has_computed_are_computed_again(theirs):
    computed = Meshes([V], [F]).verts_normals_packed()
    for normals, is_given in ((computed, False), (torch.rand(5, 3), True)):
        state = {"_verts_list": [V], "_faces_list": [F], "textures": None, "_verts_normals_packed": normals}
        meshes = load(theirs("Meshes", **state))
        torch.testing.assert_close(meshes.verts_normals_packed(), normals)
        assert (meshes._geometry.normals is not None) == is_given


def test_textures_of_pytorch3d(theirs):
    maps, uvs = torch.rand(1, 4, 4, 3), torch.rand(1, 5, 2)
    state = common(1, _maps_padded=maps, _maps_list=None, _faces_uvs_padded=F[None], _faces_uvs_list=None)
    state |= {"_verts_uvs_padded": None, "_verts_uvs_list": list(uvs), "_maps_ids_padded": None, "_maps_ids_list": None}
    state |= {"padding_mode": "zeros", "align_corners": False, "sampling_mode": "nearest"}
    textures = load(theirs("TexturesUV", **state))
    expected = r.TexturesUV(maps, F[None], uvs, padding_mode="zeros", align_corners=False, sampling_mode="nearest")
    assert torch.equal(textures.faces_verts_textures_packed(), expected.faces_verts_textures_packed())
    atlas = load(theirs("TexturesAtlas", **common(1, _atlas_list=[torch.ones(3, 2, 2, 3)], _atlas_padded=None)))
    assert torch.equal(atlas.atlas_packed(), torch.ones(3, 2, 2, 3))
    with pytest.raises(ValueError, match="faces_uvs: expected indices below 5"):
        load(theirs("TexturesUV", **{**state, "_faces_uvs_padded": F[None] + 5}))


def test_clouds_of_pytorch3d(theirs):
    empty = dict.fromkeys(("_normals_list", "_normals_padded", "_features_list", "_features_padded", "_points_list"))
    lists = {**empty, "_points_list": [V, V[:2]], "_features_list": [V[:, :2], V[:2, :2]]}
    cloud = load(theirs("Pointclouds", device=torch.device("cpu"), _N=2, **lists))
    assert torch.equal(cloud.points_packed(), torch.cat([V, V[:2]]))
    assert torch.equal(cloud.features_packed(), torch.cat([V, V[:2]])[:, :2])
    assert cloud.normals_packed() is None
    cloud = load(theirs("Pointclouds", **{**empty, "_points_padded": V[None], "_normals_padded": V[None]}))
    assert torch.equal(cloud.normals_packed(), V)


def test_transforms_of_pytorch3d(theirs):
    rotation, translation = t.Rotate(t.random_rotations(2)), t.Translate(torch.rand(2, 3))

    def as_theirs(name, transform, others=()):
        state = {"_matrix": transform.get_matrix(), "_transforms": list(others), "_lu": None, "dtype": torch.float32}
        return theirs(name, device=torch.device("cpu"), **state)

    for name, kind, expected in (("Rotate", t.Rotate, rotation), ("Translate", t.Translate, translation)):
        loaded = load(as_theirs(name, expected))
        assert type(loaded) is kind
        assert torch.equal(loaded.inverse().get_matrix(), expected.inverse().get_matrix())
    composed = load(as_theirs("Transform3d", rotation, [as_theirs("Translate", translation)]))
    torch.testing.assert_close(composed.get_matrix(), rotation.compose(translation).get_matrix())
    assert composed.device == torch.device("cpu")
    assert composed[1].dtype == torch.float32


def test_volumes_of_pytorch3d(theirs):
    expected = Volumes(torch.rand(2, 1, 2, 3, 4), torch.rand(2, 3, 2, 3, 4), 0.3, (1.0, 2.0, 3.0))
    to_world = expected.get_local_to_world_coords_transform()
    state = {"_matrix": to_world.get_matrix(), "_transforms": [], "_lu": None, "device": "cpu", "dtype": torch.float32}
    locator = {"_batch_size": 2, "_grid_sizes": torch.tensor([[2, 3, 4]] * 2), "_resolution": (2, 3, 4)}
    locator |= {"_align_corners": True, "_local_to_world_transform": theirs("Transform3d", **state)}
    attributes = {"_densities": expected.densities(), "_features": expected.features(), "device": torch.device("cpu")}
    volumes = load(theirs("Volumes", locator=theirs("VolumeLocator", **locator), **attributes))
    assert torch.equal(volumes.densities(), expected.densities())
    torch.testing.assert_close(volumes.get_coord_grid(), expected.get_coord_grid())
    assert len(volumes[1]) == 1
    assert volumes.device == torch.device("cpu")


def test_fragments_of_pytorch3d(theirs):
    tensors = {"pix_to_face": torch.zeros(1, 2, 2, 1).long(), "zbuf": torch.ones(1, 2, 2, 1), "dists": None}
    fragments = load(theirs("Fragments", **tensors, bary_coords=torch.ones(1, 2, 2, 1, 3)))
    assert torch.equal(fragments.zbuf, tensors["zbuf"])
    assert fragments.packed is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: ico_sphere(1),
        lambda: Meshes(**RAGGED, textures=r.TexturesVertex([torch.rand(5, 3), torch.rand(4, 3)])),
        lambda: Pointclouds([V, V[:2]], features=[V, V[:2]]),
        lambda: Volumes(torch.rand(1, 1, 2, 3, 4)),
        lambda: t.Rotate(t.random_rotations(2)).translate(1.0, 2.0, 3.0),
        lambda: r.FoVPerspectiveCameras(T=torch.rand(2, 3)),
        lambda: r.PerspectiveCameras(focal_length=torch.rand(2), in_ndc=False, image_size=((2, 3),)),
        lambda: r.PointLights(location=((1.0, 2.0, 3.0),)),
        lambda: r.MeshRasterizer(r.FoVPerspectiveCameras(T=torch.tensor([[0.0, 0, 3]])))(ico_sphere(0)),
        lambda: r.PointsRasterizer(r.FoVPerspectiveCameras(T=torch.tensor([[0.0, 0, 3]])))(Pointclouds([V])),
        lambda: r.RasterizationSettings(5, 0.1, 3),
        lambda: r.BlendParams(1e-3),
    ],
)
def test_own_objects(make):
    instance = make()
    stream = io.BytesIO()
    torch.save(instance, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=False)
    assert type(loaded) is type(instance)
    for name in ("verts_packed", "points_packed", "densities", "get_matrix", "get_camera_center"):
        if hasattr(instance, name):
            assert torch.equal(getattr(loaded, name)(), getattr(instance, name)())
    for name in ("zbuf", "location", "focal_length", "image_size"):
        if isinstance(getattr(instance, name, None), torch.Tensor):
            assert torch.equal(getattr(loaded, name), getattr(instance, name))
