"""In the style of networks on point clouds: neighbours, a chamfer distance of one's own, and a training loop."""

import torch
from pytorch3d.loss import chamfer_distance
from pytorch3d.loss.chamfer import _handle_pointcloud_input, _validate_chamfer_reduction_inputs
from pytorch3d.ops import ball_query, knn_gather, knn_points, sample_farthest_points
from pytorch3d.ops.utils import masked_gather
from pytorch3d.structures import Pointclouds
from pytorch3d.utils import ico_sphere
from torch import nn


def robust_chamfer(x, y, x_lengths=None, y_lengths=None, batch_reduction="mean", point_reduction="mean"):
    """The chamfer distance, with each squared distance d replaced by d / (1 + d)."""
    _validate_chamfer_reduction_inputs(batch_reduction, point_reduction)
    x, x_lengths, _ = _handle_pointcloud_input(x, x_lengths, None)
    y, y_lengths, _ = _handle_pointcloud_input(y, y_lengths, None)
    total = x.new_zeros(())
    for a, b, a_lengths, b_lengths in ((x, y, x_lengths, y_lengths), (y, x, y_lengths, x_lengths)):
        dists = knn_points(a, b, lengths1=a_lengths, lengths2=b_lengths, K=1).dists[..., 0]
        mask = torch.arange(a.shape[1])[None] < a_lengths[:, None]
        dists = (dists / (1 + dists)) * mask
        total = total + (dists.sum(1) / a_lengths.clamp(min=1)).mean()
    return total, None


class Denoiser(nn.Module):
    """Moves points by what it learns of the offsets to their neighbours."""

    def __init__(self, n_neighbors=8, width=32):
        super().__init__()
        self.n_neighbors = n_neighbors
        self.net = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width))
        self.out = nn.Linear(width, 3)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, points):
        _, index, neighbors = knn_points(points, points, K=self.n_neighbors + 1, return_nn=True)
        assert torch.equal(knn_gather(points, index), neighbors)
        offsets = neighbors[:, :, 1:] - points[:, :, None]
        centers = points[:, :, None].expand_as(offsets)
        features = self.net(torch.cat([offsets, centers], -1)).max(2)[0]
        return points + self.out(features)


def test_groups(points):
    """Farthest points, and the points around them within a radius."""
    centers, index = sample_farthest_points(points, K=16)
    assert torch.equal(masked_gather(points, index), centers)
    groups = ball_query(centers, points, K=12, radius=0.5, return_nn=True)
    found = groups.idx >= 0
    assert torch.allclose(groups.dists[found], (groups.knn - centers[:, :, None]).square().sum(-1)[found], atol=1e-6)
    assert bool((groups.dists[found] < 0.25).all())
    assert found.any(2).all()


def main():
    torch.manual_seed(0)
    sphere = ico_sphere(3).verts_packed()
    clean = sphere[None].repeat(2, 1, 1) * torch.tensor([1.0, 0.7])[:, None, None]
    test_groups(clean)

    # the distance to the same cloud moved by 0.1 along x, where that is the nearest, is 0.1 ** 2 both ways
    apart = torch.tensor([[[0.0, 0, 0], [5, 0, 0]]])
    plain, _ = chamfer_distance(apart, apart + torch.tensor([0.1, 0, 0]))
    robust, _ = robust_chamfer(apart, apart + torch.tensor([0.1, 0, 0]))
    assert torch.allclose(plain, torch.tensor(0.02), atol=1e-5)
    assert torch.allclose(robust, torch.tensor(0.02 / 1.01), atol=1e-5)
    clouds = Pointclouds([apart[0], apart[0, :1]])
    assert torch.allclose(robust_chamfer(clouds, clouds.offset(torch.tensor([0.1, 0, 0])))[0], robust, atol=1e-5)

    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        noisy = 1.3 * clean + 0.05 * torch.randn_like(clean)
        loss, _ = robust_chamfer(model(noisy), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5]), (losses[:5], losses[-5:])
    print("training loop: done")


if __name__ == "__main__":
    main()
