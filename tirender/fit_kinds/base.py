"""The record of a kind of fit."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tirender.fit import Callback, FitRun, Views
    from tirender.fit.quality import Watch
    from tirender.renderer import CamerasBase
    from tirender.structures import Gaussians, Meshes, Volumes

    Fitted = Meshes | Volumes | Gaussians | nn.Module

PRESETS = ("tutorial", "best")


@dataclass(frozen=True)
class Numbers:
    """The values of an option: ``n`` numbers; a single one lies in [low, high]."""

    n: int = 1
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Option:
    """An argument of ``tirender fit KIND``.

    Attributes:
        name: "level" for ``--level``.
        help: for ``--help``.
        values: what may be given: integers in a range, one of several words, numbers, or None for any text.
        unit: of the integers, for messages.
        metavar: what ``--help`` calls the value.
        default: the value if the argument is left out.
        required: whether it must be given, without dashes: ``tirender fit KIND SOURCE``.
        flag: whether it takes no value: given, it is True.
    """

    name: str
    help: str
    values: range | Numbers | tuple[str, ...] | None = None
    unit: str = ""
    metavar: str | None = None
    default: Any = None
    required: bool = False
    flag: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a fit approaches: an object, moved and scaled to the origin.

    Attributes:
        centre, scale: the way back: ``new * scale + centre`` is the object's own place; None: it was not moved.
        origin: (3,) float64; what is added then, of an object so far away that float32 would blur it.
        up, front: which way up it stands, see :class:`~tirender.io.orientation.Orientation`.
    """

    centre: torch.Tensor | None = None
    scale: float = 1.0
    origin: torch.Tensor | None = None
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)
    front: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of the object, for those who show the result."""
        centre = [0.0] * 3 if self.centre is None else self.centre.tolist()
        origin = [0.0] * 3 if self.origin is None else self.origin.tolist()
        way_back = {"centre": [a + b for a, b in zip(centre, origin)], "scale": self.scale}
        return {"up": [*self.up], "front": [*self.front], **way_back}

    def comment(self) -> str:
        """What an exported mesh says of how it stands."""
        from tirender.io.orientation import Orientation, to_comment

        return to_comment(Orientation(self.up, self.front))

    def box(self, corners: Sequence[float]) -> torch.Tensor:
        """A box (2, 3) around the object at the origin, from two corners in the object's own place.

        Raises:
            ValueError: it has no volume.
        """
        import torch

        from tirender.checks import fail

        about = self.about()
        ends = torch.tensor([*corners], dtype=torch.float64).view(2, 3)
        if bool((ends[0] == ends[1]).any()):
            fail("--crop", "two corners of a box with a volume", " ".join(f"{x:g}" for x in corners))
        box = (ends.sort(0).values - torch.tensor(about["centre"], dtype=torch.float64)) / about["scale"]
        return box.float()

    def put_back(self, mesh: Meshes) -> Meshes:
        """A mesh at the origin, moved and scaled to the object's own place; in float64 where there is an ``origin``."""
        if self.centre is None:
            return mesh
        if self.origin is None:
            return mesh.scale_verts(self.scale).offset_verts(self.centre)
        from tirender.structures import Meshes

        verts = mesh.verts_packed().double() * self.scale + self.centre.double() + self.origin.to(self.centre.device)
        return Meshes([verts], mesh.faces_list(), mesh.textures)


@dataclass(frozen=True, kw_only=True)
class MeshTarget(Target):
    """The surface of a mesh."""

    mesh: Meshes


@dataclass(frozen=True, kw_only=True)
class ViewsTarget(Target):
    """Views of an object; ``held_out`` are others, which measure quality and are not fitted to.

    ``names`` are those of the photos that measure quality; there are none where the views are of a mesh.
    """

    views: Views
    held_out: Views | None = None
    names: tuple[str, ...] = ()

    def about(self) -> dict[str, Any]:
        from tirender.fit.views import camera_record

        return {**super().about(), "cameras": camera_record(self.views)}


class FitKind(ABC):
    """All that the command line, ``load_scene`` and the tour know of one kind of fit.

    Attributes:
        name: on the command line and in checkpoints.
        finds, so_that: two phrases for help and README: "it finds ..., so that ...".
        options: the arguments of this kind. One with the name of a field of the settings sets that field.
        flight_side: short side in pixels, at most, of the pictures of a flight: a kind that draws slowly has less.
    """

    flight_side = 480

    name: str
    finds: str
    so_that: str
    options: tuple[Option, ...]

    @abstractmethod
    def presets(self) -> dict[str, Any]:
        """Settings by name: those of the tutorials, and those of better quality (see ``PRESETS``)."""

    def configure(self, preset: str, given: Mapping[str, Any]) -> Any:
        """The settings of a preset, with fields replaced by the arguments that are given.

        Args:
            preset: one of ``PRESETS``.
            given: arguments by name; None for those left out.
        """
        return replaced(self.presets()[preset], given)

    def configure_for(self, target: Any, preset: str, given: Mapping[str, Any]) -> Any:
        """The settings for a target, see :meth:`configure`."""
        return self.configure(preset, given)

    @abstractmethod
    def load(self, given: Mapping[str, Any], device: str) -> Any:
        """Load what is fitted to, a :class:`Target`, from the files that the arguments name."""

    @abstractmethod
    def data(self, target: Any) -> list[torch.Tensor]:
        """The tensors of the target that must be the same when the fit is resumed."""

    @abstractmethod
    def fit(self, target: Any, config: Any, callbacks: Sequence[Callback]) -> FitRun:
        """Run the fit."""

    @abstractmethod
    def draw(self, run: FitRun, target: Any) -> None:
        """Draw a pyplot figure of a fit in progress."""

    def compare(self, run: FitRun, target: Any) -> None:
        """Draw a pyplot figure of the result beside the target."""
        self.draw(run, target)

    @abstractmethod
    def quality(self, run: FitRun, target: Any, watch: Watch | None = None) -> dict[str, float]:
        """Numbers, by name, that say how good the result is.

        Args:
            run, target: of the fit.
            watch: is called with each photo that they compare with, as soon as it is rendered.
        """

    def painter(self, run: FitRun, target: Any) -> Callable[[CamerasBase, tuple[int, int]], torch.Tensor]:
        """What returns pictures (N, H, W, 3 or 4) of the result, for N cameras, and their height and width."""
        module: Callable[..., torch.Tensor] = run.module
        return module

    @abstractmethod
    def write(self, run: FitRun, target: Any, folder: Path, given: Mapping[str, Any]) -> str:
        """Write the result into a folder; returns the name of the main file."""

    @abstractmethod
    def result(self, module: Any) -> Fitted:
        """What the fitted module stands for: a mesh, a volume, or a radiance field."""

    @abstractmethod
    def rebuild(self, config: Any, parameters: Mapping[str, Any], device: Any) -> Fitted:
        """The result, from the settings and from the parameters of the fitted module."""

    def restore(self, settings: Mapping[str, Any], parameters: Mapping[str, Any], device: Any) -> tuple[Fitted, Any]:
        """The result that a checkpoint holds, and its settings.

        Args:
            settings: as the checkpoint has them.
            parameters: of the fitted module.
            device: of the result.
        """
        from tirender.fit.saved_state import check_parameters, check_same_kind

        default = self.presets()["tutorial"]
        fields = _fields(default, settings)
        for name, value in fields.items():
            check_same_kind(f"settings {name}", value, getattr(default, name))
        check_parameters("module", parameters)
        config = type(default)(**fields)
        return self.rebuild(config, parameters, device), config


def replaced(config: Any, given: Mapping[str, Any]) -> Any:
    """The settings, with fields replaced by the arguments that are given, see :meth:`FitKind.configure`."""
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(config, **_fields(config, given))


def _fields(config: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that are fields of the settings."""
    names = {field.name for field in dataclasses.fields(config)}
    return {name: value for name, value in values.items() if name in names}
