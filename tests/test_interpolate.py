"""Attributes at pixels, and how they change, against a twin in torch."""

from __future__ import annotations

import pytest
import torch
from clip_scenes import SIZE, ball, check_alike, rasterize
from reference import clip_space as twin

import tirender.nvdiffrast.torch as dr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_attributes", [1, 2])
def test_attributes_match_the_twin(n_attributes, dtype, request):
    if dtype == torch.float64:
        request.getfixturevalue("needs_f64")
    pos, tri = ball(dtype)
    attr = torch.randn(n_attributes, pos.shape[1], 4, dtype=dtype, requires_grad=True)
    rast, rast_db = (x.requires_grad_() for x in rasterize(pos, tri))
    for asked, chosen in (([3, 1], [3, 1]), ("all", [0, 1, 2, 3])):
        ours = dr.interpolate(attr, rast, tri, rast_db, asked)
        check_alike(ours, twin.interpolate(attr, rast, tri, rast_db, chosen), (attr, rast, rast_db))
    out, none = dr.interpolate(attr, rast, tri)
    assert torch.equal(out, ours[0])
    assert none.shape == (2, *SIZE, 0)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck_of_attributes():
    pos, tri = ball(torch.float64)
    attr = torch.randn(1, pos.shape[1], 2, dtype=torch.float64, requires_grad=True)
    rast, rast_db = (x[:, 3:8, 5:9] for x in rasterize(pos, tri))

    def read(attr, uv, rast_db):
        return dr.interpolate(attr, torch.cat([uv, rast[..., 2:]], -1), tri, rast_db, "all")

    assert torch.autograd.gradcheck(read, (attr, rast[..., :2].requires_grad_(), rast_db.requires_grad_()))


def test_triangles_of_attributes_may_differ_from_those_of_positions():
    pos, tri = ball()
    rast, rast_db = rasterize(pos, tri)
    attr = torch.rand(pos.shape[1], 3)
    corners = torch.arange(3 * len(tri)).view(-1, 3)
    ours = dr.interpolate(attr[tri.long().flatten()], rast, corners, rast_db, "all")
    for a, b in zip(ours, dr.interpolate(attr, rast, tri, rast_db, "all"), strict=True):
        assert torch.equal(a, b)


def test_bad_arguments_of_interpolate():
    pos, tri = ball()
    rast, rast_db = rasterize(pos, tri)
    attr = torch.rand(1, pos.shape[1], 2)
    for arguments, message in [
        ((attr[:, :5], rast, tri), "tri: expected"),
        ((attr.expand(3, -1, -1), rast, tri), "attr: expected shape"),
        ((attr, rast[..., :3], tri), "rast: expected shape"),
        ((attr, rast, tri, None, "all"), "rast_db: expected"),
        ((attr, rast, tri, rast_db[:1], "all"), "rast_db: expected shape"),
        ((attr, rast, tri, rast_db, "some"), "diff_attrs: expected"),
        ((attr, rast, tri, rast_db, [2]), "diff_attrs: expected"),
    ]:
        with pytest.raises(ValueError, match=message):
            dr.interpolate(*arguments)
    wrong = torch.full_like(rast, 1e9)
    assert not dr.interpolate(attr, wrong, tri, rast_db, "all")[0].any()  # no triangle has such an id
    assert not dr.interpolate(attr, torch.full_like(rast, torch.nan), tri)[0].any()
