"""From a folder of plain photos to cameras and points, by COLMAP (Schönberger and Frahm 2016), through pycolmap."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tirender.captures.loading import IMAGES
from tirender.checks import check_choice, fail
from tirender.io.files import read_image_header, write_file
from tirender.progress import followed

ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
NOT_PHOTOS = ("masks", "sparse", "depth", "depths")  # folders
CAMERA_MODELS = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "PINHOLE", "SIMPLE_PINHOLE")
PAIRS = ("auto", "all", "sequence")
ALL_PAIRS_UP_TO = 250  # photos
NEIGHBOURS, LOOP_EVERY = 10, 10  # in a sequence: photos matched to each, and of which each tenth is matched to each
PHOTOS_AT_ONCE, PAIRS_AT_ONCE = 8, 64
FEW_FEATURES = 100
DATABASE, WORK = "database.db", "sparse.partial"
EXIF_OF_A_CAMERA = (271, 272)  # make and model
FOCAL_LENGTH = 37386  # in millimetres

T = TypeVar("T")


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
    for place in (folder / name for name in IMAGES):
        names = [p.relative_to(place).as_posix() for p in sorted(place.rglob("*")) if _is_photo(p, place)]
        if names:
            return place, names
    return folder, []


def has_pycolmap() -> bool:
    """Whether the extra ``photos`` is installed."""
    import importlib.util

    return importlib.util.find_spec("pycolmap") is not None


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
        ValueError: fewer than three photos, or no two that show the same.
        ImportError: pycolmap is not installed.
        KeyboardInterrupt: when interrupted, after the step in progress.
    """
    check_choice("camera_model", camera_model, CAMERA_MODELS)
    check_choice("pairs", pairs, PAIRS)
    pycolmap = _imported()
    folder = Path(folder)
    images, names = photos_in(folder)
    if len(names) < 3:
        fail(str(folder), "three or more photos", f"{len(names)}")
    model, report = folder / "sparse" / "0", folder / "capture.json"
    if again:
        for path in (folder / DATABASE, report):
            path.unlink(missing_ok=True)
        shutil.rmtree(model, ignore_errors=True)
    with _quiet(pycolmap):
        if not (model / "images.bin").is_file():
            _extract(pycolmap, folder, images, names, camera_model)
            _match(pycolmap, folder, names, pairs)
            _map(pycolmap, folder, images, len(names), model)
        result = _report(pycolmap, folder, model, names)
    write_file(report, [(json.dumps(asdict(result), indent=2, ensure_ascii=False) + "\n").encode()])
    return result


def _imported() -> Any:
    try:
        import pycolmap
    except ImportError as error:
        raise ImportError("cameras of photos need pycolmap: pip install 'tirender[photos]'") from error
    if threading.current_thread() is threading.main_thread():  # it has taken SIGTERM for itself
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return pycolmap


def _is_photo(path: Path, place: Path) -> bool:
    parts = path.relative_to(place).parts
    is_hidden = any(part.startswith(".") for part in parts)
    return path.suffix.lower() in ENDINGS and not is_hidden and parts[0] not in NOT_PHOTOS and path.is_file()


def _extract(pycolmap: Any, folder: Path, images: Path, names: Sequence[str], camera_model: str) -> None:
    """Find features; photos of one size and camera share a lens."""
    groups: dict[Any, list[str]] = {}
    for name in names:
        groups.setdefault(_camera_of(images / name), []).append(name)
    with pycolmap.Database.open(folder / DATABASE) as database:
        known = {image.name: image for image in database.read_all_images()}
        done = {name for name, image in known.items() if database.exists_keypoints(image.image_id)}
    reader = pycolmap.ImageReaderOptions(camera_model=camera_model)
    if (folder / "masks").is_dir():
        reader.mask_path = folder / "masks"
    chunks = []
    for group in groups.values():
        missing = [name for name in group if name not in done]
        starts = [name for name in group if name in known][:1] or group[:1]  # the photo whose camera all share
        chunks += [(starts[0], missing[i : i + PHOTOS_AT_ONCE]) for i in range(0, len(missing), PHOTOS_AT_ONCE)]
    for start, chunk in followed(chunks, "features"):
        with pycolmap.Database.open(folder / DATABASE) as database:
            first = database.read_image_with_name(start) if database.exists_image(start) else None
        reader.existing_camera_id = -1 if first is None else first.camera_id
        given = (folder / DATABASE, images, chunk, pycolmap.CameraMode.SINGLE, reader)
        settings = {"device": pycolmap.Device.cpu}
        _interruptible(pycolmap, partial(pycolmap.extract_features, *given, **settings))


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


def _match(pycolmap: Any, folder: Path, names: Sequence[str], pairs: str) -> None:
    """Match features of pairs; those that the database has are left out."""
    with pycolmap.Database.open(folder / DATABASE) as database:
        known = {image.name: image.image_id for image in database.read_all_images()}
        names = [name for name in names if name in known]
        missing = []
        for i, j in pairs_of(len(names), pairs):
            if not database.exists_two_view_geometry(known[names[i]], known[names[j]]):
                missing.append((names[i], names[j]))
    with tempfile.TemporaryDirectory() as work:
        listed = Path(work) / "pairs.txt"
        chunks = [missing[i : i + PAIRS_AT_ONCE] for i in range(0, len(missing), PAIRS_AT_ONCE)]
        for chunk in followed(chunks, "matches"):
            listed.write_text("".join(f"{a} {b}\n" for a, b in chunk), "utf-8")
            pairing = pycolmap.ImportedPairingOptions(match_list_path=listed)
            settings = {"pairing_options": pairing, "device": pycolmap.Device.cpu}
            _interruptible(pycolmap, partial(pycolmap.match_image_pairs, folder / DATABASE, **settings))


def _map(pycolmap: Any, folder: Path, images: Path, n: int, model: Path) -> None:
    """Place photos and points; the largest of the reconstructions is kept."""
    work = folder / WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    steps = iter(followed(range(n), "placed"))
    next(steps, None)
    options = pycolmap.IncrementalPipelineOptions(random_seed=0)
    if n < 2 * options.min_model_size:
        options.min_model_size = 3
    try:
        callback = {"next_image_callback": lambda: next(steps, None)}
        given = (folder / DATABASE, images, work, options)
        found = _interruptible(pycolmap, partial(pycolmap.incremental_mapping, *given, **callback))
        if not found:
            fail(str(folder), "photos that overlap: each thing in three or more, from different places", "none that do")
        best = max(found.values(), key=lambda reconstruction: reconstruction.num_reg_images())
        model.mkdir(parents=True, exist_ok=True)
        best.write(model)
    finally:
        for _ in steps:
            pass
        shutil.rmtree(work, ignore_errors=True)


def _report(pycolmap: Any, folder: Path, model: Path, names: Sequence[str]) -> Report:
    reconstruction = pycolmap.Reconstruction(model)
    placed = {reconstruction.image(i).name for i in reconstruction.reg_image_ids()}
    others = {}
    if (folder / DATABASE).is_file():
        with pycolmap.Database.open(folder / DATABASE) as database:
            known = {image.name: image.image_id for image in database.read_all_images()}
            pairs, inliers = database.read_two_view_geometry_num_inliers()
            seen = Counter(i for pair, n in zip(pairs, inliers) if n for i in _ids(pycolmap, pair))
            for name in names:
                if name not in placed:
                    others[name] = _why(database, known.get(name), seen)
    return Report(
        str(model),
        len(names),
        [name for name in names if name in placed],
        others,
        reconstruction.num_points3D(),
        float(reconstruction.compute_mean_reprojection_error()),
    )


def _ids(pycolmap: Any, pair: Any) -> tuple[int, int]:
    """The images of a pair, which some versions of pycolmap give as one number."""
    return pycolmap.pair_id_to_image_pair(pair) if isinstance(pair, int) else tuple(pair)


def _why(database: Any, image_id: int | None, seen: Counter[int]) -> str:
    if image_id is None:
        return "could not be read"
    n = database.num_keypoints_for_image(image_id)
    if n < FEW_FEATURES:
        return "too few features (blurred, dark or plain)"
    if not seen[image_id]:
        return "shows nothing that another photo shows"
    return "too few common points with those that are placed"


def _interruptible(pycolmap: Any, work: Callable[..., T]) -> T:
    """Run a function of pycolmap's in a thread, and cancel it when this one is interrupted."""
    token = pycolmap.CancellationToken()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(cancellation_token=token))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    except BaseException:
        token.cancel()
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _quiet(pycolmap: Any) -> Iterator[None]:
    """Without the log of COLMAP but for errors."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.ERROR)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
