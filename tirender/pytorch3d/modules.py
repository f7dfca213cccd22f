"""The modules of PyTorch3D that exist here, and what is left out."""

PACKAGES: dict[str, str] = {
    "": "_C common datasets io loss ops renderer structures transforms utils vis",
    "common": "compat datatypes linear_with_repeat workaround",
    "common.workaround": "symeig3x3 utils",
    "datasets": "r2n2 shapenet shapenet_base utils",
    "datasets.r2n2": "r2n2 utils",
    "datasets.shapenet": "shapenet_core",
    "io": "experimental_gltf_io mtl_io obj_io off_io pluggable pluggable_formats ply_io utils",
    "loss": "chamfer mesh_edge_loss mesh_laplacian_smoothing mesh_normal_consistency point_mesh_distance",
    "ops": "ball_query cameras_alignment cubify graph_conv interp_face_attrs iou_box3d knn laplacian_matrices "
    "marching_cubes mesh_face_areas_normals mesh_filtering packed_to_padded perspective_n_points "
    "points_alignment points_normals points_to_volumes sample_farthest_points sample_points_from_meshes "
    "subdivide_meshes utils vert_align",
    "renderer": "blending camera_conversions camera_utils cameras compositing fisheyecameras implicit lighting "
    "materials mesh points splatter_blend utils",
    "renderer.implicit": "harmonic_embedding raymarching raysampling renderer sample_pdf utils",
    "renderer.mesh": "clip rasterize_meshes rasterizer renderer shader shading textures utils",
    "renderer.points": "compositor rasterize_points rasterizer renderer",
    "structures": "meshes pointclouds utils volumes",
    "transforms": "math rotation_conversions se3 so3 transform3d",
    "utils": "camera_conversions checkerboard ico_sphere torus",
    "vis": "plotly_vis texture_vis",
}
"""The modules that each package holds, "" for the root; a package stands before what it holds."""

PATHS = [f"{package}.{name}".lstrip(".") for package, names in PACKAGES.items() for name in names.split()]
"""The paths of all modules below the root."""

LOADED_LATE = ("vis", "vis.plotly_vis", "vis.texture_vis")
"""Modules that need matplotlib or an extra; they are loaded when one of their names is first used."""

ALIAS_ONLY = (
    "_C",
    "common",
    "datasets",
    "io.utils",
    "renderer.camera_conversions",
    "renderer.mesh.clip",
    "renderer.mesh.utils",
)
"""Modules, with what they hold, that only the shims have; ``tirender.datasets`` is something else."""

_PULSAR = "Pulsar is not part of tirender; PointsRenderer renders point clouds"
_LOADER = "the loaders of R2N2 and ShapeNet are not part of tirender; ShapeNetBase is"
_OPENGL = "the OpenGL rasterizer is not part of tirender; MeshRasterizer needs no OpenGL"
LEFT_OUT: dict[str, dict[str, str]] = {
    "renderer": {"PulsarPointsRenderer": _PULSAR, "MeshRasterizerOpenGL": _OPENGL, "EGLContext": _OPENGL},
    "renderer.points": {"PulsarPointsRenderer": _PULSAR},
    "datasets": {"R2N2": _LOADER, "ShapeNetCore": _LOADER},
    "datasets.r2n2": {"R2N2": _LOADER},
    "datasets.r2n2.r2n2": {"R2N2": _LOADER},
    "datasets.shapenet": {"ShapeNetCore": _LOADER},
    "datasets.shapenet.shapenet_core": {"ShapeNetCore": _LOADER},
    "utils": {"pulsar_from_cameras_projection": _PULSAR, "pulsar_from_opencv_projection": _PULSAR},
    "utils.camera_conversions": {"pulsar_from_cameras_projection": _PULSAR, "pulsar_from_opencv_projection": _PULSAR},
}
"""Names that PyTorch3D has and tirender does not, with what to say when one is imported."""
