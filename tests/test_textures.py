from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import tirender.renderer as r
from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.renderer.mesh.texture_maps import (
    PackedMaps,
    check_padding,
    join_maps,
    pack_maps,
    pack_rectangles,
    sample_maps,
)
from tirender.renderer.mesh.textures import Textures, TexturesAtlas, TexturesBase, TexturesUV, TexturesVertex
from tirender.structures import Meshes

N_VERTS, N_FACES = (6, 4, 5), (5, 2, 4)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed + 31 * sum(shape)), dtype=dtype)


def integers(high, *shape, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed + high))


def faces_list():
    return [integers(v, f, 3) for v, f in zip(N_VERTS, N_FACES)]


def vertex_textures():
    return TexturesVertex([random(v, 4) for v in N_VERTS])


def atlas_textures():
    return TexturesAtlas([random(f, 3, 3, 4, seed=f) for f in N_FACES])


def uv_textures(**options):
    maps = [random(h, w, 4) for h, w in ((5, 7), (4, 4), (3, 6))]
    uvs = [random(v + 2, 2) for v in N_VERTS]
    faces = [integers(v + 2, f, 3, seed=1) for v, f in zip(N_VERTS, N_FACES)]
    return TexturesUV(maps, faces, uvs, **options)


def multi_uv_textures():
    maps = [random(m, h, 5, 4) for m, h in ((2, 4), (3, 4), (1, 4))]
    uvs = [random(v, 2) for v in N_VERTS]
    ids = [integers(m, f) for m, f in zip((2, 3, 1), N_FACES)]
    return TexturesUV(maps, faces_list(), uvs, maps_ids=ids)


KINDS = {"vertex": vertex_textures, "atlas": atlas_textures, "uv": uv_textures, "multi_uv": multi_uv_textures}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def uv_of(faces, n_uvs):
    return TexturesUV([random(2, 2, 3)], [torch.tensor(faces)], [random(n_uvs, 2)])


def meshes_with(textures):
    return Meshes([random(v, 3, seed=5) for v in N_VERTS], faces_list(), textures)


def fragments(n_faces, shape=(3, 4, 5, 2), seed=0):
    bary = random(*shape, 3, seed=seed)
    return SimpleNamespace(
        pix_to_face=integers(n_faces + 1, *shape, seed=seed) - 1, bary_coords=bary / bary.sum(-1, keepdim=True)
    )


def corner_fragments(n_faces):
    """One fragment at each corner of each face, packed."""
    return SimpleNamespace(
        pix_to_face=torch.arange(n_faces).repeat_interleave(3),
        bary_coords=torch.eye(3, dtype=torch.float64).repeat(n_faces, 1),
    )


# --- sampling ---


def test_vertex_textures_are_interpolated():
    meshes, seen = meshes_with(vertex_textures()), fragments(sum(N_FACES))
    corners = torch.stack([meshes.textures.verts_features_packed()[f] for f in meshes.faces_packed()])
    expected = interpolate_face_attributes(seen.pix_to_face, seen.bary_coords, corners)
    torch.testing.assert_close(meshes.sample_textures(seen), expected)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(5, 7), (1, 3), (1, 1)])
def test_sample_maps_is_grid_sample(mode, padding_mode, align_corners, size):
    image = random(*size, 3).requires_grad_()
    uv = (random(400, 2) * 5 - 2).requires_grad_()  # beyond the border on all sides
    ours = sample_maps(
        pack_maps([image]), torch.zeros(400, dtype=torch.long), uv, mode, (padding_mode,) * 2, align_corners
    )
    grid = (uv * 2 - 1)[None, None]
    flipped = image.flip(0).permute(2, 0, 1)[None]
    theirs = F.grid_sample(flipped, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    torch.testing.assert_close(ours, theirs[0, :, 0].T)
    up = random(400, 3, seed=2)
    wanted = (image, uv) if mode == "bilinear" else (image,)
    for a, b in zip(
        torch.autograd.grad(ours, wanted, up), torch.autograd.grad(theirs, wanted, up.T[None, :, None]), strict=True
    ):
        torch.testing.assert_close(a, b)


def tiled(image: torch.Tensor, along: int, padding: str) -> torch.Tensor:
    """Five copies of an image along an axis, the middle one as it is."""
    copies = [image.flip(along) if padding == "mirror" and i % 2 else image for i in range(5)]
    if padding == "clamp":
        ends = [
            image.narrow(along, i, 1).repeat_interleave(image.shape[along], along) for i in (0, image.shape[along] - 1)
        ]
        copies = [ends[0], ends[0], image, ends[1], ends[1]]
    return torch.cat(copies, along)


@pytest.mark.parametrize("u", ["repeat", "mirror", "clamp"])
@pytest.mark.parametrize("v", ["repeat", "mirror", "clamp"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_wraps_are_those_of_a_larger_map_made_of_copies(u, v, mode):
    image = random(5, 8, 3)
    uv = random(400, 2) * 4.8 - 1.9
    where = torch.zeros(400, dtype=torch.long)
    ours = sample_maps(pack_maps([image]), where, uv, mode, check_padding("padding", (u, v)), False)
    larger = tiled(tiled(image, 1, u), 0, v)
    expected = sample_maps(pack_maps([larger]), where, (uv + 2) / 5, mode, ("zeros", "zeros"), False)
    torch.testing.assert_close(ours, expected)


def test_a_repeating_map_has_period_one():
    image, where = random(4, 4, 3), torch.zeros(50, dtype=torch.long)
    uv = random(50, 2)
    for align_corners in (False, True):
        values = [
            sample_maps(pack_maps([image]), where, uv + shift, "bilinear", ("repeat", "repeat"), align_corners)
            for shift in (0, 3, -2, torch.tensor([1.0, -5.0]))
        ]
        for other in values[1:]:
            torch.testing.assert_close(other, values[0], atol=1e-4, rtol=0)


def test_textures_may_wrap_differently_along_u_and_v():
    textures = uv_textures(padding_mode=("repeat", "clamp"), align_corners=False)
    assert textures.padding == ("repeat", "border")
    assert textures.extend(2).padding_mode == ("repeat", "clamp")
    with pytest.raises(ValueError, match="padding_mode: expected 'zeros' or 'border' or 'reflection' or 'repeat', got"):
        uv_textures(padding_mode=("repeat", "tile"))


@pytest.mark.parametrize("sizes", [[(4, 4)] * 2, [(4, 4), (3, 6)]])
def test_a_joined_scene_keeps_coordinates_beyond_repeating_maps(sizes):
    faces, uvs = [torch.tensor([[0, 1, 2]])] * 2, [random(3, 2, seed=i) * 3 - 1 for i in range(2)]
    textures = TexturesUV([random(*size, 3, seed=i) for i, size in enumerate(sizes)], faces, uvs, padding_mode="repeat")
    context = contextlib.nullcontext() if sizes[0] == sizes[1] else pytest.warns(UserWarning, match="beyond the maps")
    with context:
        joined = textures.join_scene()
    colors = [t.faces_verts_textures_packed() for t in (joined, textures)]
    assert torch.allclose(*colors, atol=1e-5) == (sizes[0] == sizes[1])


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection", "repeat"])
def test_sample_maps_survives_wild_coordinates(padding_mode):
    uv = torch.tensor([[1e20, 0.5], [-1e20, -1e20], [torch.nan, 0.5], [torch.inf, 0.5], [0.0, 1.0]])
    image = torch.ones(3, 4, 1)
    out = sample_maps(pack_maps([image]), torch.zeros(5, dtype=torch.long), uv, "bilinear", (padding_mode,) * 2, True)
    assert out.shape == (5, 1)
    assert out[4] == 1


def test_each_face_samples_its_own_map():
    """Three meshes with maps of three sizes give what each gives alone."""
    textures, seen = uv_textures(), fragments(sum(N_FACES))
    meshes_with(textures)
    together = textures.sample_textures(seen)
    first = 0
    for i, n in enumerate(N_FACES):
        mine = (seen.pix_to_face >= first) & (seen.pix_to_face < first + n)
        alone = SimpleNamespace(pix_to_face=seen.pix_to_face - first, bary_coords=seen.bary_coords)
        alone.pix_to_face = alone.pix_to_face.where(mine, -1)
        torch.testing.assert_close(together[mine], textures[i].sample_textures(alone)[mine])
        first += n
    assert not together[seen.pix_to_face < 0].any()


def test_several_maps_a_mesh():
    textures = multi_uv_textures()
    colors = textures.faces_verts_textures_packed()
    first = 0
    for i, n in enumerate(N_FACES):
        for f in range(n):
            one_map = textures.maps_list()[i][textures.maps_ids_list()[i][f]]
            single = TexturesUV([one_map], [textures.faces_uvs_list()[i][f : f + 1]], [textures.verts_uvs_list()[i]])
            torch.testing.assert_close(colors[first + f : first + f + 1], single.faces_verts_textures_packed())
        first += n


def test_atlas_cells():
    """Cells (row, column) of R = 2: the lower triangles from the near corner, the upper ones from the far end."""
    atlas = torch.arange(4.0).view(1, 2, 2, 1)
    textures = TexturesAtlas([atlas])
    coords = torch.tensor([(0.1, 0.1), (0.6, 0.1), (0.1, 0.6), (0.4, 0.4), (1.0, 0.0), (-0.2, 0.3), (1.4, -0.1)])
    bary = torch.cat((coords, 1 - coords.sum(1, keepdim=True)), 1)
    seen = SimpleNamespace(pix_to_face=torch.zeros(7, dtype=torch.long), bary_coords=bary)
    assert textures.sample_textures(seen).squeeze(1).tolist() == [0, 1, 2, 3, 1, 0, 2]


@every_kind
def test_corner_colours_are_samples_at_the_corners(make):
    meshes = meshes_with(make())
    corners = meshes.textures.faces_verts_textures_packed(faces_packed=meshes.faces_packed())
    samples = meshes.sample_textures(corner_fragments(sum(N_FACES)))
    torch.testing.assert_close(corners, samples.view(-1, 3, 4))


@every_kind
def test_packed_and_dense_agree(make):
    meshes, dense = meshes_with(make()), fragments(sum(N_FACES))
    filled = dense.pix_to_face >= 0
    packed = SimpleNamespace(pix_to_face=dense.pix_to_face[filled], bary_coords=dense.bary_coords[filled])
    texels = meshes.sample_textures(dense)
    assert texels.shape == (*dense.pix_to_face.shape, 4)
    assert not texels[~filled].any()
    assert torch.equal(texels[filled], meshes.sample_textures(packed))
    nothing = fragments(0)
    assert torch.equal(meshes.sample_textures(nothing), torch.zeros(*nothing.pix_to_face.shape, 4, dtype=torch.float64))


@every_kind
def test_gradcheck(make):
    textures, seen = make(), fragments(sum(N_FACES), (3, 2, 2, 1))
    meshes = meshes_with(textures)
    names = [n for n in ("_verts_features", "_atlas", "_maps", "_verts_uvs") if hasattr(textures, n)]
    leaves = [t.requires_grad_() for n in names for t in getattr(textures, n)]

    def sample(bary, *_):
        return meshes.sample_textures(SimpleNamespace(pix_to_face=seen.pix_to_face, bary_coords=bary))

    inputs = (seen.bary_coords.requires_grad_(not isinstance(textures, TexturesAtlas)), *leaves)
    assert torch.autograd.gradcheck(sample, inputs, fast_mode=True)


@every_kind
def test_gradients_are_the_same_to_the_bit(make):
    textures = make()
    meshes, seen = meshes_with(textures), fragments(sum(N_FACES), (3, 32, 32, 4))
    leaf = textures.__dict__["_maps" if isinstance(textures, TexturesUV) else next(iter(textures._fields))][0]
    leaf.requires_grad_()
    runs = [torch.autograd.grad(meshes.sample_textures(seen).square().sum(), leaf)[0] for _ in range(3)]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


# --- batches ---


def tensors_of(textures):
    return [t for name in textures._fields if getattr(textures, name) is not None for t in textures._list(name)]


@every_kind
def test_padded_and_list_inputs_agree(make):
    listed = make()
    meshes_with(listed)
    if isinstance(listed, TexturesVertex):
        padded: TexturesBase = TexturesVertex(listed.verts_features_padded())
    elif isinstance(listed, TexturesAtlas):
        padded = TexturesAtlas(listed.atlas_padded())
    else:
        listed._maps = listed.maps_padded()
        ids = listed.maps_ids_padded()
        padded = TexturesUV(listed._maps, listed.faces_uvs_padded(), listed.verts_uvs_padded(), maps_ids=ids)
    seen = fragments(sum(N_FACES))
    expected = meshes_with(listed).sample_textures(seen)
    assert torch.equal(meshes_with(padded).sample_textures(seen), expected)
    for index in (1, [2, 0], slice(1, 3)):
        a, b = listed[index], padded[index]
        assert len(a) == len(b)
        for x, y in zip(a._list(next(iter(a._fields))), b._list(next(iter(b._fields)))):
            assert torch.equal(x, y)


def test_faces_without_uvs_leave_the_others_alone():
    maps, uvs, faces = random(1, 4, 5, 3), random(3, 2), torch.tensor([[0, 1, 2], [-1, -1, -1], [2, -1, 1]])
    whole, part = (TexturesUV(maps, [f], [uvs]) for f in (faces, faces[:1]))
    assert whole.faces_verts_uvs_packed().shape == (3, 3, 2)
    for sample in (TexturesUV.faces_verts_uvs_packed, TexturesUV.faces_verts_textures_packed):
        assert torch.equal(sample(whole)[:1], sample(part))
    meshes = Meshes([random(3, 3)], [torch.tensor([[0, 1, 2]] * 3)], whole)
    seen = fragments(1, (40,))
    assert torch.equal(meshes.sample_textures(seen), part.sample_textures(seen))
    moved = meshes.submeshes([[torch.tensor([1, 2]), torch.tensor([0])]])
    assert [f.tolist() for f in moved.textures.faces_uvs_list()] == [[[-1, -1, -1], [1, -1, 0]], [[0, 1, 2]]]
    assert torch.equal(moved[1].sample_textures(seen), part.sample_textures(seen))
    none = TexturesUV(maps, [faces.clamp(max=-1)], [uvs[:0]])
    assert not none.faces_verts_uvs_packed().any()


@every_kind
@pytest.mark.parametrize(
    ("index", "picked"),
    [
        (1, [1]),
        (-1, [2]),
        ([2, 0], [2, 0]),
        (slice(1, None), [1, 2]),
        (torch.tensor([True, False, True]), [0, 2]),
        (torch.tensor([2, 2]), [2, 2]),
        (torch.tensor(1), [1]),
    ],
)
def test_index(make, index, picked):
    textures = make()
    meshes_with(textures)
    part = textures[index]
    assert len(part) == len(picked)
    assert part._num_faces_per_mesh == [textures._num_faces_per_mesh[i] for i in picked]
    for name in textures._fields:
        if getattr(textures, name) is not None:
            for a, i in zip(part._list(name), picked, strict=True):
                assert torch.equal(a, textures._list(name)[i])


@every_kind
def test_extend_shares_and_samples_alike(make):
    meshes, seen = meshes_with(make()), fragments(sum(N_FACES), (3, 4, 5, 2))
    twice = meshes.extend(2)
    first = torch.tensor([0, *N_FACES]).cumsum(0)
    face = seen.pix_to_face
    owner = torch.bucketize(face, first, right=True) - 1  # face f of mesh i becomes f + (faces before mesh i)
    moved = torch.where(face >= 0, face + first[owner.clamp(min=0)], -1)
    texels = twice.sample_textures(SimpleNamespace(pix_to_face=moved, bary_coords=seen.bary_coords))
    assert torch.equal(texels, meshes.sample_textures(seen))
    if not isinstance(meshes.textures, TexturesVertex):
        items = twice.textures._list(next(iter(twice.textures._fields)))
        assert items[0] is items[1]
        assert items[0] is not items[2]


@every_kind
def test_clone_detach_to(make):
    textures = make()
    for t in tensors_of(textures):
        t.requires_grad_(t.is_floating_point())
    clone, cut, moved = textures.clone(), textures.detach(), textures.to("cpu")
    for a, b, c, d in zip(*map(tensors_of, (textures, clone, cut, moved)), strict=True):
        assert torch.equal(a, b)
        assert a.data_ptr() != b.data_ptr()
        assert b.requires_grad == a.requires_grad
        assert not c.requires_grad
        assert d is a
    extended = textures.extend(3).clone()
    items = extended._list(next(iter(extended._fields)))
    assert items[0] is items[2]


@every_kind
def test_join_batch(make):
    a, b = make(), make()[[2, 1]]
    joined = a.join_batch([b])
    assert len(joined) == 5
    assert joined._num_faces_per_mesh == a._num_faces_per_mesh + b._num_faces_per_mesh
    for name in a._fields:
        if getattr(a, name) is not None:
            for x, y in zip(joined._list(name), a._list(name) + b._list(name), strict=True):
                assert x is y


@every_kind
def test_join_scene_keeps_the_colours(make):
    meshes, seen = meshes_with(make()), fragments(sum(N_FACES))
    scene = meshes.textures.join_scene()
    assert len(scene) == 1
    assert scene._num_faces_per_mesh in ([sum(N_FACES)], [0])
    texels = scene.sample_textures(seen, faces_packed=meshes.faces_packed())
    torch.testing.assert_close(texels, meshes.sample_textures(seen))


@pytest.mark.parametrize("align_corners", [True, False])
def test_join_scene_up_to_the_border_of_each_map(align_corners):
    textures = uv_textures(align_corners=align_corners)
    for uvs in textures._verts_uvs:
        uvs.round_()
    scene = textures.join_scene()
    torch.testing.assert_close(scene.faces_verts_textures_packed(), textures.faces_verts_textures_packed())
    textures._maps[0].requires_grad_()
    textures.join_scene().maps_padded().sum().backward()
    assert textures._maps[0].grad[1:-1, 1:-1].eq(1).all()  # the frame counts the outermost texels again
    assert textures._maps[0].grad[0, 0].eq(4).all()


@every_kind
def test_submeshes(make):
    meshes = meshes_with(make())
    parts = [[torch.tensor([3, 1]), torch.tensor([0])], [], [torch.tensor([2])]]
    whole = meshes.textures.faces_verts_textures_packed(faces_packed=meshes.faces_packed())
    small = meshes.submeshes(parts)
    assert len(small.textures) == 3
    colors = small.textures.faces_verts_textures_packed(faces_packed=small.faces_packed())
    torch.testing.assert_close(colors, whole[[3, 1, 0, sum(N_FACES[:2]) + 2]])


def test_shapes():
    vertex, atlas, uv = vertex_textures(), atlas_textures(), uv_textures()
    assert vertex.verts_features_padded().shape == (3, 6, 4)
    assert vertex.check_shapes(3, 6, 100)
    assert not vertex.check_shapes(3, 5, 100)
    assert atlas.atlas_padded().shape == (3, 5, 3, 3, 4)
    assert atlas.atlas_packed().shape == (11, 3, 3, 4)
    assert atlas.check_shapes(3, 100, 5)
    assert not atlas.check_shapes(2, 100, 5)
    assert uv.check_shapes(3, 100, 5)
    assert not uv.check_shapes(3, 100, 4)
    assert uv.maps_padded().shape == (3, 5, 7, 4)  # resized to the largest
    assert uv.faces_uvs_padded().shape == (3, 5, 3)
    assert (uv.faces_uvs_padded()[1, 2:] == -1).all()
    assert uv.verts_uvs_padded().shape == (3, 8, 2)
    assert multi_uv_textures().maps_padded().shape == (3, 3, 4, 5, 4)
    assert multi_uv_textures().maps_ids_padded().shape == (3, 5)


def test_a_tensor_of_maps_stays_the_same_tensor():
    maps = torch.rand(2, 4, 4, 3, requires_grad=True)
    textures = TexturesUV(maps, torch.zeros(2, 1, 3, dtype=torch.long), torch.rand(2, 3, 2))
    assert textures.maps_padded() is maps
    one = textures[0].extend(5)
    assert one.maps_padded().shape == (5, 4, 4, 3)
    assert one.maps_padded().stride(0) == 0  # five views, one copy


@pytest.mark.parametrize("align_corners", [True, False])
def test_centers_for_image(align_corners):
    """Sampling a map of pixel positions at the uvs gives the centres."""
    uvs = random(9, 2) * 0.6 + 0.2
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    positions = torch.stack((columns, rows), -1).double()
    faces = torch.arange(9).view(3, 3)
    textures = TexturesUV([positions], [faces], [uvs], align_corners=align_corners)
    sampled = textures.faces_verts_textures_packed().view(9, 2)
    torch.testing.assert_close(textures.centers_for_image(0), sampled)


def test_empty_batches():
    for textures in (TexturesVertex([]), TexturesAtlas([]), TexturesUV([], [], [])):
        assert textures.isempty()
        assert len(textures) == 0
        nothing = SimpleNamespace(pix_to_face=torch.full((0, 2, 2, 1), -1), bary_coords=torch.zeros(0, 2, 2, 1, 3))
        assert textures.sample_textures(nothing, faces_packed=torch.zeros(0, 3, dtype=torch.long)).numel() == 0
        assert len(textures.clone().extend(2).join_batch([])) == 0
    assert not vertex_textures().isempty()
    faceless = TexturesUV([torch.rand(2, 2, 3)], [torch.zeros(0, 3, dtype=torch.long)], [torch.zeros(0, 2)])
    assert faceless.faces_verts_textures_packed().shape == (0, 3, 3)
    assert len(TexturesAtlas([torch.zeros(0, 2, 2, 3)])) == 1
    assert len(TexturesAtlas([]).join_scene()) == 0


def test_an_empty_batch_renders():
    for textures in (TexturesVertex([]), TexturesAtlas([]), TexturesUV([], [], [])):
        cameras = r.FoVPerspectiveCameras()
        rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(5))
        image = r.MeshRenderer(rasterizer, r.SoftPhongShader(cameras=cameras))(Meshes([], [], textures))
        assert image.shape == (0, 5, 5, 4)


def test_a_face_without_uv_reads_within_the_tables():
    """Its colour means nothing; here it is that of uv (0, 0)."""
    image = torch.arange(12.0).view(2, 2, 3)
    textures = TexturesUV([image], [torch.full((1, 3), -1)], [torch.zeros(0, 2)])
    verts = torch.tensor([[-9.0, -9.0, 3.0], [9.0, -9.0, 3.0], [0.0, 9.0, 3.0]])
    cameras = r.FoVPerspectiveCameras()
    rasterizer = r.MeshRasterizer(cameras, r.RasterizationSettings(3))
    shader = r.HardPhongShader(cameras=cameras, lights=r.AmbientLights())
    pixels = r.MeshRenderer(rasterizer, shader)(Meshes([verts], [torch.tensor([[0, 1, 2]])], textures))
    assert torch.equal(pixels[0, 1, 1, :3], image[1, 0])


def test_uv_indices_are_checked_once_a_tensor(monkeypatch):
    calls, aminmax = [], torch.aminmax
    monkeypatch.setattr(torch, "aminmax", lambda t: calls.append(t) or aminmax(t))
    image, uvs, faces = random(2, 2, 3), random(4, 2), torch.tensor([[0, 1, 3], [-1, -1, -1]])
    textures = TexturesUV([image] * 3, [faces] * 3, [uvs] * 3)
    assert len(calls) == 1
    textures.extend(2)
    assert len(calls) == 1
    TexturesUV(image[None].expand(3, -1, -1, -1), faces.expand(3, 2, 3), uvs.expand(3, 4, 2))
    assert len(calls) == 2


@every_kind
def test_lists_have_the_sizes_of_their_meshes(make):
    """The largest mesh fits, the others do not."""
    verts, faces = [random(v, 3) for v in N_VERTS], faces_list()
    verts[1], faces[1] = verts[1][:3], faces[1][:1].clamp(max=2)
    with pytest.raises(ValueError, match="textures: expected textures for 3 meshes of at most 6 verts and 5 faces"):
        Meshes(verts, faces, make())
    assert not make().check_sizes((6, 3, 5), (5, 1, 4))
    assert make().check_sizes(N_VERTS, N_FACES)


def test_textures_factory():
    uv = (torch.rand(1, 4, 4, 3), torch.zeros(1, 2, 3, dtype=torch.long), torch.rand(1, 5, 2))
    assert isinstance(Textures(*uv), TexturesUV)
    assert isinstance(Textures(verts_rgb=torch.rand(1, 5, 3)), TexturesVertex)
    with pytest.raises(ValueError, match="Textures: expected maps, faces_uvs and verts_uvs, or verts_rgb, got neither"):
        Textures(maps=uv[0], faces_uvs=uv[1])


# --- the joining of maps ---


@pytest.mark.parametrize("seed", range(5))
def test_rectangles_do_not_overlap(seed):
    sizes = [tuple(s) for s in (integers(20, 12, 2, seed=seed) + 1).tolist()]
    places, (height, width) = pack_rectangles(sizes)
    canvas = torch.zeros(height, width)
    for (row, column), (h, w) in zip(places, sizes):
        canvas[row : row + h, column : column + w] += 1
    assert canvas.max() == 1
    assert canvas.sum() == sum(h * w for h, w in sizes)
    assert height * width < 2 * canvas.sum() + 20 * 20


def test_one_map_is_neither_copied_nor_moved():
    image = torch.rand(3, 4, 2)
    packed = pack_maps([image])
    assert isinstance(packed, PackedMaps)
    assert packed.texels.data_ptr() == image.data_ptr()
    joined, corners = join_maps([image])
    assert joined.shape == (5, 6, 2)
    assert corners == [(1, 1)]


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TexturesVertex(torch.zeros(3, 2)), r"verts_features: expected shape \(N, V, D\) or a list"),
        (lambda: TexturesVertex([torch.zeros(3)]), r"verts_features\[0\]: expected shape \(V, D\), got \(3,\)"),
        (lambda: TexturesVertex([[1.0]]), r"verts_features\[0\]: expected a tensor, got list"),
        (lambda: TexturesVertex("red"), "verts_features: expected a tensor or a list of tensors, got str"),
        (lambda: TexturesAtlas(torch.zeros(1, 2, 3, 4, 3)), r"atlas: expected shapes \(F, R, R, D\) of one R and D"),
        (
            lambda: uv_textures(padding_mode="wrap"),
            "padding_mode: expected 'zeros' or 'border' or 'reflection' or 'repeat', got",
        ),
        (
            lambda: uv_textures(sampling_mode="cubic"),
            "sampling_mode: expected 'bilinear' or 'nearest' or 'trilinear', got",
        ),
        (
            lambda: TexturesUV(torch.rand(2, 4, 4, 3), torch.zeros(1, 2, 3).long(), torch.rand(1, 4, 2)),
            "maps: expected 1 meshes, as in faces_uvs, got 2",
        ),
        (
            lambda: TexturesUV(torch.rand(1, 0, 4, 3), torch.zeros(1, 2, 3).long(), torch.rand(1, 4, 2)),
            "maps: expected at least one texel a map",
        ),
        (
            lambda: TexturesUV(
                torch.rand(1, 2, 4, 4, 3),
                torch.zeros(1, 2, 3).long(),
                torch.rand(1, 4, 2),
                maps_ids=torch.tensor([[0, 2]]),
            ),
            "maps_ids: expected indices below 2, the number of maps, got 2",
        ),
        (lambda: uv_of([[0, 1, 4]], 4), "faces_uvs: expected indices below 4, the number of verts_uvs, or -1, got 4"),
        (lambda: uv_of([[0, 1, -2]], 4), "faces_uvs: expected indices below 4, the number of verts_uvs, or -1, got -2"),
        (lambda: uv_of([[0, 0, 0]], 0), "faces_uvs: expected indices below 0, the number of verts_uvs, or -1, got 0"),
        (
            lambda: TexturesUV(torch.rand(1, 4, 4, 3), torch.tensor([[[0, 1, 5]]]), torch.rand(1, 5, 2)),
            "faces_uvs: expected indices below 5",
        ),
        (
            lambda: TexturesUV(torch.rand(1, 4, 4, 3).byte(), torch.zeros(1, 2, 3).long(), torch.rand(1, 4, 2)),
            "maps: expected float32 or float64, got torch.uint8",
        ),
        (
            lambda: TexturesUV(torch.rand(1, 4, 4, 3), torch.zeros(1, 2, 3) + 0.5, torch.zeros(1, 4, 2)),
            "faces_uvs: expected whole numbers",
        ),
        (
            lambda: TexturesVertex([torch.zeros(4, 3) > 0]),
            r"verts_features\[0\]: expected real numbers, got torch.bool",
        ),
        (lambda: TexturesAtlas(torch.zeros(1, 2, 0, 0, 3)), "atlas: expected at least one texel a face"),
        (lambda: TexturesAtlas([torch.zeros(2, 0, 0, 3)]), "atlas: expected at least one texel a face"),
        (lambda: multi_uv_textures().centers_for_image(0), "index: expected textures with one map a mesh"),
        (lambda: vertex_textures().extend(0), "N: expected an integer above 0, got 0"),
        (lambda: vertex_textures().join_batch([atlas_textures()]), "textures: expected all of type TexturesVertex"),
        (lambda: uv_textures().join_batch([atlas_textures()]), "textures: expected all of type TexturesUV"),
        (
            lambda: uv_textures().join_batch([uv_textures(padding_mode="zeros")]),
            "textures.padding_mode: expected 'border' for all, got 'zeros'",
        ),
        (lambda: uv_textures().join_batch([multi_uv_textures()]), "textures.maps_ids: expected for all or for none"),
        (lambda: vertex_textures().sample_textures(fragments(2)), "faces_packed: expected the meshes' packed faces"),
        (lambda: atlas_textures().sample_textures(fragments(50)), "fragments.pix_to_face: expected indices below 11"),
        (lambda: atlas_textures().submeshes([[]], [[]]), "faces_ids_list: expected 3 lists, one a mesh, got 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_index_out_of_range():
    with pytest.raises(IndexError):
        vertex_textures()[3]
    with pytest.raises(IndexError, match="index: expected an integer"):
        vertex_textures()[torch.tensor([1.0])]
