"""What ``kernels/shape_losses.py`` reads of a mesh's connectivity; here because structures build it without Taichi."""

from typing import Any, NamedTuple


class Neighbourhood(NamedTuple):
    """The connectivity of meshes. Bags are indices (n,) int32 and offsets (owners + 1,) int32.

    Attributes:
        faces: (F, 3) int32.
        vertex_neighbours, vertex_begins: the vertices that share an edge with each vertex.
        vertex_corners, corner_begins: the corners at each vertex; 3 f + k is corner k of face f.
        face_neighbours, face_begins: the faces that share an edge with each face.
        pair_weights: (n,) of each of these pairs.
        vertex_weights: (V, 2), of a vertex and of an edge at it.
    """

    faces: Any
    vertex_neighbours: Any
    vertex_begins: Any
    vertex_corners: Any
    corner_begins: Any
    face_neighbours: Any
    face_begins: Any
    pair_weights: Any
    vertex_weights: Any
