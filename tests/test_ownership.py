"""Whose storage a structure returns: the tensors that were given, or its own."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from tirender.renderer import TexturesUV, TexturesVertex
from tirender.structures import Meshes, Pointclouds, Volumes, join_meshes_as_batch
from tirender.utils import ico_sphere

FACES = torch.tensor([[0, 1, 2], [1, 3, 2]])


def meshes(verts):
    n = len(verts)
    return Meshes(verts, [FACES] * n if isinstance(verts, list) else FACES.expand(n, 2, 3))


KINDS = {
    "meshes": (meshes, "verts"),
    "points": (Pointclouds, "points"),
    "normals": (lambda values: Pointclouds(copy.deepcopy(values), values), "normals"),
    "features": (lambda values: Pointclouds(copy.deepcopy(values), None, values), "features"),
}


@pytest.fixture(params=KINDS)
def kind(request):
    make, name = KINDS[request.param]
    return make, lambda structure, layout: getattr(structure, f"{name}_{layout}")()


def test_lists_are_the_tensors_given(kind):
    make, view = kind
    a, b = torch.rand(4, 3), torch.rand(4, 3)
    for structure in (
        make([a, b]),
        make([a, b])[:],
        make([b, a])[[1, 0]],
        make([a, b, a])[torch.tensor([True, True, False])],
    ):
        first, second = view(structure, "list")
        assert first is a
        assert second is b
    assert view(make([a]).split([1])[0], "list")[0] is a


def test_a_padded_tensor_is_the_one_given(kind):
    make, view = kind
    padded = torch.rand(2, 4, 3)
    structure = make(padded)
    assert view(structure, "padded") is padded
    assert [part.data_ptr() for part in view(structure, "list")] == [part.data_ptr() for part in padded]


def test_updated_padding_is_the_tensor_given():
    new = torch.rand(2, 4, 3)
    assert meshes(torch.rand(2, 4, 3)).update_padded(new).verts_padded() is new
    assert Pointclouds(torch.rand(2, 4, 3)).update_padded(new).points_padded() is new


@pytest.mark.parametrize("form", ["one", "list", "padded", "ragged"])
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_what_is_derived_owns_its_storage(kind, form, layout):
    if form == layout:
        return
    make, view = kind
    given = {"one": [torch.rand(4, 3)], "list": [torch.rand(4, 3), torch.rand(4, 3)], "padded": torch.rand(2, 4, 3)}
    given["ragged"] = [torch.rand(4, 3), torch.rand(6, 3)]
    structure, before = make(given[form]), copy.deepcopy(given[form])
    others = {name: copy.deepcopy(view(structure, name)) for name in ("list", "packed", "padded")}
    values = view(structure, layout)
    values.mul_(2)
    assert all(torch.equal(x, y) for x, y in zip(given[form], before))
    for name in {"list", "packed", "padded"} - {layout}:
        assert all(torch.equal(x, y) for x, y in zip(view(structure, name), others[name]))
    assert view(structure, layout) is values, "what is written stays, as long as the given tensors do not change"


def test_moved_vertices_own_their_storage():
    v = torch.rand(4, 3)
    mesh = Meshes([v], [FACES])
    for moved in (mesh.offset_verts(torch.ones(3)), mesh.scale_verts(2.0), mesh.extend(1), mesh.clone()):
        packed, padded = moved.verts_packed(), moved.verts_padded()
        before = packed.clone()
        padded.mul_(2)
        assert torch.equal(packed, before)
        packed.mul_(2)
        assert torch.equal(moved.verts_padded(), 2 * before[None]) or torch.equal(moved.verts_padded(), padded)
    assert torch.equal(mesh.verts_packed(), v)


def test_gradients_reach_what_was_given(kind):
    make, view = kind
    for layout in ("list", "packed", "padded"):
        a, b = torch.rand(4, 3, requires_grad=True), torch.rand(4, 3, requires_grad=True)
        torch.cat([part.reshape(-1) for part in view(make([a, b]), layout)]).square().sum().backward()
        assert torch.equal(a.grad, 2 * a.detach())
        assert torch.equal(b.grad, 2 * b.detach())
        padded = torch.rand(2, 4, 3, requires_grad=True)
        torch.cat([part.reshape(-1) for part in view(make(padded), layout)]).square().sum().backward()
        assert torch.equal(padded.grad, 2 * padded.detach())


def test_a_list_element_may_start_to_need_a_gradient():
    sphere = ico_sphere(1)
    sphere.verts_packed(), sphere.verts_padded(), sphere.verts_normals_packed()  # derived without a gradient
    leaf = sphere.verts_list()[0].requires_grad_()
    sphere.verts_packed().sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(leaf))
    sphere.verts_normals_packed().sum().backward()
    a, b = torch.rand(4, 3, requires_grad=True), torch.rand(4, 3)
    clouds = Pointclouds([a, b])
    clouds.points_packed()
    b.requires_grad_()
    clouds.points_packed().sum().backward()
    assert torch.equal(b.grad, torch.ones_like(b))


def test_an_optimiser_step_is_seen():
    v = torch.rand(4, 3, requires_grad=True)
    mesh = Meshes([v], [FACES])
    optimizer = torch.optim.SGD([v], lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        loss = (
            mesh.verts_packed().square().sum() + mesh.faces_areas_packed().sum() + mesh.extend(2).verts_padded().sum()
        )
        loss.backward()
        optimizer.step()
        fresh = Meshes([v.detach()], [FACES])
        for view in ("verts_packed", "verts_padded", "faces_areas_packed", "verts_normals_packed"):
            assert torch.equal(getattr(mesh, view)(), getattr(fresh, view)())


def test_writing_into_packed_vertices_is_seen_by_normals():
    mesh = Meshes([torch.rand(4, 3)], [FACES])
    before = mesh.faces_areas_packed()
    mesh.verts_packed().mul_(2)
    torch.testing.assert_close(mesh.faces_areas_packed(), 4 * before)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_writing_into_faces_changes_no_other_layout(n, layout):
    mesh = Meshes(torch.rand(n, 4, 3), FACES.expand(n, 2, 3))
    others = {name: copy.deepcopy(getattr(mesh, f"faces_{name}")()) for name in ("list", "packed", "padded")}
    getattr(mesh, f"faces_{layout}")().zero_()
    for name in {"list", "packed", "padded"} - {layout}:
        assert all(torch.equal(x, y) for x, y in zip(getattr(mesh, f"faces_{name}")(), others[name]))
    assert torch.equal(FACES, torch.tensor([[0, 1, 2], [1, 3, 2]]))


def test_writing_into_normals_changes_no_other_layout():
    mesh = ico_sphere(0)
    packed = mesh.verts_normals_packed().clone()
    mesh.verts_normals_padded().zero_()
    mesh.faces_normals_padded().zero_()
    assert torch.equal(mesh.verts_normals_packed(), packed)
    assert mesh.faces_normals_packed().abs().sum() > 1


def test_joined_meshes_keep_the_tensors():
    a, b = torch.rand(4, 3), torch.rand(4, 3)
    joined = join_meshes_as_batch([Meshes([a], [FACES]), Meshes([b], [FACES])])
    assert joined.verts_list()[0] is a
    assert joined.verts_list()[1] is b


def test_maps_padded_own_their_storage():
    maps, faces, uvs = [torch.rand(4, 4, 3)], [FACES], [torch.rand(4, 2)]
    before = maps[0].clone()
    textures = TexturesUV(maps, faces, uvs)
    textures.maps_padded().mul_(2)
    textures.verts_uvs_padded().mul_(2)
    assert torch.equal(maps[0], before)
    assert textures.maps_list()[0] is maps[0]
    padded = maps[0][None]
    assert TexturesUV(padded, faces, uvs).maps_padded() is padded
    features = [torch.rand(4, 3)]
    vertex = TexturesVertex(features)
    vertex.verts_features_padded().zero_(), vertex.verts_features_packed().zero_()
    assert vertex.verts_features_list()[0] is features[0]
    assert features[0].abs().sum() > 0


def test_volumes_return_what_was_given():
    densities, features = torch.rand(2, 1, 3, 3, 3), torch.rand(2, 2, 3, 3, 3)
    volumes = Volumes(densities, features)
    assert volumes.densities() is densities
    assert volumes.features() is features
    parts = [torch.rand(1, 3, 3, 3)]
    Volumes(parts).densities().mul_(2)
    assert parts[0].max() <= 1


def test_copies_with_gradients():
    v = torch.rand(4, 3, requires_grad=True)
    mesh, cloud = Meshes([v], [FACES]), Pointclouds([v])
    mesh.verts_normals_packed(), mesh.verts_padded(), cloud.points_packed()
    for copied in (copy.deepcopy(mesh), pickle.loads(pickle.dumps(mesh))):
        assert torch.equal(copied.verts_packed(), v)
        assert copied.verts_list()[0].requires_grad
    assert torch.equal(copy.deepcopy(cloud).points_packed(), v)
