"""Batched tensor properties, and coordinates for grid_sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tirender.renderer.utils import (
    TensorProperties,
    convert_to_tensors_and_broadcast,
    format_tensor,
    ndc_grid_sample,
    ndc_to_grid_sample_coords,
    parse_image_size,
)


class Lamp(TensorProperties):
    def __init__(self, location=((0.0, 1.0, 0.0),), power=1.0, name="lamp", on=True, shade=None, device="cpu"):
        super().__init__(device=device, location=location, power=power, name=name, on=on, shade=shade)

    def clone(self):
        return super().clone(Lamp(device=self.device))


def test_values_broadcast_to_one_batch():
    lamp = Lamp(location=torch.rand(3, 3), power=2)
    assert len(lamp) == 3
    assert not lamp.isempty()
    assert torch.equal(lamp.power, torch.full((3,), 2.0))
    assert (lamp.name, lamp.on, lamp.shade) == ("lamp", True, None)
    assert Lamp(power=np.array([1.0, 2.0])).location.shape == (2, 3)
    assert Lamp(power=np.float32(3)).power.dtype == torch.float32
    assert len(Lamp(location=torch.rand(0, 3))) == 0
    assert Lamp(location=torch.rand(0, 3)).isempty()


def test_numbers_take_the_dtype_of_the_tensors():
    lamp = Lamp(location=torch.rand(1, 3, dtype=torch.float64), power=0.1)
    assert lamp.power.dtype == torch.float64
    assert lamp.power.item() == 0.1


def test_gradients_pass_through_broadcast_and_clone():
    location = nn.Parameter(torch.rand(1, 3))
    lamp = Lamp(location=location, power=[1.0, 2.0]).clone()
    (lamp.location * lamp.power[:, None]).sum().backward()
    assert torch.equal(location.grad, torch.full((1, 3), 3.0))


def test_a_parameter_can_be_optimized_through_an_object_built_once():
    location = nn.Parameter(torch.zeros(1, 3))
    lamp = Lamp(location=location, power=[1.0, 2.0])
    optimizer = torch.optim.SGD([location], lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        (lamp.location - 5).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(location.data, torch.full((1, 3), 5.0), atol=1e-3, rtol=0)


def test_attributes_stay_assignable():
    lamp = Lamp()
    lamp.location = torch.tensor([[0.0, 0.0, -3.0]])
    assert torch.equal(lamp.clone().location, torch.tensor([[0.0, 0.0, -3.0]]))
    lamp.location = nn.Parameter(torch.zeros(1, 3))
    assert [name for name, _ in lamp.named_parameters()] == ["location"]
    assert torch.equal(lamp.to("cpu").clone().location, torch.zeros(1, 3))


def test_clone_is_independent():
    lamp = Lamp(power=[1.0, 2.0])
    clone = lamp.clone()
    clone.power[0] = 7
    clone.name = "other"
    assert torch.equal(lamp.power, torch.tensor([1.0, 2.0]))
    assert lamp.name == "lamp"
    assert len(clone) == 2


def test_index_reads_and_writes_single_elements():
    lamp = Lamp(power=[1.0, 2.0, 3.0])  # the location is one, expanded to three
    assert lamp[1].power == 2
    assert torch.equal(lamp[1:].power, torch.tensor([2.0, 3.0]))
    lamp[0].location = (5.0, 6.0, 7.0)
    lamp[1:].power = 9.0
    assert torch.equal(lamp.location, torch.tensor([[5.0, 6, 7], [0, 1, 0], [0, 1, 0]]))
    assert torch.equal(lamp.power, torch.tensor([1.0, 9.0, 9.0]))
    with pytest.raises(AttributeError, match="name: expected a tensor attribute, got str"):
        lamp[0].name = "x"
    with pytest.raises(ValueError, match=r"location: expected shape \(\.\.\., 3\), got \(1, 2\)"):
        lamp[0].location = torch.zeros(1, 2)
    with pytest.raises(TypeError, match="index: expected int or slice"):
        lamp[[0]]


def test_gather_props_repeats_elements():
    lamp = Lamp(location=torch.arange(6.0).reshape(2, 3), power=[1.0, 2.0])
    index = torch.tensor([1, 1, 0])
    gathered = lamp.clone().gather_props(index)
    assert torch.equal(gathered.power, torch.tensor([2.0, 2.0, 1.0]))
    assert torch.equal(gathered.location, lamp.location[index])
    single = Lamp().gather_props(index)  # one element serves all
    assert single.location.shape == (1, 3)
    with pytest.raises(ValueError, match="batch_idx: expected at most 1 dimensions, as power has"):
        lamp.gather_props(index[:, None])
    with pytest.raises(ValueError, match="batch_idx: expected int64"):
        lamp.gather_props(index.float())


def test_to_moves_in_place_and_returns_itself():
    lamp = Lamp()
    assert lamp.to("meta") is lamp
    assert lamp.location.device.type == lamp.device.type == "meta"
    assert Lamp().cpu().device == torch.device("cpu")


def test_format_tensor():
    assert torch.equal(format_tensor(3), torch.tensor([3.0]))
    assert format_tensor(torch.tensor(3)).dtype == torch.int64
    assert format_tensor([[1, 2]], dtype=torch.float64).dtype == torch.float64
    with pytest.raises(TypeError, match="input: expected number, list, tuple, array or tensor, got str"):
        format_tensor("x")


def test_convert_to_tensors_and_broadcast():
    a, b, c = convert_to_tensors_and_broadcast(1.5, torch.rand(4, 2, dtype=torch.float64), ((1, 2, 3),))
    assert (a.shape, b.shape, c.shape) == ((4,), (4, 2), (4, 3))
    assert a.dtype == b.dtype == c.dtype == torch.float64
    with pytest.raises(ValueError, match="batch: expected one size, or 1, got argument 0 of 2, argument 1 of 3"):
        convert_to_tensors_and_broadcast(torch.rand(2), torch.rand(3))


def test_bad_properties():
    with pytest.raises(ValueError, match="batch: expected one size, or 1, got location of 2, power of 3"):
        Lamp(location=torch.rand(2, 3), power=[1, 2, 3])
    with pytest.raises(TypeError, match="power: expected number, list, tuple, array or tensor, got object"):
        Lamp(power=object())


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (6, 2)])
def test_ndc_grid_sample_reads_pixels_at_their_centres(height, width):
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    short = min(height, width)
    # +X is left and +Y up in NDC, and the short side spans [-1, 1]
    x = (width - 1 - 2 * torch.arange(width, dtype=torch.float64)) / short
    y = (height - 1 - 2 * torch.arange(height, dtype=torch.float64)) / short
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).expand(2, height, width, 2)
    torch.testing.assert_close(ndc_grid_sample(images, grid), images)
    assert ndc_grid_sample(images, grid[:, 0]).shape == (2, 3, width)
    assert ndc_grid_sample(images, grid[:, 0, 0]).shape == (2, 3)


def test_ndc_grid_sample_with_aligned_corners_and_gradient():
    images = torch.randn(1, 1, 3, 3, dtype=torch.float64)
    corner = torch.tensor([[[1.0, 1.0]]], dtype=torch.float64)
    assert ndc_grid_sample(images, corner, align_corners=True).item() == images[0, 0, 0, 0].item()
    inside = torch.tensor([[[0.3, -0.2]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ndc_grid_sample(images, x), inside)


def test_parse_image_size():
    assert parse_image_size(5) == (5, 5)
    assert parse_image_size([3, 4]) == (3, 4)
    assert parse_image_size(tuple(np.array([3, 4]))) == (3, 4)


@pytest.mark.parametrize("size", [0, -3, (1, 2, 3), (0, 4), (2.5, 4), ()])
def test_bad_image_size(size):
    with pytest.raises(ValueError, match="image_size: expected a positive int or"):
        parse_image_size(size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ndc_grid_sample(torch.zeros(2, 3, 4), torch.zeros(2, 1, 2)), r"input: expected shape \(N, C, H, W\)"),
        (lambda: ndc_grid_sample(torch.zeros(2, 3, 4, 4), torch.zeros(3, 1, 2)), "grid_ndc: expected a batch of 2"),
        (lambda: ndc_grid_sample(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 3)), "grid_ndc: expected shape"),
        (lambda: ndc_to_grid_sample_coords(torch.zeros(1, 3), (4, 4)), "xy_ndc: expected shape"),
        (lambda: ndc_to_grid_sample_coords(torch.zeros(1, 2), (4, 0)), "image_size: expected a positive int"),
    ],
)
def test_bad_grid(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "size",
    [
        (48, 64),
        [48, 64],
        torch.tensor([48, 64]),
        torch.tensor([[48.0, 64.0]]),
        torch.tensor([[48, 64], [48, 64]]),
        (torch.tensor(48), np.int64(64)),
        np.array([48, 64]),
        (48.0, 64.0),
    ],
)
def test_image_sizes_of_any_kind(size):
    assert parse_image_size(size) == (48, 64)
    assert parse_image_size(torch.tensor(48)) == (48, 48)


@pytest.mark.parametrize(
    "size",
    [0, -1, True, "48", None, (48,), (48, 64, 3), (48.5, 64), torch.tensor([[48, 64], [64, 48]]), torch.zeros(2)],
)
def test_image_sizes_that_mean_nothing(size):
    with pytest.raises(ValueError, match=r"image_size: expected a positive int or \(height, width\) of two, got"):
        parse_image_size(size)
