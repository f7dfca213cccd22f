"""Torch twins of rasterization in clip space, interpolation and texture lookups, with gradients by autograd."""

from __future__ import annotations

import torch

# OpenGL's table of cube map faces: the axis and its sign, then those of s and t, as (component, sign)
CUBE = [
    ((0, 1), (2, -1), (1, -1)),
    ((0, -1), (2, 1), (1, -1)),
    ((1, 1), (0, 1), (2, 1)),
    ((1, -1), (0, 1), (2, -1)),
    ((2, 1), (0, 1), (1, -1)),
    ((2, -1), (0, -1), (1, -1)),
]


def rasterize(
    pos: torch.Tensor, tri: torch.Tensor, size: tuple[int, int], layer: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, H, W, 4) of u, v, z / w and the triangle plus 1; and (N, H, W, 4) of the changes of u and v.

    Layer 0 is what lies in front, layer 1 what lies behind that.

    With M the matrix whose columns are the (x, y, w) of a triangle's vertices, the weights b = M^-1 (px, py, 1) are the
    barycentric coordinates divided by w, so that their sum is 1 / w, and z / w is their weighted sum of z.
    """
    height, width = size
    x = (2 * torch.arange(width).to(pos) + 1) / width - 1
    y = (2 * torch.arange(height).to(pos) + 1) / height - 1
    pixel = torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones(height, width).to(pos)], -1)
    rasts, changes = [], []
    for verts in pos:
        corners = verts[tri.long()]
        inverse = torch.linalg.inv(corners[..., [0, 1, 3]].transpose(1, 2))  # (T, 3, 3)
        b = torch.einsum("tij,hwj->hwti", inverse, pixel)
        total = b.sum(-1)
        depth = (b * corners[..., 2]).sum(-1)
        seen = (b.detach() >= 0).all(-1) & (total.detach() > 0) & (depth.detach().abs() <= 1)
        nearest, t = (x[..., layer] for x in torch.where(seen, depth.detach(), torch.inf).sort(-1))
        hit = nearest < torch.inf
        pick = t[..., None]
        b, total, depth = (
            torch.gather(b, 2, pick[..., None].expand(-1, -1, 1, 3))[:, :, 0],
            total.gather(2, pick)[..., 0],
            depth.gather(2, pick)[..., 0],
        )
        uv = b[..., :2] / total[..., None]
        slope = inverse[t]  # (H, W, 3, 3)
        change = (slope[..., :2, :2] - uv[..., None] * slope.sum(-2, keepdim=True)[..., :2]) / total[..., None, None]
        change = change * pos.new_tensor([2 / width, 2 / height])
        found = torch.cat([uv, depth.detach()[..., None], (t + 1).to(pos)[..., None]], -1)
        rasts.append(torch.where(hit[..., None], found, 0))
        changes.append(torch.where(hit[..., None], change.flatten(2), 0))
    return torch.stack(rasts), torch.stack(changes)


def interpolate(
    attributes: torch.Tensor, rast: torch.Tensor, tri: torch.Tensor, rast_db: torch.Tensor, chosen: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attributes (N or 1, V, A) at pixels, and the changes of those that are chosen."""
    hit = (rast[..., 3:] > 0).to(rast)
    corners = tri.long()[(rast[..., 3].long() - 1).clamp(min=0)]  # (N, H, W, 3)
    image = torch.arange(len(rast))[:, None, None, None] % len(attributes)
    values = attributes[image, corners]  # (N, H, W, 3, A)
    u, v = rast[..., :1], rast[..., 1:2]
    out = u * values[..., 0, :] + v * values[..., 1, :] + (1 - u - v) * values[..., 2, :]
    weights = torch.stack([rast_db[..., :2], rast_db[..., 2:], -rast_db[..., :2] - rast_db[..., 2:]], -2)
    changes = torch.einsum("nhwka,nhwkx->nhwax", values[..., chosen], weights)
    return out * hit, (changes * hit[..., None]).flatten(3)


def texture(
    levels: list[torch.Tensor],
    uv: torch.Tensor,
    uv_da: torch.Tensor | None,
    bias: torch.Tensor | None,
    filtering: str,
    boundary: str,
) -> torch.Tensor:
    """Textures (N or 1, [6,] H_t, W_t, C) at pixels."""
    face, st, jacobian = _place(uv, uv_da, boundary)
    if "mipmap" not in filtering:
        return _one_level(levels[0], face, st, filtering, boundary)
    level = torch.zeros_like(st[..., 0])
    if jacobian is not None:
        rows, columns = levels[0].shape[-3:-1]
        in_texels = jacobian * st.new_tensor([columns, rows])[:, None]
        level = torch.log2(torch.linalg.svdvals(in_texels)[..., 0])
    if bias is not None:
        level = level + bias
    level = level.clamp(0, len(levels) - 1)
    out = torch.stack([_one_level(texels, face, st, "linear", boundary) for texels in levels])
    if filtering == "linear-mipmap-nearest":
        weights = torch.nn.functional.one_hot((level.detach() + 0.5).floor().long(), len(levels)).to(uv)
    else:
        steps = torch.arange(len(levels)).to(uv)
        weights = (1 - (level[..., None] - steps).abs()).clamp(min=0)
    return torch.einsum("lnhwc,nhwl->nhwc", out, weights)


def halved(texture: torch.Tensor) -> torch.Tensor:
    """The next mip level: means over two by two texels."""
    *front, height, width, channels = texture.shape
    y, x = min(height, 2), min(width, 2)
    return texture.reshape(*front, height // y, y, width // x, x, channels).mean((-4, -2))


def _place(uv, uv_da, boundary):
    """The face, (s, t) from 0 to 1, and the matrix of how s and t change with x and y."""
    if boundary != "cube":
        jacobian = None if uv_da is None else uv_da.unflatten(-1, (2, 2))
        st = uv - uv.detach().floor() if boundary == "wrap" else uv
        return torch.zeros_like(uv[..., 0]).long(), st, jacobian
    axis = uv.detach().abs().argmax(-1)
    face = 2 * axis + (uv.detach().gather(-1, axis[..., None])[..., 0] < 0).long()
    place = _projected(uv, face)
    if uv_da is None:
        return face, place, None
    moves = uv_da.unflatten(-1, (3, 2)).unbind(-1)
    ma, s, t = (_component(uv, face, k) for k in range(3))
    columns = []
    for move in moves:
        d_ma, d_s, d_t = (_component(move, face, k) for k in range(3))
        columns.append(torch.stack([d_s - s / ma * d_ma, d_t - t / ma * d_ma], -1) / (2 * ma[..., None]))
    return face, place, torch.stack(columns, -1)


def _projected(d, face):
    """(s, t) from 0 to 1 of directions on the faces that they meet."""
    ma, s, t = (_component(d, face, k) for k in range(3))
    return torch.stack([s / ma + 1, t / ma + 1], -1) / 2


def _component(d, face, k):
    """The major axis (0) of a face, s (1) or t (2)."""
    axis, sign = (d.new_tensor([row[k][i] for row in CUBE])[face] for i in (0, 1))
    return d.gather(-1, axis.long()[..., None])[..., 0] * sign


def _one_level(texels, face, st, filtering, boundary):
    rows, columns = texels.shape[-3:-1]
    image = (torch.arange(len(st)) % len(texels))[:, None, None]
    place = st * st.new_tensor([columns, rows])
    if filtering == "nearest":
        x, y = place.detach().floor().long().unbind(-1)
        return _texel(texels, image, face, y, x, boundary)[0]
    place = place - 0.5
    if boundary == "clamp":
        place = torch.stack([place[..., 0].clamp(0, columns - 1), place[..., 1].clamp(0, rows - 1)], -1)
    base = place.detach().floor()
    fx, fy = (place - base).unbind(-1)
    x, y = base.long().unbind(-1)
    total, weight = 0, 0
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            color, exists = _texel(texels, image, face, y + dy, x + dx, boundary)
            total = total + (wx * wy)[..., None] * color
            if boundary == "cube":
                missing = (wx * wy * ~exists)[..., None]
                others = [
                    _texel(texels, image, face, y + j, x + i, boundary)[0] for j in (0, 1) for i in (0, 1)
                ]  # the missing one is 0
                weight = weight + missing * sum(others) / 3
    return total + weight


def _texel(texels, image, face, row, column, boundary):
    """Colours, 0 where there is no texel, and whether there is one."""
    rows, columns = texels.shape[-3:-1]
    exists = torch.ones_like(row, dtype=torch.bool)
    if boundary == "cube":
        outside = [(i < 0) | (i >= rows) for i in (row, column)]
        exists = ~(outside[0] & outside[1])
        s, t = ((2 * i.double() + 1) / rows - 1 for i in (column, row))
        d = torch.zeros(*row.shape, 3, dtype=torch.float64)
        for k, value in enumerate((torch.ones_like(s), s, t)):
            axis, sign = (torch.tensor([entry[k][i] for entry in CUBE])[face] for i in (0, 1))
            d.scatter_(-1, axis[..., None], (value * sign)[..., None])
        axis = d.abs().argmax(-1)
        face = 2 * axis + (d.gather(-1, axis[..., None])[..., 0] < 0).long()
        column, row = (_projected(d, face) * rows).floor().long().clamp(0, rows - 1).unbind(-1)
        color = texels[image, face, row, column]
    else:
        if boundary == "wrap":
            row, column = row % rows, column % columns
        elif boundary == "zero":
            exists = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        color = texels[image, row.clamp(0, rows - 1), column.clamp(0, columns - 1)]
    return torch.where(exists[..., None], color, 0), exists
