"""In the style of a renderer of body models: faces as floats, pixels as units, and materials without shine."""

import numpy as np
import torch
from pytorch3d.renderer import (
    BlendParams,
    DirectionalLights,
    Materials,
    MeshRasterizer,
    MeshRendererWithFragments,
    PerspectiveCameras,
    RasterizationSettings,
    SoftPhongShader,
    TexturesVertex,
)
from pytorch3d.structures import Meshes
from torch import nn

SIZE, FOCAL = 96, 200.0


class Body(nn.Module):
    """A stand-in for a body model: a barrel whose height and width are the shape parameters."""

    def __init__(self, rings=12, segments=16):
        super().__init__()
        height = np.linspace(-1, 1, rings)
        angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
        radius = np.sqrt(1.05 - height**2)
        template = np.stack(
            [
                np.outer(radius, np.cos(angle)),
                np.repeat(height[:, None], segments, 1),
                np.outer(radius, np.sin(angle)),
            ],
            -1,
        ).reshape(-1, 3)
        lower = np.arange((rings - 1) * segments).reshape(rings - 1, segments)
        right = np.roll(lower, -1, 1)
        quads = np.stack([lower, right, right + segments, lower + segments], -1).reshape(-1, 4)
        faces = np.concatenate([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]])
        self.register_buffer("template", torch.from_numpy(template).float())
        self.register_buffer("faces_tensor", torch.from_numpy(faces.astype(np.float32)))  # as archives hold them

    def forward(self, betas):
        width, height = betas[:, None, :1], betas[:, None, 1:]
        scale = torch.cat([width, height, width], -1)
        return 0.3 * self.template[None] * scale


class Renderer(nn.Module):
    """Renders bodies in front of a camera with its focal length in pixels, as fits to photos have it."""

    def __init__(self, device="cpu"):
        super().__init__()
        self.device = device
        cameras = PerspectiveCameras(
            focal_length=FOCAL,
            principal_point=((SIZE / 2, SIZE / 2),),
            R=torch.diag(torch.tensor([-1, -1, 1]))[None],
            T=torch.tensor([[0, 0, 3]]),
            in_ndc=False,
            image_size=((SIZE, SIZE),),
            device=device,
        )
        settings = RasterizationSettings(image_size=(SIZE, SIZE), blur_radius=0.0, faces_per_pixel=1, bin_size=0)
        self.renderer = MeshRendererWithFragments(
            MeshRasterizer(cameras=cameras, raster_settings=settings),
            SoftPhongShader(
                device=device,
                cameras=cameras,
                lights=DirectionalLights(device=device, direction=((0, 0, -1),), specular_color=((0.2, 0.2, 0.2),)),
                materials=Materials(device=device, shininess=0),
                blend_params=BlendParams(background_color=(0, 0, 0)),
            ),
        )

    def forward(self, verts, faces):
        if faces.dim() == 2:
            faces = faces[None].repeat(verts.shape[0], 1, 1)
        textures = TexturesVertex(verts_features=torch.full_like(verts, 0.5))
        images, fragments = self.renderer(Meshes(verts=verts, faces=faces, textures=textures))
        return images, fragments.zbuf[..., 0]


def main():
    body, renderer = Body(), Renderer()
    betas = torch.tensor([[1.0, 1.0], [0.5, 1.5]], requires_grad=True)
    images, depth = renderer(body(betas), body.faces_tensor)
    mask = depth > 0
    # a sphere-like barrel of radius 0.3 at distance 3 is seen about 0.3 * 200 / 3 = 20 pixels to each side
    widths = mask.any(1).sum(1).tolist()
    heights = mask.any(2).sum(1).tolist()
    assert abs(widths[0] - 41) <= 3, widths
    assert abs(heights[0] - 41) <= 3, heights
    assert widths[1] < 0.6 * widths[0]
    assert heights[1] > 1.3 * heights[0]
    assert torch.allclose(depth[0, SIZE // 2, SIZE // 2], torch.tensor(2.7), atol=0.05)

    # 0 ** 0 is 1: without shine the specular colour lies on all of the body, 0.5 * 0.5 + 0.2 even at the unlit rim
    lit = images[0, ..., 0][mask[0]]
    assert lit.min() > 0.44, lit.min()
    centre = images[0, SIZE // 2, SIZE // 2, 0]
    assert torch.allclose(centre, torch.tensor(0.5 * (0.5 + 0.3) + 0.2), atol=0.02), centre  # facing the light

    depth[mask].sum().backward()
    assert betas.grad.abs().min() > 0
    assert betas.grad[0, 0] < 0  # a wider body is nearer
    print("body renderer: done")


if __name__ == "__main__":
    main()
