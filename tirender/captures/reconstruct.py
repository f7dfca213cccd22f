"""From a folder of plain photos to cameras and points, by COLMAP (Schönberger and Frahm 2016), through pycolmap."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tirender.captures.loading import IMAGES
from tirender.checks import check_choice, fail
from tirender.io.files import not_found, read_image_header, write_file
from tirender.progress import followed

ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
NOT_PHOTOS = ("masks", "sparse", "depth", "depths")  # folders
LEAST_PHOTOS = 3
CAMERA_MODELS = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "PINHOLE", "SIMPLE_PINHOLE")
PAIRS = ("auto", "all", "sequence")
ALL_PAIRS_UP_TO = 250  # photos
NEIGHBOURS, LOOP_EVERY = 10, 10  # in a sequence: photos matched to each, and of which each tenth is matched to each
DATABASE = "database.db"
STEPS = Path(__file__).with_name("colmap_steps.py")
LABELS = {"extract": "features", "match": "matches", "place": "placed"}
EXIF_OF_A_CAMERA = (271, 272)  # make and model
FOCAL_LENGTH = 37386  # in millimetres


@dataclass(frozen=True)
class Report:
    """What became of photos.

    Attributes:
        folder: of the reconstruction.
        n_photos: that there were.
        placed: the names of those with a camera.
        others: why the others have none, by their names.
        n_points: of the scene.
        error: mean distance in pixels between where a point is seen and where it is projected.
    """

    folder: str
    n_photos: int
    placed: list[str]
    others: dict[str, str] = field(default_factory=dict)
    n_points: int = 0
    error: float = 0.0

    def __str__(self) -> str:
        facts = f"{len(self.placed)} of {self.n_photos} photos placed, {self.n_points:,} points, {self.error:.2f} px"
        reasons = Counter(self.others.values())
        lines = [f"{self.folder}: {facts}"]
        for reason, n in reasons.most_common():
            names = [name for name, why in self.others.items() if why == reason]
            lines.append(f"not placed, {reason}: {', '.join(names[:5])}{', ...' * (n > 5)} ({n})")
        return "\n".join(lines)


def photos_in(folder: str | os.PathLike[str]) -> tuple[Path, list[str]]:
    """The folder below this one, or itself, that has photos, and their names in it, also in its own folders."""
    folder = Path(folder)
    if not folder.exists():
        raise not_found(folder)
    if not folder.is_dir():
        fail(str(folder), "a folder of photos", "a file")
    if (folder / "checkpoint.pt").exists():
        fail(str(folder), "photos", "the folder of a fit")
    for place in (folder / name for name in IMAGES):
        names = [p.relative_to(place).as_posix() for p in sorted(place.rglob("*")) if _is_photo(p, place)]
        if names:
            return place, names
    return folder, []


def has_pycolmap() -> bool:
    """Whether the extra ``photos`` is installed."""
    try:
        return importlib.util.find_spec("pycolmap") is not None
    except ValueError:  # a module without a specification
        return False


def reconstruct(
    folder: str | os.PathLike[str], camera_model: str = CAMERA_MODELS[0], pairs: str = PAIRS[0], again: bool = False
) -> Report:
    """Find the cameras of photos, and points of what they show.

    What is found is written to the folder: ``database.db`` with features and matches, from which an interrupted call
    goes on, the reconstruction in ``sparse/0``, and ``capture.json`` with the report.

    Args:
        folder: with photos in ``images``, ``input``, ``rgb`` or itself; the black parts of ``masks/NAME.png`` are left
            out. Photos of one size and camera share one lens.
        camera_model: of all lenses, one of ``CAMERA_MODELS``.
        pairs: of photos that are compared: ``"all"``; ``"sequence"``, neighbours by name and each tenth photo with each
            other tenth; ``"auto"``, the first up to 250 photos.
        again: whether to begin anew where there is a reconstruction.
    Raises:
        ValueError: fewer than three photos, or none that overlap.
        RuntimeError: COLMAP failed.
        ImportError: pycolmap is not installed.
    """
    check_choice("camera_model", camera_model, CAMERA_MODELS)
    check_choice("pairs", pairs, PAIRS)
    if not has_pycolmap():
        raise ImportError("cameras of photos need pycolmap: pip install 'tirender[photos]'")
    folder = Path(folder)
    images, names = photos_in(folder)
    if len(names) < LEAST_PHOTOS:
        fail(str(folder), "three or more photos", f"{len(names)}")
    model, report = folder / "sparse" / "0", folder / "capture.json"
    if again:
        for path in (folder / DATABASE, report):
            path.unlink(missing_ok=True)
        shutil.rmtree(model, ignore_errors=True)
    groups: dict[Any, list[str]] = {}
    for name in names:
        groups.setdefault(_camera_of(images / name), []).append(name)
    masks = folder / "masks"
    found = _run(
        folder,
        database=str(folder / DATABASE),
        images=str(images),
        model=str(model),
        masks=str(masks) if masks.is_dir() else None,
        groups=list(groups.values()),
        camera_model=camera_model,
        pairs=[(names[i], names[j]) for i, j in pairs_of(len(names), pairs)],
    )
    result = Report(str(model), len(names), **found)
    write_file(report, [(json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n").encode()])
    return result


def _run(folder: Path, **job: Any) -> dict[str, Any]:
    """Run the steps of COLMAP in a process of their own, with progress; it ends with this one's interruption."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True}
        with subprocess.Popen([sys.executable, str(STEPS)], **pipes) as process:
            try:
                assert process.stdin is not None
                with contextlib.suppress(BrokenPipeError), process.stdin:  # if it has ended, its log says why
                    process.stdin.write(json.dumps(job))
                last = _follow(process.stdout or ())
            except BaseException:
                process.kill()
                raise
        if "result" in last:
            found: dict[str, Any] = last["result"]
            return found
        if "error" in last:
            fail(str(folder), last["error"], "others")
        log.seek(0)
        lines = [line.strip() for line in log.read()[-10_000:].splitlines() if line.strip()]
        words = lines[-1] if lines else "without a word"
        raise RuntimeError(f"{folder}: COLMAP ended with code {process.returncode}: {words}")


def _follow(lines: Iterable[str]) -> dict[str, Any]:
    """Show the progress of what the other process writes; returns its last words."""
    last: dict[str, Any] = {}
    steps: Iterator[int] = iter(())
    done = 0
    for line in lines:
        last = json.loads(line)
        if "step" in last:
            steps, done = iter(followed(range(last["total"]), LABELS[last["step"]])), 0
        while done < last.get("done", 0) and next(steps, None) is not None:
            done += 1
    for _ in steps:
        pass
    return last


def _is_photo(path: Path, place: Path) -> bool:
    parts = path.relative_to(place).parts
    is_hidden = any(part.startswith(".") for part in parts)
    return path.suffix.lower() in ENDINGS and not is_hidden and parts[0] not in NOT_PHOTOS and path.is_file()


def _camera_of(path: Path) -> Any:
    """What photos by one camera share: size, make, model and focal length."""
    from PIL import Image

    header = read_image_header(path)
    with Image.open(path) as image:
        exif = image.getexif()
        focal = exif.get_ifd(0x8769).get(FOCAL_LENGTH)
    return header.width, header.height, *(str(exif.get(key)) for key in EXIF_OF_A_CAMERA), str(focal)


def pairs_of(n: int, pairs: str) -> list[tuple[int, int]]:
    """The pairs of n photos that are compared, see :func:`reconstruct`; (i, j) with i < j."""
    if pairs == "all" or (pairs == "auto" and n <= ALL_PAIRS_UP_TO):
        return [(i, j) for i in range(n) for j in range(i + 1, n)]
    steps = {*range(1, NEIGHBOURS + 1), *(1 << k for k in range(NEIGHBOURS))}
    chosen = {(i, i + step) for i in range(n) for step in steps if i + step < n}
    chosen |= {(i, j) for i in range(0, n, LOOP_EVERY) for j in range(i + 1, n) if j % LOOP_EVERY == 0}
    return sorted(chosen)
