from __future__ import annotations

import pytest
import torch

from tirender.ops.interp_face_attrs import interpolate_face_attributes


def scene(shape=(2, 5, 4, 3), n_faces=7, channels=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(len(shape) + n_faces)
    faces = torch.randint(-1, n_faces, shape, generator=generator)
    bary = torch.rand(*shape, 3, generator=generator, dtype=dtype)
    attributes = torch.rand(n_faces, 3, channels, generator=generator, dtype=dtype)
    return faces, bary, attributes


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (11,), (0,), (1, 1, 1, 1), (2, 0, 3, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_a_loop(shape, dtype):
    faces, bary, attributes = scene(shape, dtype=dtype)
    out = interpolate_face_attributes(faces, bary, attributes)
    assert out.shape == (*shape, 4)
    assert out.dtype == dtype
    expected = torch.zeros_like(out).view(-1, 4)
    for i, f in enumerate(faces.flatten().tolist()):
        if f >= 0:
            expected[i] = bary.reshape(-1, 3)[i] @ attributes[f]
    torch.testing.assert_close(out.view(-1, 4), expected)


def test_gradients_and_non_contiguous_input():
    faces, bary, attributes = scene()
    bary = bary.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    attributes = attributes.flip(0).transpose(0, 2).contiguous().transpose(0, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda b, a: interpolate_face_attributes(faces, b, a), (bary, attributes))


def test_empty_slots_have_no_value_and_no_gradient():
    faces = torch.tensor([-1, 0])
    bary = torch.tensor([[torch.nan] * 3, [0.2, 0.3, 0.5]], requires_grad=True)
    attributes = torch.ones(1, 3, 2, requires_grad=True)
    out = interpolate_face_attributes(faces, bary, attributes)
    out.sum().backward()
    assert out[0].tolist() == [0.0, 0.0]
    assert bary.grad[0].tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(attributes.grad, torch.tensor([[[0.2] * 2, [0.3] * 2, [0.5] * 2]]))


def test_no_faces_at_all():
    out = interpolate_face_attributes(torch.full((1, 2, 2, 1), -1), torch.zeros(1, 2, 2, 1, 3), torch.zeros(0, 3, 2))
    assert out.shape == (1, 2, 2, 1, 2)
    assert not out.any()


def test_gradient_is_the_same_to_the_bit():
    faces, bary, attributes = scene((1, 64, 64, 8), 50, dtype=torch.float32)
    attributes.requires_grad_()
    runs = [
        torch.autograd.grad(interpolate_face_attributes(faces, bary, attributes).sum(), attributes)[0] for _ in range(3)
    ]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face_attributes": torch.zeros(7, 4, 2)}, r"face_attributes: expected shape \(F, 3, D\), got \(7, 4, 2\)"),
        ({"barycentric_coords": torch.zeros(3, 3)}, r"barycentric_coords: expected shape \(11, 3\), got \(3, 3\)"),
        ({"pix_to_face": torch.full((11,), 7)}, "pix_to_face: expected indices below 7, the number of faces, got 7"),
        ({"pix_to_face": torch.zeros(11)}, "pix_to_face: expected int32 or int64, got torch.float32"),
    ],
)
def test_bad_input(change, message):
    faces, bary, attributes = scene((11,))
    arguments = {"pix_to_face": faces, "barycentric_coords": bary, "face_attributes": attributes} | change
    with pytest.raises(ValueError, match=message):
        interpolate_face_attributes(**arguments)
