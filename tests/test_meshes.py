"""Meshes: views, normals, editing, batching, joins, and what it refuses."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.renderer.mesh.textures import TexturesAtlas, TexturesVertex
from tirender.structures import Meshes, join_meshes_as_batch, join_meshes_as_scene

REFERENCE = Path(__file__).parent / "data" / "reference"
TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
SIZES = [4, 5, 3]


def random_batch(dtype=torch.float32, requires_grad=False):
    """Three meshes of 4, 5 and 3 vertices and 4, 2 and 1 faces."""
    generator = torch.Generator().manual_seed(0)
    verts = [torch.randn(n, 3, generator=generator, dtype=dtype).requires_grad_(requires_grad) for n in SIZES]
    faces = [TETRAHEDRON, torch.tensor([[0, 1, 2], [2, 1, 4]]), torch.tensor([[2, 1, 0]])]
    return verts, faces


def batch_with_empties():
    none, no_faces = torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)
    verts, faces = random_batch()
    return Meshes([none, verts[0], verts[1], none], [no_faces, faces[0], no_faces, no_faces])


@pytest.fixture
def reference():
    with np.load(REFERENCE / "structures" / "meshes.npz") as data:
        yield {key: torch.from_numpy(data[key]) for key in data.files if key != "meta"}


# --- the reference case ---


def reference_meshes(reference):
    verts = [reference[f"in_verts{i}"].requires_grad_() for i in range(2)]
    return verts, Meshes(verts, [reference["in_faces0"], reference["in_faces1"]])


def test_reference_values(reference):
    _, meshes = reference_meshes(reference)
    for name in ("edges_packed", "faces_packed_to_edges_packed", "faces_padded", "verts_padded"):
        assert torch.equal(getattr(meshes, name)(), reference[f"out_{name}"])
    for name in ("verts_normals_packed", "faces_normals_packed", "faces_areas_packed"):
        torch.testing.assert_close(getattr(meshes, name)(), reference[f"out_{name}"])
    assert torch.equal(meshes.get_bounding_boxes(), reference["out_bounding_boxes"])
    torch.testing.assert_close(meshes.laplacian_packed().to_dense(), reference["out_laplacian_packed"])


def test_reference_gradients(reference):
    verts, meshes = reference_meshes(reference)
    boxes = meshes.get_bounding_boxes()
    loss = (boxes * reference["up_bounding_boxes"]).sum()
    for name in ("verts_normals_packed", "faces_normals_packed", "faces_areas_packed", "verts_padded"):
        loss = loss + (getattr(meshes, name)() * reference[f"up_{name}"]).sum()
    loss.backward()
    expected = [reference["grad_verts0"], reference["grad_verts1"]]
    slip = pytorch3d_slip(meshes.detach(), reference["up_faces_normals_packed"]).split([len(v) for v in verts])
    for vert, grad, wrong in zip(verts, expected, slip):
        assert wrong.abs().max() > 1  # so the correction is needed
        grad = grad.clone()
        grad[:, 2] -= wrong
        torch.testing.assert_close(vert.grad, grad, rtol=1e-4, atol=2e-5)


def pytorch3d_slip(meshes, grad_normals):
    """What PyTorch3D 0.7.9 adds by mistake to the z gradient of a face's second vertex.

    Its CPU adjoint of face normals has the normal's x where y belongs, in one term; x and y gradients are right, and
    ours agrees with finite differences (test_normals_and_areas_gradcheck).
    """
    verts = meshes.verts_packed().double()
    v0, v1, v2 = verts[meshes.faces_packed()].unbind(1)
    cross = torch.linalg.cross(v1 - v0, v2 - v0)
    (x, y, _), (side_x, side_y, _) = cross.unbind(1), (v2 - v0).unbind(1)
    wrong = grad_normals[:, 1] * (y - x) * (side_x * y - side_y * x) / cross.norm(dim=1) ** 3
    return torch.zeros(len(verts), dtype=wrong.dtype).index_add(0, meshes.faces_packed()[:, 1], wrong).float()


# --- views and index maps ---


def test_index_maps():
    verts, faces = random_batch()
    meshes = Meshes(verts, faces)
    assert len(meshes) == 3
    assert meshes.num_verts_per_mesh().tolist() == SIZES
    assert meshes.num_faces_per_mesh().tolist() == [4, 2, 1]
    assert meshes.mesh_to_verts_packed_first_idx().tolist() == [0, 4, 9]
    assert meshes.mesh_to_faces_packed_first_idx().tolist() == [0, 4, 6]
    assert meshes.verts_packed_to_mesh_idx().tolist() == [0] * 4 + [1] * 5 + [2] * 3
    assert meshes.faces_packed_to_mesh_idx().tolist() == [0] * 4 + [1] * 2 + [2]
    assert meshes.faces_packed()[4:].tolist() == [[4, 5, 6], [6, 5, 8], [11, 10, 9]]
    assert meshes.num_edges_per_mesh().tolist() == [6, 5, 3]
    assert meshes.mesh_to_edges_packed_first_idx().tolist() == [0, 6, 11]
    assert meshes.edges_packed_to_mesh_idx().tolist() == [0] * 6 + [1] * 5 + [2] * 3
    assert meshes.valid.tolist() == [True] * 3
    assert not meshes.isempty()
    assert not meshes.equisized
    assert meshes[0].equisized


def test_each_layout_holds_the_same():
    verts, faces = random_batch()
    meshes = Meshes(verts, faces)
    assert torch.equal(meshes.verts_packed(), torch.cat(verts))
    assert meshes.verts_padded().shape == (3, 5, 3)
    assert meshes.faces_padded().shape == (3, 4, 3)
    assert torch.equal(meshes.verts_padded().reshape(-1, 3)[meshes.verts_padded_to_packed_idx()], meshes.verts_packed())
    for i in range(3):
        assert torch.equal(meshes.verts_list()[i], verts[i])
        assert torch.equal(meshes.faces_list()[i], faces[i])
        assert torch.equal(meshes.verts_padded()[i, : len(verts[i])], verts[i])
        assert (meshes.verts_padded()[i, len(verts[i]) :] == 0).all()
        assert (meshes.faces_padded()[i, len(faces[i]) :] == -1).all()
        one_verts, one_faces = meshes.get_mesh_verts_faces(i)
        assert torch.equal(one_verts, verts[i])
        assert torch.equal(one_faces, faces[i])
    for name in ("verts_normals", "faces_normals"):
        packed = getattr(meshes, f"{name}_packed")()
        assert torch.equal(torch.cat(getattr(meshes, f"{name}_list")()), packed)
        padded = getattr(meshes, f"{name}_padded")()
        assert torch.equal(padded[1, : len(getattr(meshes, f"{name}_list")()[1])], getattr(meshes, f"{name}_list")()[1])


def test_edges_are_opposite_the_corners():
    meshes = Meshes(*random_batch())
    edges, faces = meshes.edges_packed(), meshes.faces_packed()
    assert (edges[:, 0] < edges[:, 1]).all()
    assert len(edges.unique(dim=0)) == len(edges)
    opposite = torch.stack([faces[:, [1, 2]], faces[:, [2, 0]], faces[:, [0, 1]]], dim=1)
    assert torch.equal(edges[meshes.faces_packed_to_edges_packed()], opposite.sort(dim=2).values)


def test_padded_and_list_construction_agree():
    verts, faces = random_batch()
    listed = Meshes(verts, faces)
    padded = Meshes(listed.verts_padded(), listed.faces_padded())
    assert torch.equal(padded.verts_padded(), listed.verts_padded())
    assert torch.equal(padded.faces_padded(), listed.faces_padded())
    assert padded.num_faces_per_mesh().tolist() == [4, 2, 1]
    assert padded.num_verts_per_mesh().tolist() == [5, 5, 5]  # padding of vertices cannot be told from vertices


def test_rows_of_minus_one_are_dropped_from_lists():
    faces = torch.cat([TETRAHEDRON, torch.full((2, 3), -1)])
    assert torch.equal(Meshes([torch.rand(4, 3)], [faces]).faces_packed(), TETRAHEDRON)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    meshes = Meshes(*random_batch(dtype))
    for value in (
        meshes.verts_padded(),
        meshes.verts_normals_packed(),
        meshes.faces_areas_packed(),
        meshes.laplacian_packed(),
        meshes.get_bounding_boxes(),
    ):
        assert value.dtype == dtype


def test_other_inputs_are_accepted():
    verts, faces = random_batch()
    strided = [v.repeat_interleave(2, dim=0)[::2] for v in verts]
    meshes = Meshes(tuple(strided), [faces[0].int(), faces[1], faces[2].int()])
    assert torch.equal(meshes.verts_packed(), torch.cat(verts))
    assert meshes.faces_packed().dtype == torch.int64
    nan = Meshes([torch.full((3, 3), torch.nan)], [torch.tensor([[0, 1, 2]])])
    assert nan.verts_packed().isnan().all()


def test_later_writes_to_the_given_faces_do_no_harm():
    faces = TETRAHEDRON.clone()
    mesh = Meshes([torch.rand(4, 3)], [faces])
    faces.fill_(99)  # such an index would make a kernel read out of bounds
    assert torch.equal(mesh.faces_packed(), TETRAHEDRON)


def test_uniform_laplacian():
    meshes = Meshes([torch.rand(4, 3)], [torch.tensor([[0, 1, 2]])])  # vertex 3 is isolated
    expected = [[-1, 0.5, 0.5, 0], [0.5, -1, 0.5, 0], [0.5, 0.5, -1, 0], [0, 0, 0, -1]]
    assert meshes.laplacian_packed().to_dense().tolist() == expected


# --- normals and areas ---


def test_face_normals_and_areas_of_a_right_triangle():
    verts = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 3, 0]])
    mesh = Meshes([verts], [torch.tensor([[0, 1, 2]])])
    assert mesh.faces_areas_packed().tolist() == [3]
    assert mesh.faces_normals_packed().tolist() == [[0, 0, 1]]
    assert mesh.verts_normals_packed().tolist() == [[0, 0, 1]] * 3


def test_vertex_normals_are_weighted_by_area():
    verts = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 1]])
    mesh = Meshes([verts], [torch.tensor([[0, 1, 2], [0, 2, 3]])])  # areas 2 towards z, 1 towards x
    torch.testing.assert_close(mesh.verts_normals_packed()[0], torch.tensor([1.0, 0, 2]) / 5**0.5)
    torch.testing.assert_close(mesh.verts_normals_packed()[3], torch.tensor([1.0, 0, 0]))


def test_normals_and_areas_gradcheck():
    _, faces = random_batch()

    def outputs(*verts):
        meshes = Meshes(list(verts), faces)
        return meshes.verts_normals_packed(), meshes.faces_normals_packed(), meshes.faces_areas_packed()

    verts, _ = random_batch(torch.float64, requires_grad=True)
    verts[1] = verts[1].detach()[[0, 1, 2, 2, 4]].requires_grad_()  # vertex 3 has no face
    assert torch.autograd.gradcheck(outputs, verts)
    assert torch.autograd.gradgradcheck(outputs, verts)


@pytest.mark.parametrize(
    "verts",
    [
        torch.zeros(4, 3),  # no extent
        torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 0, 0]]),  # no area; the last vertex has no face
        torch.tensor([[0.0, 0, 0], [1e-20, 0, 0], [0, 1e-20, 0], [0, 0, 1e-20]]),
    ],
)
def test_gradients_are_finite_without_area(verts):
    verts = verts.requires_grad_()
    mesh = Meshes([verts], [torch.tensor([[0, 1, 2]])])
    outputs = (mesh.verts_normals_packed(), mesh.faces_normals_packed(), mesh.faces_areas_packed())
    assert all(out.isfinite().all() for out in outputs)
    assert mesh.verts_normals_packed()[3].tolist() == [0, 0, 0]
    sum(out.sum() for out in outputs).backward()
    assert verts.grad.isfinite().all()


def test_gradients_repeat_to_the_bit():
    generator = torch.Generator().manual_seed(1)
    faces = torch.randint(0, 500, (2000, 3), generator=generator)
    up = torch.randn(500, 3, generator=generator)
    grads = []
    for threads in (1, 2, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        verts = torch.randn(500, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
        grads.append(torch.autograd.grad(Meshes([verts], [faces]).verts_normals_packed(), verts, up)[0])
        torch.set_num_threads(before)
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[1], grads[2])


def test_given_normals_are_reported_and_follow_the_meshes():
    verts, faces = random_batch()
    normals = [torch.rand(n, 3) for n in SIZES]
    meshes = Meshes(verts, faces, verts_normals=normals)
    assert meshes.has_verts_normals()
    assert torch.equal(meshes.verts_normals_packed(), torch.cat(normals))
    assert torch.equal(meshes[1].verts_normals_packed(), normals[1])
    assert torch.equal(meshes.extend(2).verts_normals_list()[3], normals[1])
    assert torch.equal(meshes.clone().detach().verts_normals_packed(), torch.cat(normals))
    assert torch.equal(meshes.scale_verts(2.0).verts_normals_packed(), torch.cat(normals))
    assert torch.equal(join_meshes_as_scene(meshes).verts_normals_packed(), torch.cat(normals))
    assert torch.equal(meshes.submeshes([[], [torch.tensor([1])], []]).verts_normals_packed(), normals[1][[1, 2, 4]])
    moved = meshes.offset_verts(torch.arange(3 * sum(SIZES)).reshape(-1, 3) * 0.0 + 1)
    assert not moved.has_verts_normals()
    torch.testing.assert_close(moved.verts_normals_packed(), Meshes(verts, faces).verts_normals_packed())
    padded = Meshes(meshes.verts_padded(), meshes.faces_padded(), verts_normals=meshes.verts_normals_padded())
    assert torch.equal(padded.verts_normals_padded(), meshes.verts_normals_padded())


def test_normals_computed_without_gradients_are_not_kept_for_later():
    verts, faces = random_batch(requires_grad=True)
    meshes = Meshes(verts, faces)
    assert not meshes.has_verts_normals()
    with torch.no_grad():
        meshes.verts_normals_packed()
    assert meshes.has_verts_normals()
    assert meshes.verts_normals_packed().requires_grad
    assert meshes.verts_normals_packed() is meshes.verts_normals_packed()


def test_normals_follow_an_optimisers_step():
    verts = torch.rand(4, 3, requires_grad=True)
    mesh = Meshes([verts], [TETRAHEDRON])
    for _ in range(2):
        expected = Meshes([verts.detach().clone()], [TETRAHEDRON]).verts_normals_packed()
        assert torch.equal(mesh.verts_normals_packed(), expected)
        mesh.verts_normals_packed().pow(3).sum().backward()
        with torch.no_grad():
            verts -= 0.1 * verts.grad


# --- bounding boxes ---


def test_bounding_boxes():
    boxes = batch_with_empties().get_bounding_boxes()
    verts, _ = random_batch()
    assert boxes.shape == (4, 3, 2)
    assert torch.equal(boxes[1], torch.stack([verts[0].amin(0), verts[0].amax(0)], dim=1))
    assert boxes[0].tolist() == [[torch.inf, -torch.inf]] * 3


# --- editing ---


@pytest.mark.parametrize("shape", [(12, 3), (3,), (1, 3)])
def test_offset_verts(shape):
    verts, faces = random_batch()
    meshes = Meshes(verts, faces)
    offset = torch.rand(shape, requires_grad=True)
    moved = meshes.offset_verts(offset)
    assert torch.equal(moved.verts_packed(), torch.cat(verts) + offset)
    assert torch.equal(meshes.verts_packed(), torch.cat(verts))
    moved.verts_padded().sum().backward()
    assert torch.equal(offset.grad, torch.full(shape, 12.0 if len(shape) == 1 or shape[0] == 1 else 1.0))


def test_in_place_edits_work_under_autograd():
    verts, faces = random_batch(torch.float64)
    meshes = Meshes(verts, faces)
    stale = meshes.verts_normals_packed()
    offset = torch.rand(12, 3, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert meshes.offset_verts_(offset) is meshes
    assert meshes.scale_verts_(scale) is meshes
    factors = torch.tensor([1.0, 2, 3], dtype=torch.float64).repeat_interleave(torch.tensor(SIZES))
    assert torch.equal(meshes.verts_packed(), (torch.cat(verts) + offset) * factors[:, None])
    assert not torch.equal(meshes.verts_normals_packed(), stale)

    def normals(offset, scale):
        edited = Meshes(verts, faces)
        edited.offset_verts_(offset)
        edited.scale_verts_(scale)
        return edited.verts_normals_packed(), edited.faces_areas_packed()

    assert torch.autograd.gradcheck(normals, (offset, scale))


@pytest.mark.parametrize("scale", [2, 2.0, torch.tensor(2.0), torch.tensor([2.0, 2.0, 2.0])])
def test_scale_verts(scale):
    verts, faces = random_batch()
    meshes = Meshes(verts, faces)
    assert torch.equal(meshes.scale_verts(scale).verts_packed(), 2 * torch.cat(verts))
    assert torch.equal(meshes.verts_packed(), torch.cat(verts))


def test_update_padded():
    verts, faces = random_batch()
    meshes = Meshes(verts, faces, TexturesVertex([torch.rand(n, 3) for n in SIZES]))
    padded = torch.rand(3, 5, 3, requires_grad=True)  # with something in the padding
    updated = meshes.update_padded(padded)
    assert updated.textures is meshes.textures
    assert torch.equal(updated.verts_list()[2], padded[2, :3])
    assert (updated.verts_padded()[2, 3:] == 0).all()
    updated.verts_packed().sum().backward()
    assert padded.grad.sum() == 3 * 12
    assert (padded.grad[2, 3:] == 0).all()


def test_meshes_that_differ_in_vertices_share_one_topology():
    meshes = Meshes(*random_batch())
    edges, extended = meshes.edges_packed(), meshes.extend(2).topology
    others = [
        meshes.offset_verts(torch.ones(12, 3)),
        meshes.scale_verts(2.0),
        meshes.update_padded(meshes.verts_padded()),
        meshes.clone(),
        meshes.detach(),
        meshes.to("cpu", copy=True),
    ]
    for other in others:
        assert other.topology is meshes.topology
        assert other.edges_packed() is edges
        assert other.extend(2).topology is extended
    meshes.offset_verts_(torch.ones(3))
    assert meshes.edges_packed() is edges


# --- copies ---


def test_clone_owns_its_vertices_and_textures():
    features = torch.rand(1, 4, 3)
    mesh = Meshes([torch.rand(4, 3)], [TETRAHEDRON], TexturesVertex(features))
    copied = mesh.clone()
    mesh.verts_packed().zero_()
    features.zero_()
    assert (copied.verts_packed() > 0).any()
    assert (copied.textures.verts_features_packed() > 0).any()


def test_detach_cuts_the_graph():
    verts, faces = random_batch(requires_grad=True)
    meshes = Meshes(verts, faces, TexturesVertex([torch.rand(n, 3, requires_grad=True) for n in SIZES]))
    detached = meshes.detach()
    assert not detached.verts_packed().requires_grad
    assert not detached.verts_normals_packed().requires_grad
    assert not detached.textures.verts_features_packed().requires_grad
    assert meshes.clone().verts_packed().requires_grad


def test_moving_to_where_it_is_returns_itself():
    meshes = Meshes(*random_batch())
    assert meshes.to("cpu") is meshes
    assert meshes.cpu() is meshes
    assert meshes.to("cpu", copy=True) is not meshes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda():
    meshes = Meshes(*random_batch(), TexturesVertex([torch.rand(n, 3) for n in SIZES]))
    there = meshes.cuda()
    assert there.device.type == "cuda"
    assert there.cuda() is there
    names = "verts_normals_packed faces_areas_packed edges_packed verts_padded faces_padded verts_padded_to_packed_idx"
    for name in [*names.split(), "get_bounding_boxes", "faces_packed_to_edges_packed", "laplacian_packed"]:
        here, value = getattr(meshes, name)(), getattr(there, name)()
        assert value.is_cuda
        torch.testing.assert_close(value.cpu(), here)
    torch.testing.assert_close(
        there.extend(2)[[0, 3]].verts_normals_packed().cpu(), meshes[[0, 1]].verts_normals_packed()
    )
    with pytest.raises(ValueError, match="faces: expected a tensor on cuda:0 as verts, got cpu"):
        Meshes([torch.rand(4, 3).cuda()], [TETRAHEDRON])


def test_deepcopy():
    meshes = Meshes(*random_batch())
    assert torch.equal(copy.deepcopy(meshes).verts_packed(), meshes.verts_packed())


# --- batches ---


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(1), [1]),
        (torch.tensor(2), [2]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (slice(0, 0), []),
        ([2, 0, 0], [2, 0, 0]),
        ([], []),
        (torch.tensor([True, False, True]), [0, 2]),
        (torch.tensor([False, False, False]), []),
        (torch.tensor([-1, 1]), [2, 1]),
        (torch.tensor([1], dtype=torch.int32), [1]),
    ],
)
def test_indexing(index, expected):
    verts, faces = random_batch(requires_grad=True)
    features = [torch.rand(n, 3) for n in SIZES]
    chosen = Meshes(verts, faces, TexturesVertex(features))[index]
    assert len(chosen) == len(expected)
    for i, mesh in enumerate(expected):
        assert torch.equal(chosen.verts_list()[i], verts[mesh])
        assert torch.equal(chosen.faces_list()[i], faces[mesh])
        assert torch.equal(chosen.textures.verts_features_list()[i], features[mesh])
    if expected:
        chosen.verts_packed().sum().backward()
        assert verts[expected[0]].grad is not None


@pytest.mark.parametrize("index", [3, -4, [0, 3], torch.tensor([5])])
def test_indexing_out_of_range(index):
    with pytest.raises(IndexError, match="index: expected -3 to 2, got"):
        Meshes(*random_batch())[index]


@pytest.mark.parametrize("index", [1.0, "a", None, [0.5], [True, False, True], torch.tensor([0.5])])
def test_indexing_by_something_else(index):
    with pytest.raises(IndexError, match="index: expected an integer, a slice, a list of integers or a tensor of them"):
        Meshes(*random_batch())[index]


def test_iteration():
    assert [len(mesh.verts_packed()) for mesh in Meshes(*random_batch())] == SIZES


def test_split():
    verts, faces = random_batch()
    first, none, rest = Meshes(verts, faces).split([1, 0, 2])
    assert torch.equal(first.verts_packed(), verts[0])
    assert none.isempty()
    assert torch.equal(rest.verts_packed(), torch.cat(verts[1:]))


@pytest.mark.parametrize("one_mesh", [True, False])
def test_extend(one_mesh):
    verts, faces = random_batch(requires_grad=True)
    if one_mesh:
        verts, faces = verts[:1], faces[:1]
    features = [torch.rand(len(v), 3) for v in verts]
    extended = Meshes(verts, faces, TexturesVertex(features)).extend(3)
    direct = Meshes([v for v in verts for _ in range(3)], [f for f in faces for _ in range(3)])
    names = "verts_packed verts_padded faces_packed faces_padded edges_packed faces_packed_to_edges_packed"
    names += " verts_normals_packed faces_normals_packed faces_areas_packed mesh_to_edges_packed_first_idx"
    names += " verts_padded_to_packed_idx num_edges_per_mesh edges_packed_to_mesh_idx faces_packed_to_mesh_idx"
    for name in names.split():
        assert torch.equal(getattr(extended, name)(), getattr(direct, name)()), name
    for ours, theirs in zip(extended.topology.vertex_corners, direct.topology.vertex_corners):
        assert torch.equal(ours, theirs)
    assert torch.equal(extended.textures.verts_features_list()[1], features[0])

    up = torch.randn_like(extended.verts_packed())
    grads = torch.autograd.grad(extended.verts_normals_packed() + extended.verts_packed(), verts, up)
    expected = torch.autograd.grad(direct.verts_normals_packed() + direct.verts_packed(), verts, up)
    torch.testing.assert_close(grads, expected)


def test_extend_computes_normals_once():
    meshes = Meshes(*random_batch(requires_grad=True))
    meshes.extend(2).verts_normals_packed()
    assert meshes.has_verts_normals()


def test_extended_meshes_are_independent_of_edits_to_the_original():
    verts, faces = random_batch()
    meshes = Meshes(verts, faces)
    extended = meshes.extend(2)
    meshes.offset_verts_(torch.rand(12, 3))
    assert torch.equal(extended.verts_normals_list()[0], Meshes(verts, faces).verts_normals_list()[0])


def test_extended_meshes_are_independent_of_writes_to_the_original():
    verts = torch.rand(4, 3)
    mesh = Meshes([verts], [TETRAHEDRON])
    extended, expected = mesh.extend(2), Meshes([verts.clone()], [TETRAHEDRON])
    verts.mul_(torch.tensor([1.0, 2, 3]))
    assert torch.equal(extended.verts_normals_list()[0], expected.verts_normals_packed())


def test_normals_of_extended_vertices_that_were_made_a_leaf():
    extended = Meshes(*random_batch()).extend(2)
    extended.verts_packed().requires_grad_()
    extended.verts_normals_packed().sum().backward()
    assert extended.verts_packed().grad is not None


def test_submeshes():
    verts, faces = random_batch(requires_grad=True)
    atlas = [torch.rand(len(f), 2, 2, 3) for f in faces]
    for textures in (TexturesVertex([torch.rand(n, 3) for n in SIZES]), TexturesAtlas(atlas)):
        meshes = Meshes(verts, faces, textures)
        parts = meshes.submeshes([[torch.tensor([3, 0]), torch.tensor([1])], torch.tensor([[1], [0]]), []])
        assert len(parts) == 4
        assert torch.equal(parts.verts_list()[2], verts[1][[1, 2, 4]])
        for part, mesh, chosen in zip(range(4), [0, 0, 1, 1], [[3, 0], [1], [1], [0]]):
            corners = parts.verts_list()[part][parts.faces_list()[part]]
            assert torch.equal(corners, verts[mesh][faces[mesh][chosen]])
    assert torch.equal(parts.textures.atlas_list()[0], atlas[0][[3, 0]])
    parts.verts_packed().sum().backward()
    assert verts[1].grad.count_nonzero(dim=1).tolist() == [3, 3, 3, 0, 3]


def test_submeshes_may_be_empty():
    meshes = Meshes(*random_batch())
    no_faces = torch.zeros(0, dtype=torch.int64)
    part = meshes.submeshes([[no_faces], [], []])
    assert len(part) == 1
    assert part.isempty()
    assert len(meshes.submeshes([[], [], []])) == 0


# --- empty meshes ---


VIEWS = """
    verts_list verts_packed verts_padded faces_list faces_packed faces_padded edges_packed
    num_verts_per_mesh num_faces_per_mesh num_edges_per_mesh verts_packed_to_mesh_idx
    faces_packed_to_mesh_idx edges_packed_to_mesh_idx mesh_to_verts_packed_first_idx
    mesh_to_faces_packed_first_idx mesh_to_edges_packed_first_idx verts_padded_to_packed_idx
    faces_packed_to_edges_packed get_bounding_boxes laplacian_packed verts_normals_packed
    verts_normals_padded verts_normals_list faces_normals_packed faces_normals_padded faces_normals_list
    faces_areas_packed
"""


@pytest.mark.parametrize(
    ("verts", "faces"),
    [
        ([], []),
        ([torch.zeros(0, 3)], [torch.zeros(0, 3, dtype=torch.int64)]),
        ([torch.tensor([])], [torch.tensor([])]),
        (torch.zeros(2, 0, 3), torch.zeros(2, 0, 3, dtype=torch.int64)),
        (torch.zeros(0, 3, 3), torch.zeros(0, 2, 3, dtype=torch.int64)),
        ([torch.rand(2, 3)], [torch.zeros(0, 3, dtype=torch.int64)]),
        (torch.rand(2, 3, 3), torch.full((2, 4, 3), -1)),
    ],
)
def test_empty_batches(verts, faces):
    meshes = Meshes(verts, faces)
    assert meshes.isempty()
    assert not meshes.valid.any()
    for each in (meshes, meshes.extend(2), meshes.clone(), meshes[:], meshes.offset_verts(torch.ones(3))):
        for name in VIEWS.split():
            value = getattr(each, name)()
            assert len(value) == len(each) or "packed" in name
    assert len(join_meshes_as_batch([meshes, meshes])) == 2 * len(verts)
    assert join_meshes_as_scene(meshes).isempty()
    assert meshes.update_padded(meshes.verts_padded()).isempty()


def test_empty_meshes_within_a_batch():
    meshes = batch_with_empties()
    assert not meshes.isempty()
    assert meshes.valid.tolist() == [False, True, False, False]
    for name in VIEWS.split():
        getattr(meshes, name)()
    assert meshes.verts_padded().shape == (4, 5, 3)
    assert meshes.num_edges_per_mesh().tolist() == [0, 6, 0, 0]
    assert torch.equal(meshes[1].verts_normals_packed(), meshes.verts_normals_list()[1])
    assert torch.equal(meshes.extend(2)[2:4].edges_packed(), meshes[[1, 1]].edges_packed())


# --- textures ---


def test_textures_are_told_the_sizes():
    verts, faces = random_batch()
    textures = TexturesVertex(torch.rand(3, 5, 3))
    meshes = Meshes(verts, faces)
    meshes.textures = textures
    assert meshes.textures is textures
    assert [len(features) for features in textures.verts_features_list()] == SIZES


def test_textures_must_fit():
    verts, faces = random_batch()
    with pytest.raises(
        ValueError, match="textures: expected textures for 3 meshes of at most 5 verts and 4 faces, got"
    ):
        Meshes(verts, faces, TexturesVertex([torch.rand(n, 3) for n in (4, 4, 3)]))
    with pytest.raises(TypeError, match="textures: expected a Textures object, got Tensor"):
        Meshes(verts, faces, torch.rand(3))
    with pytest.raises(ValueError, match="textures: expected meshes with textures, got None"):
        Meshes(verts, faces).sample_textures(None)


def test_sample_textures_passes_the_faces():
    class FaceColors(TexturesVertex):
        def sample_textures(self, fragments, faces_packed=None):
            return fragments, faces_packed

    verts, faces = random_batch()
    meshes = Meshes(verts, faces, FaceColors([torch.rand(n, 3) for n in SIZES]))
    fragments, faces_packed = meshes.sample_textures("fragments")
    assert fragments == "fragments"
    assert faces_packed is meshes.faces_packed()


# --- joins ---


def test_join_as_batch():
    verts, faces = random_batch(requires_grad=True)
    features = [torch.rand(n, 3) for n in SIZES]
    first = Meshes(verts[:1], faces[:1], TexturesVertex(features[:1]))
    rest = Meshes(verts[1:], faces[1:], TexturesVertex(features[1:]))
    joined = join_meshes_as_batch([first, rest])
    direct = Meshes(verts, faces)
    assert torch.equal(joined.verts_packed(), direct.verts_packed())
    assert torch.equal(joined.faces_packed(), direct.faces_packed())
    assert all(torch.equal(a, b) for a, b in zip(joined.textures.verts_features_list(), features))
    assert join_meshes_as_batch([first, rest], include_textures=False).textures is None
    assert len(join_meshes_as_batch([])) == 0
    joined.verts_packed().sum().backward()
    assert verts[2].grad is not None


def test_join_as_scene():
    verts, faces = random_batch(requires_grad=True)
    features = [torch.rand(n, 3) for n in SIZES]
    batch = Meshes(verts, faces, TexturesVertex(features))
    for meshes in (batch, [batch[0], batch[1:]]):
        scene = join_meshes_as_scene(meshes)
        assert len(scene) == 1
        assert torch.equal(scene.verts_packed(), batch.verts_packed())
        assert torch.equal(scene.faces_list()[0], batch.faces_packed())
        assert torch.equal(scene.textures.verts_features_packed(), torch.cat(features))
        assert join_meshes_as_scene(meshes, include_textures=False).textures is None
    torch.testing.assert_close(scene.verts_normals_packed(), batch.verts_normals_packed())


def test_join_refuses():
    verts, faces = random_batch()
    plain = Meshes(verts, faces)
    textured = Meshes(verts, faces, TexturesVertex([torch.rand(n, 3) for n in SIZES]))
    atlas = Meshes(verts, faces, TexturesAtlas([torch.rand(len(f), 2, 2, 3) for f in faces]))
    with pytest.raises(ValueError, match="meshes: expected a list of Meshes, got Meshes"):
        join_meshes_as_batch(plain)
    for others in ([plain, textured], [textured, atlas]):
        with pytest.raises(ValueError, match="meshes: expected textures of one type, or none at all"):
            join_meshes_as_batch(others)
    with pytest.raises(ValueError, match=r"meshes\[1\].verts: expected torch.float32 on cpu, got torch.float64 on cpu"):
        join_meshes_as_batch([plain, Meshes(*random_batch(torch.float64))])


# --- bad input ---

TRIANGLE = torch.tensor([[0, 1, 2]])


@pytest.mark.parametrize(
    ("verts", "faces", "message"),
    [
        (None, [TRIANGLE], "verts: expected a list of tensors or a padded tensor, got NoneType"),
        (torch.rand(4, 3), TRIANGLE[None], r"verts: expected shape \(N, n, 3\), got \(4, 3\)"),
        ([torch.rand(4, 2)], [TRIANGLE], r"verts\[0\]: expected shape \(n, 3\), got \(4, 2\)"),
        ([[0.0, 1.0, 2.0]], [TRIANGLE], r"verts\[0\]: expected a tensor, got list"),
        ([torch.rand(4, 3) > 0], [TRIANGLE], r"verts\[0\]: expected real numbers, got torch.bool"),
        ([torch.rand(4, 3)], [TRIANGLE] * 2, "faces: expected 1 meshes as in verts, got 2"),
        ([torch.rand(4, 3)], [TRIANGLE + 0.5], r"faces\[0\]: expected whole numbers, got torch.float32 with others"),
        ([torch.rand(4, 3)], [TRIANGLE * torch.nan], r"faces\[0\]: expected whole numbers"),
        ([torch.rand(4, 3)], [TRIANGLE * torch.inf], r"faces\[0\]: expected whole numbers"),
        ([torch.rand(4, 3)], [TRIANGLE > 0], r"faces\[0\]: expected whole numbers, got torch.bool"),
        ([torch.rand(4, 3)], [torch.tensor(0.5)], r"faces\[0\]: expected shape \(n, 3\), got \(\)"),
        ([torch.rand(4, 3)], [TRIANGLE[0]], r"faces\[0\]: expected shape \(n, 3\), got \(3,\)"),
        ([torch.rand(4, 3)], None, "faces: expected a list of tensors or a padded tensor, got NoneType"),
        (
            [torch.rand(9, 3), torch.rand(4, 3)],
            [TRIANGLE, torch.tensor([[0, 1, 2], [1, 4, 2]])],
            r"faces\[1\]: expected vertex indices from 0 to 3, got 4 in face 1",
        ),
        ([torch.rand(4, 3)], [torch.tensor([[0, 1, -2]])], r"faces\[0\]: expected vertex .* 0 to 3, got -2 in face 0"),
        ([torch.rand(4, 3)], [torch.tensor([[0, 1, -1]])], r"faces\[0\]: expected vertex .* 0 to 3, got -1 in face 0"),
        ([torch.zeros(0, 3)], [TRIANGLE], r"faces\[0\]: expected no faces without vertices, got 0 in face 0"),
        (
            torch.rand(1, 4, 3),
            torch.tensor([[[0, 1, 2], [-1, -1, -1], [1, 2, 3]]]),
            r"faces\[0\]: expected padding \(-1\) only at the end, got a face after it",
        ),
    ],
)
def test_construction_refuses(verts, faces, message):
    with pytest.raises(ValueError, match=message):
        Meshes(verts, faces)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: Meshes(m.verts_list(), m.faces_list(), verts_normals=m.verts_list()[:2]),
            "verts_normals: expected as",
        ),
        (
            lambda m: Meshes(m.verts_list(), m.faces_list(), verts_normals=[torch.rand(4, 2)]),
            r"verts_normals\[0\]: exp",
        ),
        (lambda m: m.extend(0), "N: expected a positive integer, got 0"),
        (lambda m: m.extend(1.5), "N: expected a positive integer, got 1.5"),
        (lambda m: m.offset_verts(torch.rand(11, 3)), r"vert_offsets_packed: expected shape \(12, 3\) or \(3,\)"),
        (lambda m: m.offset_verts_(torch.rand(12, 2)), r"vert_offsets_packed: expected shape \(12, 3\) or \(3,\)"),
        (lambda m: m.offset_verts_(torch.rand(3) > 0), "vert_offsets_packed: expected real numbers, got torch.bool"),
        (
            lambda m: m.scale_verts(torch.rand(2)),
            r"scale: expected a number, or shape \(3,\), \(3, 1\) or \(3, 3\), got \(2,\)",
        ),
        (
            lambda m: m.update_padded(torch.rand(3, 4, 3)),
            r"new_verts_padded: expected shape \(3, 5, 3\), got \(3, 4, 3\)",
        ),
        (lambda m: m.get_mesh_verts_faces(3), "index: expected an integer from 0 to 2, got 3"),
        (lambda m: m.get_mesh_verts_faces(0.5), "index: expected an integer from 0 to 2, got 0.5"),
        (lambda m: m.split([1, 3]), r"split_sizes: expected non-negative integers that sum to at most 3, got \[1, 3\]"),
        (lambda m: m.submeshes([[]]), "face_indices: expected 3 entries, one a mesh, got 1"),
        (
            lambda m: m.submeshes([[torch.tensor([4])], [], []]),
            r"face_indices\[0\]\[0\]: expected indices of the 4 faces, got 4",
        ),
        (lambda m: m.submeshes([[torch.tensor([0.5])], [], []]), r"face_indices\[0\]\[0\]: expected whole numbers"),
    ],
)
def test_methods_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call(Meshes(*random_batch()))
