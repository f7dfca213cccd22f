"""The names that a PyTorch3D user may call exist, but for those still to come, which are listed here."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

NAMES = (Path(__file__).parent / "data" / "public_names.txt").read_text("utf-8").split()

STILL_TO_COME = {
    "loss.chamfer_distance",
    "loss.point_mesh_edge_distance",
    "loss.point_mesh_face_distance",
    "ops.GraphConv",
    "ops.SubdivideMeshes",
    "ops.ball_query",
    "ops.box3d_overlap",
    "ops.convert_pointclouds_to_tensor",
    "ops.corresponding_cameras_alignment",
    "ops.corresponding_points_alignment",
    "ops.cubify",
    "ops.efficient_pnp",
    "ops.estimate_pointcloud_local_coord_frames",
    "ops.estimate_pointcloud_normals",
    "ops.eyes",
    "ops.get_point_covariances",
    "ops.is_pointclouds",
    "ops.iterative_closest_point",
    "ops.knn_gather",
    "ops.knn_points",
    "ops.marching_cubes.marching_cubes",
    "ops.mesh_face_areas_normals",
    "ops.sample_farthest_points",
    "ops.sample_points_from_meshes",
    "ops.taubin_smoothing",
    "ops.vert_align",
    "ops.wmean",
}


def exists(name: str) -> bool:
    module, _, member = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(f"tirender.{module}"), member)
    except ModuleNotFoundError as error:
        if error.name is None or not f"tirender.{module}".startswith(error.name):
            raise
        return False


@pytest.mark.parametrize("name", NAMES)
def test_name_exists_unless_it_is_still_to_come(name):
    if name in STILL_TO_COME:
        assert not exists(name), f"{name} is here: take it out of STILL_TO_COME"
    else:
        assert exists(name), f"tirender.{name} is missing"


def test_only_public_names_are_still_to_come():
    assert set(NAMES) >= STILL_TO_COME


@pytest.mark.parametrize("package", ["io", "structures", "renderer", "transforms", "utils", "vis", "loss", "ops"])
def test_all_lists_what_a_package_offers(package):
    module = importlib.import_module(f"tirender.{package}")
    assert sorted(set(module.__all__)) == list(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)
