"""Names and shapes in files that no file can have: the file is named, in tirender's words."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gltf_files import GltfBuilder
from test_io_gltf import TRIANGLE

from tirender.fit import load_views
from tirender.io import IO
from tirender.scenes import load_scene

NAMES = ["\ud800.png", "a\udfffb", "..\ud800/q"]  # surrogates, which JSON can write


@pytest.mark.parametrize("name", NAMES)
def test_surrogates_in_a_capture(tmp_path: Path, name: str) -> None:
    frame = {"file_path": name, "transform_matrix": np.eye(4).tolist()}
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": 1.0, "frames": [frame]}))
    with pytest.raises(ValueError, match=r"transforms\.json: expected a name that a file can have, got '.*\\ud"):
        load_views(tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_surrogates_in_gltf(tmp_path: Path, name: str) -> None:
    builder = GltfBuilder()
    builder.mesh({"attributes": {"POSITION": builder.array(TRIANGLE)}})
    root = {**builder.root, "images": [{"uri": name}], "buffers": [{"uri": name, "byteLength": len(builder.binary)}]}
    (tmp_path / "m.gltf").write_text(json.dumps(root))
    with pytest.raises(ValueError, match=r"m\.gltf: expected a name that a file can have, got '.*\\ud"):
        IO().load_mesh(tmp_path / "m.gltf")


@pytest.mark.parametrize("shape", ["(True, 3)", "(False, 3)", "(1, True)"])
def test_truth_values_in_shapes(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    contents = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(12)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("verts.npy", contents)
    (tmp_path / "cloud.npz").write_bytes(stream.getvalue())
    with pytest.raises(ValueError, match=r"cloud\.npz, array 'verts': expected a shape of whole numbers"):
        load_scene(tmp_path / "cloud.npz")
