from __future__ import annotations

import pytest
import torch

from tirender.renderer.blending import BlendParams, hard_rgb_blend, sigmoid_alpha_blend, softmax_rgb_blend
from tirender.structures.fragments import Fragments, PackedFragments

BLENDS = [hard_rgb_blend, sigmoid_alpha_blend, softmax_rgb_blend]
every_blend = pytest.mark.parametrize("blend", BLENDS, ids=lambda f: f.__name__)
PARAMS = BlendParams(sigma=0.01, gamma=0.02, background_color=(0.2, 0.4, 0.6))


def scene(dtype=torch.float64, shape=(2, 3, 4, 5)):
    """Dense fragments sorted by depth with empty slots at the end, among them empty pixels; and their colours."""
    generator = torch.Generator().manual_seed(7)
    counts = torch.randint(0, shape[3] + 1, (*shape[:3], 1), generator=generator)
    filled = torch.arange(shape[3]) < counts
    zbuf = (torch.rand(shape, generator=generator, dtype=dtype) * 3 + 1).sort(-1).values
    dists = (torch.rand(shape, generator=generator, dtype=dtype) - 0.5) * 0.05
    colors = torch.rand(*shape, 3, generator=generator, dtype=dtype)
    face = torch.arange(filled.numel()).view(shape)
    dense = Fragments(
        face.where(filled, -1), zbuf.where(filled, -1), torch.rand(*shape, 3).double(), dists.where(filled, -1)
    )
    return dense, colors, filled


def pack(dense, filled):
    offsets = torch.cat((torch.zeros(1, dtype=torch.long), filled.sum(-1).flatten().cumsum(0))).int()
    n, height, width, _ = filled.shape
    return PackedFragments(
        n,
        (height, width),
        lambda: (offsets, dense.pix_to_face[filled]),
        lambda: (dense.zbuf[filled], dense.bary_coords[filled], dense.dists[filled]),
    )


def loop_softmax(dense, colors, params, znear=1.0, zfar=100.0):
    """The formula, a pixel at a time."""
    n, height, width, k = dense.pix_to_face.shape
    out = torch.zeros(n, height, width, 4, dtype=colors.dtype)
    for i, y, x in torch.cartesian_prod(*(torch.arange(s) for s in (n, height, width))).tolist():
        near, far = (v[i] if torch.is_tensor(v) else v for v in (znear, zfar))
        here = [s for s in range(k) if dense.pix_to_face[i, y, x, s] >= 0]
        cover = [torch.sigmoid(-dense.dists[i, y, x, s] / params.sigma) for s in here]
        nearness = [(far - dense.zbuf[i, y, x, s]) / (far - near) for s in here]
        top = max([1e-10, *nearness])
        weights = [c * torch.exp((z - top) / params.gamma) for c, z in zip(cover, nearness)]
        delta = max(torch.exp(torch.as_tensor((1e-10 - top) / params.gamma)), torch.tensor(1e-10))
        color = delta * torch.tensor(params.background_color, dtype=colors.dtype)
        color = color + sum(w * colors[i, y, x, s] for w, s in zip(weights, here))
        out[i, y, x, :3] = color / (sum(weights) + delta)
        miss = 1.0
        for c in cover:
            miss = miss * (1 - c)
        out[i, y, x, 3] = 1 - miss
    return out


def test_softmax_matches_a_loop():
    dense, colors, _ = scene()
    torch.testing.assert_close(softmax_rgb_blend(colors, dense, PARAMS), loop_softmax(dense, colors, PARAMS))
    znear, zfar = torch.tensor([0.5, 1.0]), torch.tensor([5.0, 8.0])
    ours = softmax_rgb_blend(colors, dense, PARAMS, znear, zfar)
    torch.testing.assert_close(ours, loop_softmax(dense, colors, PARAMS, znear, zfar))


def test_hard_and_sigmoid_by_hand():
    dense, colors, filled = scene()
    hit = filled[..., 0]
    hard = hard_rgb_blend(colors, dense, PARAMS)
    assert torch.equal(hard[hit], torch.cat((colors[..., 0, :], torch.ones_like(colors[..., 0, :1])), -1)[hit])
    assert torch.equal(hard[~hit], torch.tensor([0.2, 0.4, 0.6, 0.0], dtype=torch.float64).expand(int((~hit).sum()), 4))
    alpha = sigmoid_alpha_blend(colors, dense, PARAMS)[..., 3]
    covered = torch.sigmoid(-dense.dists / PARAMS.sigma).where(filled, 0)
    torch.testing.assert_close(alpha, 1 - (1 - covered).prod(-1))


@every_blend
def test_packed_equals_dense(blend):
    dense, colors, filled = scene()
    dense_leaves = [colors.clone(), dense.zbuf.clone(), dense.dists.clone()]
    for t in dense_leaves:
        t.requires_grad_()
    dense = Fragments(dense.pix_to_face, dense_leaves[1], dense.bary_coords, dense_leaves[2])
    packed = pack(dense, filled)
    options = {"znear": torch.tensor([0.5, 1.0]), "zfar": 9.0} if blend is softmax_rgb_blend else {}
    a = blend(dense_leaves[0].where(filled[..., None], 1), dense, PARAMS, **options)
    b = blend(dense_leaves[0][filled], packed, PARAMS, **options)
    assert a.shape == b.shape == (2, 3, 4, 4)
    torch.testing.assert_close(a, b)
    up = torch.rand(a.shape, generator=torch.Generator().manual_seed(1), dtype=a.dtype)
    for x, y in zip(*(torch.autograd.grad(t, dense_leaves, up, allow_unused=True) for t in (a, b))):
        assert (x is None) == (y is None)
        if x is not None:
            torch.testing.assert_close(x, y)


@every_blend
@pytest.mark.parametrize("layout", ["dense", "packed"])
def test_gradcheck(blend, layout):
    dense, colors, filled = scene(shape=(1, 2, 3, 3))

    def run(colors, zbuf, dists):
        seen = Fragments(dense.pix_to_face, zbuf, dense.bary_coords, dists)
        return blend(colors, seen, PARAMS) if layout == "dense" else blend(colors[filled], pack(seen, filled), PARAMS)

    leaves = tuple(t.clone().requires_grad_() for t in (colors, dense.zbuf, dense.dists))
    assert torch.autograd.gradcheck(run, leaves)


@every_blend
@pytest.mark.parametrize("layout", ["dense", "packed"])
@pytest.mark.parametrize("depth", [0.0, 1.0, 100.0, 1e6])
@pytest.mark.parametrize("dist", [-10.0, 0.0, 10.0])
def test_extremes_stay_finite(blend, layout, depth, dist):
    """Ties, depths beyond zfar, certain and impossible coverage, at the default and at a tiny sigma and gamma."""
    for params in (BlendParams(), BlendParams(1e-8, 1e-8)):
        shape = (1, 1, 2, 3)
        zbuf, dists = (torch.full(shape, v, requires_grad=True) for v in (depth, dist))
        colors = torch.rand(*shape, 3, requires_grad=True)
        filled = torch.tensor([[[[True] * 3, [False] * 3]]])
        seen = Fragments(torch.zeros(shape, dtype=torch.long).where(filled, -1), zbuf, torch.zeros(*shape, 3), dists)
        image = blend(
            colors if layout == "dense" else colors[filled], seen if layout == "dense" else pack(seen, filled), params
        )
        assert image.isfinite().all()
        assert ((image >= 0) & (image <= 1 + 1e-6)).all()
        for grad in torch.autograd.grad(image.sum(), (colors, zbuf, dists), allow_unused=True):
            assert grad is None or grad.isfinite().all()


@every_blend
def test_no_pixels_and_no_fragments(blend):
    dense = Fragments(torch.full((2, 0, 4, 1), -1), *(torch.zeros(2, 0, 4, 1, *t) for t in ((), (3,), ())))
    assert blend(torch.zeros(2, 0, 4, 1, 3), dense, PARAMS).shape == (2, 0, 4, 4)
    none = PackedFragments(
        1,
        (2, 2),
        lambda: (torch.zeros(5, dtype=torch.int32), torch.zeros(0, dtype=torch.long)),
        lambda: (torch.zeros(0), torch.zeros(0, 3), torch.zeros(0)),
    )
    image = blend(torch.zeros(0, 3), none, PARAMS)
    assert image.shape == (1, 2, 2, 4)
    assert not image[..., 3].any()
    expected = [1.0, 1.0, 1.0] if blend is sigmoid_alpha_blend else [0.2, 0.4, 0.6]
    torch.testing.assert_close(image[0, 0, 0, :3], torch.tensor(expected))


def test_background_may_be_a_tensor_of_any_channels():
    dense, colors, filled = scene()
    wide = torch.cat((colors, colors), -1)
    image = softmax_rgb_blend(wide, dense, BlendParams(background_color=torch.arange(6.0)))
    assert image.shape == (2, 3, 4, 7)
    assert image[~filled[..., 0]][0].tolist() == [0, 1, 2, 3, 4, 5, 0]


def test_blend_params_is_a_named_tuple():
    assert BlendParams() == (1e-4, 1e-4, (1.0, 1.0, 1.0))
    assert BlendParams()._replace(sigma=1.0).sigma == 1.0


@pytest.mark.parametrize(
    ("blend", "change", "message"),
    [
        (hard_rgb_blend, {"colors": torch.zeros(2, 3, 4, 4, 3)}, r"colors: expected shape \(2, 3, 4, 5, C\), got"),
        (
            hard_rgb_blend,
            {"blend_params": BlendParams(background_color=(1.0, 0.5))},
            r"background_color: expected shape \(3",
        ),
        (softmax_rgb_blend, {"blend_params": BlendParams(sigma=0.0)}, "sigma: expected a number above 0, got 0.0"),
        (softmax_rgb_blend, {"blend_params": BlendParams(gamma=-1.0)}, "gamma: expected a number above 0, got -1.0"),
        (softmax_rgb_blend, {"zfar": torch.ones(3)}, r"zfar: expected a number or shape \(2,\), got \(3,\)"),
    ],
)
def test_bad_input(blend, change, message):
    dense, colors, _ = scene()
    with pytest.raises(ValueError, match=message):
        blend(**({"colors": colors, "fragments": dense, "blend_params": PARAMS} | change))
