"""Exposures of photos: the identity at first, matched to the truth where quality is measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_fit_splats import capture, config

from tirender.captures import Photos
from tirender.fit import fit_splats
from tirender.fit.exposure import Exposure, matched
from tirender.fit.held_out import photo_quality

GAINS = torch.tensor([0.6, 1.0, 0.75])


@pytest.mark.parametrize("kind", ["gain", "affine"])
def test_nothing_changes_at_first_nor_on_the_mean(kind: str):
    exposure = Exposure(3, kind)
    colors, opacity = torch.rand(3, 5, 4, 3), torch.rand(3, 5, 4, 1)
    assert torch.equal(exposure(colors, opacity, [0, 1, 2]), colors)
    with torch.no_grad():
        exposure.changes.normal_(0, 0.1)
    everywhere = colors[:1].expand_as(colors), opacity[:1].expand_as(opacity)
    torch.testing.assert_close(exposure(*everywhere, [0, 1, 2]).mean(0), colors[0])
    assert not torch.equal(exposure(colors, opacity, [1, 1, 2])[0], colors[0])
    black = exposure(torch.zeros(3, 3), torch.zeros(3, 1), [0, 1, 2])
    assert torch.equal(black, torch.zeros(3, 3))  # where there is nothing, there is nothing to expose


def test_an_affine_map_of_colours():
    exposure = Exposure(2, "affine")
    turn = torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.1, 0.3], [0.05, 0.0, 0.0]])
    with torch.no_grad():
        exposure.changes[0] = torch.cat([turn.flatten(), torch.tensor([0.1, 0.2, 0.3])])
        exposure.changes[1] = -exposure.changes[0]
    color = torch.tensor([[0.5, 0.25, 1.0]])
    expected = color[0] + turn @ color[0] + 0.5 * torch.tensor([0.1, 0.2, 0.3])
    torch.testing.assert_close(exposure(color, torch.tensor([[0.5]]), [0])[0], expected)


def test_matching_finds_what_was_done():
    image = torch.rand(12, 16, 3)
    torch.testing.assert_close(matched(image, 0.5 * image + 0.2, "gain"), 0.5 * image + 0.2)
    turned = image @ torch.rand(3, 3) + torch.tensor([0.1, 0.0, 0.3])
    torch.testing.assert_close(matched(image, turned, "affine"), turned, rtol=1e-4, atol=1e-5)
    assert matched(image, turned, "none") is image
    grey = torch.full((12, 16, 3), 0.5)
    torch.testing.assert_close(matched(grey, grey + 0.25, "gain"), grey + 0.25)
    torch.testing.assert_close(matched(grey, grey + 0.25, "affine"), grey + 0.25)


def test_photos_of_different_brightness_are_told_from_the_scene():
    photos = capture()
    images = torch.stack([photos.image(i) for i in range(len(photos))])
    gains = GAINS[torch.arange(len(photos)) % 3]
    photos = replace(photos, photos=Photos.of(images * gains[:, None, None, None]))
    fitted, held_out = photos.split()
    settings = config(steps=150, growth="none", lr_exposure=2e-2)
    plain = photo_quality(fit_splats(fitted, config=settings).module, held_out)
    run = fit_splats(fitted, config=replace(settings, exposure="gain"))
    quality = photo_quality(run.module, held_out)
    assert set(quality) == {"psnr", "psnr_unmatched", "ssim"}
    assert quality["psnr"] > plain["psnr"] + 1
    assert quality["psnr"] > quality["psnr_unmatched"]
    changes = (run.module.exposure.changes - run.module.exposure.changes.mean(0))[:, 0].detach()
    of_gain = [changes[gains[1:8] == gain].mean() for gain in GAINS]  # the first and last photo are held out
    assert of_gain[0] < of_gain[2] < of_gain[1]
