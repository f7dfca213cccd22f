"""The steps of COLMAP, in a process of their own, which can be ended at any moment: ``python colmap_steps.py``.

It reads one object of JSON (see ``main``), and writes one a line: ``{"step": name, "total": n}`` when a step begins,
``{"done": n}`` as it goes on, and at the end ``{"result": ...}`` or ``{"error": ...}``. The database keeps what is
done. Neither tirender nor torch is imported here.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PHOTOS_AT_ONCE, PAIRS_AT_ONCE = 8, 64
FEW_FEATURES = 100
WORK = "sparse.partial"
Say = Callable[..., None]


class Refused(Exception):
    """What COLMAP cannot do with the photos."""


def main() -> None:
    """Find features, match them, place photos, and report.

    The object has ``database``, ``images``, ``model`` (paths), ``masks`` (a path or null), ``groups`` (of names of
    photos that share a lens), ``camera_model``, and ``pairs`` (of names).
    """
    job = json.load(sys.stdin)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what COLMAP prints

    def say(**what: Any) -> None:
        print(json.dumps(what), file=out, flush=True)

    try:
        for step in (extract, match, place):
            if not (Path(job["model"]) / "images.bin").is_file():
                step(job, say)
        say(result=report(job))
    except Refused as error:
        say(error=str(error))


def extract(job: dict[str, Any], say: Say) -> None:
    """Find features; photos of one group share a lens."""
    import pycolmap

    with pycolmap.Database.open(job["database"]) as database:
        known = {image.name: image for image in database.read_all_images()}
        found = {name for name, image in known.items() if database.exists_keypoints(image.image_id)}
    reader = pycolmap.ImageReaderOptions(camera_model=job["camera_model"])
    if job["masks"]:
        reader.mask_path = job["masks"]
    chunks = []
    for group in job["groups"]:
        missing = [name for name in group if name not in found]
        first = next((name for name in group if name in known), group[0])  # whose camera all share
        chunks += [(first, part) for part in _parts(missing, PHOTOS_AT_ONCE)]
    total, done = sum(len(part) for _, part in chunks), 0
    say(step="extract", total=total)
    for first, part in chunks:
        with pycolmap.Database.open(job["database"]) as database:
            image = database.read_image_with_name(first) if database.exists_image(first) else None
        reader.existing_camera_id = -1 if image is None else image.camera_id
        pycolmap.extract_features(job["database"], job["images"], part, pycolmap.CameraMode.SINGLE, reader)
        done += len(part)
        say(done=done)


def match(job: dict[str, Any], say: Say) -> None:
    """Match features of pairs; those that the database has are left out."""
    import pycolmap

    with pycolmap.Database.open(job["database"]) as database:
        known = {image.name: image.image_id for image in database.read_all_images()}
        missing = [
            pair
            for pair in job["pairs"]
            if set(pair) <= set(known) and not database.exists_two_view_geometry(*(known[name] for name in pair))
        ]
    total, done = len(missing), 0
    say(step="match", total=total)
    with tempfile.TemporaryDirectory() as work:
        listed = Path(work) / "pairs.txt"
        for part in _parts(missing, PAIRS_AT_ONCE):
            listed.write_text("".join(f"{a} {b}\n" for a, b in part), "utf-8")
            options = pycolmap.ImportedPairingOptions(match_list_path=listed)
            pycolmap.match_image_pairs(job["database"], pairing_options=options)
            done += len(part)
            say(done=done)


def place(job: dict[str, Any], say: Say) -> None:
    """Place photos and points; the largest of the reconstructions is kept."""
    import pycolmap

    n, steps = sum(map(len, job["groups"])), itertools.count(1)
    work = Path(job["database"]).parent / WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    say(step="place", total=n)
    options = pycolmap.IncrementalPipelineOptions(random_seed=0)
    if n < 2 * options.min_model_size:
        options.min_model_size = 3
    try:
        given: dict[str, Any] = {"next_image_callback": lambda: say(done=min(next(steps), n - 1))}
        found = pycolmap.incremental_mapping(job["database"], job["images"], work, options, **given)
        if not found:
            raise Refused("photos that overlap: each thing in three or more, from different places")
        best = max(found.values(), key=lambda reconstruction: reconstruction.num_reg_images())
        Path(job["model"]).mkdir(parents=True, exist_ok=True)
        best.write(job["model"])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def report(job: dict[str, Any]) -> dict[str, Any]:
    """Names of photos that were placed, reasons for the others, number of points, and mean error in pixels."""
    import pycolmap

    reconstruction = pycolmap.Reconstruction(job["model"])
    placed = {reconstruction.image(i).name for i in reconstruction.reg_image_ids()}
    others = {}
    with pycolmap.Database.open(job["database"]) as database:
        known = {image.name: image.image_id for image in database.read_all_images()}
        pairs, inliers = database.read_two_view_geometry_num_inliers()
        seen = Counter(i for pair, n in zip(pairs, inliers) if n for i in _ids(pycolmap, pair))
        for name in (name for group in job["groups"] for name in group if name not in placed):
            others[name] = _why(database, known.get(name), seen)
    error = float(reconstruction.compute_mean_reprojection_error())
    return {"placed": sorted(placed), "others": others, "n_points": reconstruction.num_points3D(), "error": error}


def _parts(items: Sequence[Any], size: int) -> list[Any]:
    return [items[i : i + size] for i in range(0, len(items), size)]


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


if __name__ == "__main__":
    main()
