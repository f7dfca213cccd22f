"""The kinds of fits, one file and one record each: ``KINDS`` lists them by name.

The command line, ``load_scene``, the tour and the README's table all read these records. To add a kind, copy
``silhouette.py`` and add the new class to ``KINDS``.

The command line imports this package even for ``--help``, so its files import the fits only inside of methods.
"""

from tirender.fit_kinds.base import PRESETS, FitKind, MeshTarget, Numbers, Option, ViewsTarget
from tirender.fit_kinds.images import ImageFit
from tirender.fit_kinds.material import MaterialFit
from tirender.fit_kinds.mesh import MeshFit
from tirender.fit_kinds.nerf import NerfFit
from tirender.fit_kinds.photos import PhotosTarget
from tirender.fit_kinds.silhouette import SilhouetteFit
from tirender.fit_kinds.splats import SplatFit
from tirender.fit_kinds.volume import VolumeFit

KINDS: dict[str, FitKind] = {
    kind.name: kind
    for kind in (MeshFit(), SilhouetteFit(), ImageFit(), MaterialFit(), VolumeFit(), NerfFit(), SplatFit())
}

__all__ = ["KINDS", "PRESETS", "FitKind", "MeshTarget", "Numbers", "Option", "PhotosTarget", "ViewsTarget"]
