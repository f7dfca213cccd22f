"""The files that a tour looks at."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tirender import datasets
from tirender.checks import check_choice

DATA = ("creature", "tutorials")


@dataclass(frozen=True)
class TourData:
    """Files, and what they show.

    Attributes:
        mesh: the textured mesh of sections 2, 4, 5, 6 and 7; ``subject`` names it.
        target: the mesh of section 1; ``target_name`` names it.
        cloud: the cloud of section 3; ``cloud_name`` names it.
        note: why the cloud is not the one asked for.
    """

    mesh: Path
    subject: str
    target: Path
    target_name: str
    cloud: Path
    cloud_name: str
    note: str = ""


def find_data(name: str, sections: Collection[int]) -> TourData:
    """Find the files of a tour; the tutorials' own files are downloaded.

    Args:
        name: "creature" for files that come with tirender, "tutorials" for the cow, the dolphin and the bridge. If the
            bridge is not available, the harbour replaces it, with a warning.
        sections: the sections to do; only their files are needed.
    Raises:
        ValueError, ImportError, FileNotFoundError: as :func:`tirender.datasets.find`, for the meshes.
    """
    creature, harbour = datasets.creature(), datasets.harbour()
    if check_choice("data", name, DATA) == "creature":
        return TourData(creature, "creature", creature, "creature", harbour, "harbour")
    dolphin = datasets.dolphin() if 1 in sections else creature
    cow = datasets.cow() if {2, 4, 5, 6, 7} & set(sections) else creature
    cloud, cloud_name, note = harbour, "harbour", ""
    if 3 in sections:
        try:
            cloud, cloud_name = datasets.bridge(), "bridge"
        except (ImportError, OSError, ValueError) as error:
            note = "The tutorial's bridge is not available; tirender's own harbour replaces it."
            warnings.warn(f"{note} ({error})", stacklevel=2)
    return TourData(cow, "cow", dolphin, "dolphin", cloud, cloud_name, note)
