"""Point clouds in NumPy's .npz archives, as PyTorch3D's tutorial has them: arrays ``verts`` and ``rgb``."""

from __future__ import annotations

import io
import math
import os
import zipfile
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy

from tirender.budget import open_archive, read_members, spend
from tirender.checks import fail
from tirender.io.colors import unit_integers, unit_range, with_alpha
from tirender.io.file_mesh import FileMesh, warn_if_blurred
from tirender.io.files import Source, read_source, write_file
from tirender.io.pluggable_formats import PointcloudFormatInterpreter, RecordFormat, has_suffix, one_cloud
from tirender.io.text import finite_float32
from tirender.structures.pointclouds import Pointclouds

BYTES_A_NUMBER = 24  # what a number takes as it is read: as it is stored, in double precision, and as it is kept


def read_npz(source: Source) -> FileMesh:
    """Read points, normals, and colours where ``rgb`` has three or more channels."""
    arrays = _read_points(source)
    rgb = arrays.get("rgb", np.zeros((0, 0)))[:, :3]
    return FileMesh(
        source.name,
        arrays["verts"],
        np.zeros((0, 3), np.int64),
        arrays.get("normals"),
        verts_rgba=with_alpha(unit_range(rgb, f"{source.name}: array 'rgb'")) if rgb.shape[1] == 3 else None,
    )


class PointcloudNpzFormat(RecordFormat, PointcloudFormatInterpreter):
    """Clouds in the ``IO`` registry: paths that end in .npz; no pickle is ever loaded, and no array allocated unseen.

    Arrays: ``verts`` (P, 3); if wanted ``normals`` (P, 3) and ``rgb`` (P, C), colours with or without alpha, or other
    features. Integer colours count to their type's maximum.
    """

    known_suffixes = (".npz",)
    read_record = staticmethod(read_npz)

    def read(self, path: Any, device: Any, path_manager: Any = None, **kwargs: Any) -> Pointclouds | None:
        """Read points, normals, and ``rgb`` with all its channels as features, in float32."""
        if not has_suffix(path, self.known_suffixes):
            return None
        source = read_source(path, path_manager)
        arrays = _read_points(source)
        warn_if_blurred(source.name, arrays["verts"])
        tensors = {name: [torch.from_numpy(a.astype(np.float32)).to(device)] for name, a in arrays.items()}
        return Pointclouds(tensors["verts"], tensors.get("normals"), tensors.get("rgb"))

    def save(
        self, data: Pointclouds, path: Any, path_manager: Any = None, binary: bool | None = None, **kwargs: Any
    ) -> bool:
        """Write one cloud, its normals, and its features as ``rgb``; the format is binary."""
        if not has_suffix(path, self.known_suffixes):
            return False
        if binary is False:
            fail("binary", "None or True, as .npz has no text form", binary)
        named = zip(("verts", "normals", "rgb"), one_cloud(data, path))
        arrays: dict[str, Any] = {name: x.detach().cpu().numpy() for name, x in named if x is not None}
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        write_file(path, [stream.getvalue()], path_manager)
        return True


def _read_points(source: Source) -> dict[str, np.ndarray]:
    """The arrays, finite in float32, ``verts`` as float64 and the others as float32, as many rows each."""
    arrays = read_arrays(source, ("verts", "normals", "rgb"))
    if "verts" not in arrays:
        fail(source.name, "an array 'verts'", "none of that name")
    for name, array in arrays.items():
        spend(f"{source.name}, array '{name}'", array.size * BYTES_A_NUMBER, "numbers")
        columns = "C" if name == "rgb" else 3
        if len(array) != len(arrays["verts"]) or columns not in ("C", array.shape[1]):
            rows = "P" if name == "verts" else len(arrays["verts"])
            fail(f"{source.name}, array '{name}'", f"shape ({rows}, {columns})", array.shape)
        where = lambda row, name=name: f"{source.name}, array '{name}', row {row}"  # noqa: E731
        values = finite_float32(array, "values", where)
        if name == "verts":
            values = array.astype(np.float64)
        elif name == "rgb" and array.dtype.kind in "iu":
            values = unit_integers(list(array.T), f"{source.name}: array 'rgb'")
        arrays[name] = values
    return arrays


def array_names(path: str | os.PathLike[str]) -> set[str]:
    """The names of the arrays in a .npz file; none where it is damaged, which reading them will tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except OSError:
        raise
    except Exception:
        return set()


def read_arrays(source: Source, names: tuple[str, ...], n_dims: tuple[int, ...] = (2,)) -> dict[str, np.ndarray]:
    """Those of the named arrays of numbers that an archive has.

    Args:
        source: the archive.
        names: of the arrays wanted.
        n_dims: how many dimensions they may have.
    Raises:
        ValueError: a damaged archive, one that claims more than it holds, or an array of another kind.
    """
    with open_archive(source.name, source.data, ".npz ") as archive:
        wanted = {f"{name}.npy" for name in names} & {*archive.namelist()}
        contents = read_members(source.name, archive, map(archive.getinfo, sorted(wanted)))
    arrays = {file.removesuffix(".npy"): data for file, data in contents.items()}
    return {name: _read_array(f"{source.name}, array '{name}'", data, n_dims) for name, data in arrays.items()}


def _read_array(where: str, contents: bytes, n_dims: tuple[int, ...]) -> np.ndarray:
    """The array of a .npy file that is as large as its header says."""
    stream = io.BytesIO(contents)
    try:
        read_header = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read_header(stream)
    except Exception as error:  # the header is a Python literal, of which hostile input may be anything
        fail(where, "a .npy header", error)
    if dtype.kind not in "fiu":
        fail(where, "numbers", dtype)
    if any(type(n) is not int for n in shape):
        fail(where, "a shape of whole numbers", shape)
    n_bytes = len(contents) - stream.tell()
    if shape == (0, 3):
        return np.zeros(shape, dtype)
    if len(shape) not in n_dims or min(shape, default=1) < 1 or math.prod(shape) * dtype.itemsize != n_bytes:
        dims = " or ".join(map(str, n_dims))
        fail(where, f"a shape of {dims} dimensions that fills {n_bytes} bytes of {dtype}", shape)
    values = np.frombuffer(contents, dtype=dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if fortran_order else "C")
