"""Volumes: where they lie, expanded batches, copies, indexing, gradients, bad input."""

import pytest
import torch

from tirender.structures import VolumeLocator, Volumes

SIZE, TRANSLATION = (0.2, 0.18, 0.15), (0.1, -0.05, 0.2)


def make(n=2, shape=(4, 5, 6), **kwargs):
    return Volumes(torch.rand(n, 1, *shape), torch.rand(n, 3, *shape), **kwargs)


def ragged(**kwargs):
    shapes = [(2, 5, 3), (4, 1, 6)]
    return Volumes([torch.rand(1, *s) for s in shapes], [torch.rand(3, *s) for s in shapes], **kwargs)


def expanded(n=5, requires_grad=False):
    base = torch.rand(4, 3, 4, 5, requires_grad=requires_grad)
    return base, Volumes(base[None, :1].expand(n, 1, 3, 4, 5), base[None, 1:].expand(n, 3, 3, 4, 5), voxel_size=0.5)


def memory(values):
    return values.untyped_storage().nbytes() // values.element_size()


# --- where volumes lie ---


@pytest.mark.parametrize("align_corners", [True, False])
def test_voxel_centres_in_the_world(align_corners):
    volumes = make(voxel_size=SIZE, volume_translation=TRANSLATION, align_corners=align_corners)
    grid = volumes.get_coord_grid()
    assert grid.shape == (2, 4, 5, 6, 3)
    # neighbours along x, y, z lie voxel_size apart (in PyTorch3D a share of it), the centre at minus the translation
    shares = [1.0] * 3 if align_corners else [5 / 6, 4 / 5, 3 / 4]
    steps = [grid[:, :, :, 1:] - grid[:, :, :, :-1], grid[:, :, 1:] - grid[:, :, :-1], grid[:, 1:] - grid[:, :-1]]
    for axis, step in enumerate(steps):
        expected = torch.zeros(3)
        expected[axis] = SIZE[axis] * shares[axis]
        torch.testing.assert_close(step, expected.expand_as(step), atol=1e-6, rtol=0)
    centre = grid.mean((1, 2, 3))
    torch.testing.assert_close(centre, -torch.tensor([TRANSLATION] * 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("align_corners", [True, False])
def test_local_coordinates(align_corners):
    volumes = make(align_corners=align_corners)
    local = volumes.get_coord_grid(world_coordinates=False)
    ends = torch.tensor([1.0, 1.0, 1.0]) if align_corners else 1 - 1 / torch.tensor([6.0, 5.0, 4.0])
    torch.testing.assert_close(local[0, -1, -1, -1], ends)
    torch.testing.assert_close(local[0, 0, 0, 0], -ends)
    # as grid_sample has them: sampling at the voxel centres gives the voxels
    sampled = torch.nn.functional.grid_sample(volumes.features(), local, align_corners=align_corners)
    torch.testing.assert_close(sampled, volumes.features())


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    "where",
    [
        {"voxel_size": 0.3},
        {"voxel_size": SIZE, "volume_translation": TRANSLATION},
        {"voxel_size": torch.tensor([0.3]), "volume_translation": torch.tensor(TRANSLATION)},
        {"voxel_size": torch.tensor([[0.3], [0.5]])},
        {"voxel_size": [[0.4, 0.2, 0.6], [0.5, 0.9, 0.1]], "volume_translation": [[0.3, 0.9, 0.8], [0.7, 0.6, 0.4]]},
    ],
    ids=str,
)
def test_world_and_local_are_inverse(where, align_corners):
    for volumes in (make(align_corners=align_corners, **where), ragged(align_corners=align_corners, **where)):
        points = torch.randn(2, 7, 4, 3)
        world = volumes.local_to_world_coords(points)
        torch.testing.assert_close(volumes.world_to_local_coords(world), points, atol=1e-5, rtol=1e-5)
        flat = points.flatten(1, 2)
        matrix = volumes.get_local_to_world_coords_transform()
        torch.testing.assert_close(matrix.transform_points(flat), world.flatten(1, 2))
        inverse = volumes.get_world_to_local_coords_transform()
        torch.testing.assert_close(inverse.transform_points(flat), matrix.inverse().transform_points(flat))
        local = volumes.get_coord_grid(world_coordinates=False)
        torch.testing.assert_close(volumes.local_to_world_coords(local), volumes.get_coord_grid())


def test_new_values_as_lists():
    volumes = ragged(voxel_size=0.5)
    densities, features = [2 * d for d in volumes.densities_list()], [3 * f for f in volumes.features_list()]
    new = volumes.update_padded(densities, features)
    assert torch.equal(new.densities(), 2 * volumes.densities())
    assert torch.equal(new.features(), 3 * volumes.features())
    with pytest.raises(ValueError, match="new_densities: expected volumes of"):
        volumes.update_padded(densities[::-1])


def test_a_locator_knows_its_device():
    assert make().locator.device == torch.device("cpu")


def test_smaller_volumes_have_their_own_grid():
    volumes = ragged(voxel_size=2.0)
    assert volumes.get_grid_sizes().tolist() == [[2, 5, 3], [4, 1, 6]]
    assert volumes.densities().shape == (2, 1, 4, 5, 6)
    local = volumes.get_coord_grid(world_coordinates=False)
    torch.testing.assert_close(local[0, 1, 4, 2], torch.ones(3))
    torch.testing.assert_close(local[1, 3, 0, 5], torch.tensor([1.0, 0, 1]))
    for padded, parts in (
        (volumes.densities(), volumes.densities_list()),
        (volumes.features(), volumes.features_list()),
    ):
        assert [tuple(p.shape[1:]) for p in parts] == [(2, 5, 3), (4, 1, 6)]
        assert padded.sum() == sum(p.sum() for p in parts)


@pytest.mark.parametrize("align_corners", [True, False])
def test_one_voxel(align_corners):
    volume = Volumes(
        torch.rand(1, 1, 1, 1, 1), voxel_size=SIZE, volume_translation=TRANSLATION, align_corners=align_corners
    )
    assert volume.get_coord_grid(world_coordinates=False).flatten().tolist() == [0, 0, 0]
    torch.testing.assert_close(volume.get_coord_grid().flatten(), -torch.tensor(TRANSLATION))
    faces = volume.local_to_world_coords(torch.tensor([[[-1.0, -1, -1], [1, 1, 1]]]))[0]
    torch.testing.assert_close(faces[1] - faces[0], torch.tensor(SIZE))


def test_gradients_reach_the_placement():
    def world(size, translation, points):
        volumes = Volumes(points.new_zeros(2, 1, 3, 4, 5), voxel_size=size, volume_translation=translation)
        return volumes.local_to_world_coords(points), volumes.world_to_local_coords(points)

    size = (torch.rand(2, 3, dtype=torch.float64) + 0.5).requires_grad_()
    translation = torch.rand(3, dtype=torch.float64, requires_grad=True)
    points = torch.rand(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(world, (size, translation, points))


def test_float64_keeps_its_precision():
    volumes = Volumes(torch.rand(1, 1, 3, 3, 3, dtype=torch.float64), voxel_size=0.1, volume_translation=(0.1, 0, 0))
    assert volumes.get_coord_grid()[0, 0, 0, 2].tolist() == pytest.approx([0.0, -0.1, -0.1], abs=1e-15)


def test_locator_alone():
    for sizes in ((4, 5, 6), torch.tensor([4, 5, 6]), torch.tensor([[4, 5, 6]]), [torch.tensor([4, 5, 6])] * 2):
        locator = VolumeLocator(batch_size=2, grid_sizes=sizes, device="cpu", voxel_size=0.3)
        assert torch.equal(locator.get_coord_grid(), make(voxel_size=0.3).get_coord_grid())
        assert len(locator) == 2


# --- one volume expanded ---


def test_expanded_volume_is_never_copied():
    base, volumes = expanded()
    assert volumes.is_one_volume
    picked = [volumes[[0, 3, 3]], volumes[1], volumes[2:4], volumes[torch.tensor([True, False, True, True, False])]]
    others = [volumes.detach(), volumes.update_padded(volumes.densities(), volumes.features()), *picked]
    for other in others:
        assert other.is_one_volume
        assert other.densities().data_ptr() == base.data_ptr()
    clone = volumes.clone()
    moved = volumes.to("meta")
    for other in (clone, moved):
        assert other.is_one_volume
        assert other.features().shape == volumes.features().shape
        assert memory(other.features()) == 3 * 3 * 4 * 5
    assert clone.features().data_ptr() != volumes.features().data_ptr()
    assert memory(volumes.get_coord_grid()) == 3 * 4 * 5 * 3


def test_what_is_not_one_volume():
    base, volumes = expanded()
    assert make(1).is_one_volume
    assert not make(2).is_one_volume
    assert not Volumes(volumes.densities(), torch.rand(5, 3, 3, 4, 5)).is_one_volume
    assert not Volumes(volumes.densities(), voxel_size=torch.rand(5, 3) + 1).is_one_volume
    assert Volumes(volumes.densities(), voxel_size=torch.rand(5, 3) + 1)[3].is_one_volume


def test_expanded_gradients_add_up():
    base, volumes = expanded(requires_grad=True)
    (volumes[[0, 1]].densities().sum() + volumes.clone().features().sum()).backward()
    assert (base.grad[:1] == 2).all()
    assert (base.grad[1:] == 5).all()


# --- other volumes ---


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0]),
        (-1, [2]),
        (slice(1, 3), [1, 2]),
        ([2, 0], [2, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
        ([], []),
    ],
    ids=str,
)
def test_indexing(index, expected):
    volumes = make(3, voxel_size=torch.rand(3, 3) + 0.1)
    picked = volumes[index]
    assert torch.equal(picked.densities(), volumes.densities()[expected])
    assert torch.equal(picked.features(), volumes.features()[expected])
    assert torch.equal(picked.get_coord_grid(), volumes.get_coord_grid()[expected])
    assert torch.equal(picked.get_grid_sizes(), volumes.get_grid_sizes()[expected])


def test_indexing_keeps_the_padded_grid():
    volumes = ragged()
    assert volumes[0].get_coord_grid().shape == (1, 4, 5, 6, 3)
    assert torch.equal(volumes[0].get_coord_grid(), volumes.get_coord_grid()[:1])
    assert volumes[0].densities_list()[0].shape == (1, 2, 5, 3)


def test_clone_detach_to():
    densities = torch.rand(2, 1, 3, 3, 3, requires_grad=True)
    volumes = Volumes(densities)
    assert volumes.features() is volumes.features_list() is None
    clone = volumes.clone()
    assert clone.densities().data_ptr() != densities.data_ptr()
    assert clone.densities().requires_grad
    assert not volumes.detach().densities().requires_grad
    assert volumes.to("cpu") is volumes.cpu() is volumes
    assert volumes.to("cpu", copy=True).densities().data_ptr() != densities.data_ptr()
    assert volumes.to("meta").densities().device.type == "meta"


def test_update_padded():
    volumes = make(voxel_size=0.3)
    densities, features = torch.rand(2, 1, 4, 5, 6), torch.rand(2, 7, 4, 5, 6)
    updated = volumes.update_padded(densities, features)
    assert updated.densities() is densities
    assert updated.features() is features
    assert torch.equal(updated.get_coord_grid(), volumes.get_coord_grid())
    assert volumes.update_padded(densities).features() is None


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: Volumes(torch.rand(1, 2, 3, 4)), r"densities: expected shape \(N, C, D, H, W\), got \(1, 2, 3, 4\)"),
        (lambda: Volumes([]), "densities: expected a tensor or a list of at least one, got an empty list"),
        (lambda: Volumes(torch.ones(1, 1, 2, 2, 2).int()), "densities: expected float32 or float64, got torch.int32"),
        (
            lambda: Volumes([torch.rand(1, 2, 2, 2), torch.rand(2, 2, 2, 2)]),
            r"densities\[1\]: expected shape \(1, D, H, W\), got \(2, 2, 2, 2\)",
        ),
        (
            lambda: Volumes(torch.rand(2, 1, 4, 5, 6), torch.rand(2, 3, 4, 5, 5)),
            r"features: expected the grid sizes of densities, \[\[4, 5, 6\]\], got \[\[4, 5, 5\]\]",
        ),
        (
            lambda: Volumes(torch.rand(2, 1, 4, 5, 6), torch.rand(1, 3, 4, 5, 6)),
            r"features: expected shape \(2, C, 4, 5, 6\)",
        ),
        (
            lambda: Volumes(torch.rand(1, 1, 2, 2, 2), torch.rand(1, 1, 2, 2, 2).double()),
            "features: expected torch.float32",
        ),
        (lambda: make(voxel_size=0.0), "voxel_size: expected positive numbers"),
        (lambda: make(voxel_size=(1.0, -1.0, 1.0)), "voxel_size: expected positive numbers"),
        (lambda: make(voxel_size=float("nan")), "voxel_size: expected finite numbers, got nan"),
        (lambda: make(volume_translation=(0.0, float("inf"), 0.0)), "volume_translation: expected finite numbers"),
        (lambda: make(voxel_size=(1.0, 2.0)), r"voxel_size: expected a number, 3 numbers, or shape \(3,\), \(2, 1\)"),
        (
            lambda: make(volume_translation=torch.rand(3, 3)),
            "volume_translation: expected a number, 3 numbers, or shape",
        ),
        (lambda: Volumes(torch.rand(1, 1, 0, 2, 2)), r"grid_sizes: expected positive \(D, H, W\), got \[\[0, 2, 2\]\]"),
        (lambda: VolumeLocator(2, (3, 4), "cpu"), r"grid_sizes: expected \(D, H, W\), or shape \(1, 3\) or \(2, 3\)"),
        (lambda: make().update_padded(torch.rand(2, 1, 4, 5, 5)), r"new_densities: expected shape \(2, C, 4, 5, 6\)"),
        (lambda: ragged().world_to_local_coords(torch.rand(3, 5, 3)), r"points_3d_world: expected shape \(2, ..., 3\)"),
    ],
)
def test_bad_input(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()
