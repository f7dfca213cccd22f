"""In the style of texture baking: a shader of one's own that writes into its images, and a map that is fitted."""

import torch
from pytorch3d.io import load_objs_as_meshes
from pytorch3d.ops import interpolate_face_attributes
from pytorch3d.renderer import (
    FoVOrthographicCameras,
    MeshRasterizer,
    RasterizationSettings,
    TexturesUV,
    look_at_view_transform,
)
from pytorch3d.renderer.blending import BlendParams, hard_rgb_blend
from pytorch3d.renderer.mesh.renderer import MeshRenderer
from pytorch3d.renderer.mesh.shader import ShaderBase
from pytorch3d.structures import Meshes

SIZE = 32


class BakingShader(ShaderBase):
    """The unlit texture, without pixels that are seen at a flat angle; those get a mark in alpha."""

    def forward(self, fragments, meshes, **kwargs):
        cameras = self._get_cameras(**kwargs)
        blend_params = kwargs.get("blend_params", self.blend_params)
        texels = meshes.sample_textures(fragments)
        images = hard_rgb_blend(texels, fragments, blend_params)
        normals = meshes.verts_normals_packed()[meshes.faces_packed()]
        positions = meshes.verts_packed()[meshes.faces_packed()]
        attributes = torch.cat([normals, positions], -1)
        pixels = interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, attributes)[..., 0, :]
        towards_eye = torch.nn.functional.normalize(
            cameras.get_camera_center()[:, None, None] - pixels[..., 3:], dim=-1
        )
        cosine = (torch.nn.functional.normalize(pixels[..., :3], dim=-1) * towards_eye).sum(-1)
        images[..., 3] = cosine.clamp(min=0) * (fragments.pix_to_face[..., 0] >= 0)
        images[images[..., 3] < 0.3] = 0
        return images


def checker(size, cells=4):
    line = torch.arange(size) * cells // size % 2
    board = (line[:, None] + line[None]) % 2
    return torch.stack([board, 1 - board, torch.full_like(board, 1)], -1).float()


def roof():
    """Two sides of a roof with one map, each on its half of it."""
    verts = torch.tensor([[-1.0, -1, 0], [0, -1, 1], [0, 1, 1], [-1, 1, 0], [1, -1, 0], [1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]])
    uvs = torch.tensor([[0.0, 0], [0.5, 0], [0.5, 1], [0, 1], [1, 0], [1, 1]])
    return verts, faces, uvs


def save(path, verts, faces, uvs):
    from pytorch3d.io import save_obj

    save_obj(path, verts, faces, verts_uvs=uvs, faces_uvs=faces, texture_map=checker(64))


def main(folder):
    verts, faces, uvs = roof()
    save(f"{folder}/roof.obj", verts, faces, uvs)
    target = load_objs_as_meshes([f"{folder}/roof.obj"])

    R, T = look_at_view_transform(2.7, 0, (-45.0, 0.0, 45.0))
    cameras = FoVOrthographicCameras(max_y=1.5, min_y=-1.5, max_x=1.5, min_x=-1.5, R=R, T=T)
    settings = RasterizationSettings(image_size=SIZE, faces_per_pixel=1)
    renderer = MeshRenderer(
        rasterizer=MeshRasterizer(cameras=cameras, raster_settings=settings),
        shader=BakingShader(cameras=cameras, blend_params=BlendParams(background_color=(0, 0, 0))),
    )
    with torch.no_grad():
        photos = renderer(target.extend(3))
    # from 45 degrees on the left, that side is seen head-on, and the other at 90 degrees, from the edge
    assert photos[0, ..., 3].max() > 0.999
    assert photos[..., 3].min() == 0
    assert 0 < int((photos[1, ..., 3] > 0).sum()) < SIZE * SIZE

    texture = torch.full((1, 64, 64, 3), 0.5, requires_grad=True)
    baked = Meshes([verts], [faces], TexturesUV(torch.zeros(1, 64, 64, 3), [faces], [uvs]))
    optimizer = torch.optim.Adam([texture], lr=0.1)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        baked.textures._maps_padded = texture
        images = renderer(baked.extend(3))
        loss = (images - photos).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0], losses[:: len(losses) - 1]
    print("texture baker: done")


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
