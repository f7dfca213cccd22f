"""``tirender tour``: all sections at a tiny size, going on where it was interrupted, and its report."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tirender import datasets, tour
from tirender.cli import main
from tirender.commands.tour import DATA
from tirender.engine.hash_grid import HashGridLayout
from tirender.fields import HashGridConfig, HashGridField
from tirender.fit import ImageConfig, MeshConfig, NerfConfig, SilhouetteConfig, SplatConfig, VolumeConfig
from tirender.fit_kinds import KINDS
from tirender.tour import sections
from tirender.tour.config import NOT_SHOWN, TourConfig
from tirender.tour.data import DATA as KNOWN_DATA
from tirender.tour.data import find_data
from tirender.tour.results import Picture, load_result
from tirender.tour.run import run_tour


@dataclass(frozen=True)
class SmallNerf(NerfConfig):
    """A field of few numbers."""

    def make_field(self) -> torch.nn.Module:
        layout = HashGridLayout(n_levels=2, log2_rows=6, base_resolution=4, finest_resolution=8)
        return HashGridField(HashGridConfig(self.extent, layout, 8, self.n_pts_per_ray, grid_resolution=4))


TINY = TourConfig(
    picture_size=32,
    view_size=16,
    n_views=3,
    n_views_radiance=4,
    turntable_size=16,
    n_frames=3,
    cover_size=24,
    fits={
        "mesh": MeshConfig(steps=4, level=1, n_samples=50),
        "silhouette": SilhouetteConfig(steps=3, level=1),
        "images": ImageConfig(steps=3, level=1),
        "volume": VolumeConfig(steps=3, volume_size=8, n_pts_per_ray=10, views_per_step=2),
        "nerf": SmallNerf(steps=3, field="hashgrid", n_pts_per_ray=8, views_per_step=2, rays_per_view=20),
        "splats": SplatConfig(steps=3, n_random=50, degree=1, degree_every=1),
    },
)
FIGURES = {
    1: "Deform a source mesh to form a target mesh",
    2: "Predicted mesh of different iteration",
    3: "Training loss of each iteration",
    4: "Mesh texture: creature",
    5: "Render the mesh",
    6: "Batched rendering: creature",
    7: "Render the point cloud",
    8: "Dataset creation",
    9: "Silhouette training loss",
    10: "Predicted and target mesh",
    11: "Predicted and target mesh: training loss",
    12: "Predicted volume from different viewpoints",
    13: "Predicted NeRF from different viewpoints",
}
VOID = {"meta", "img", "br", "link", "input", "hr"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, needs_long_loops: None) -> Path:
    """The folder of a tour that is done."""
    folder = tmp_path_factory.mktemp("tour")
    assert run_tour(TINY, folder, say=lambda line: None) == folder / "report.html"
    return folder


class Page(HTMLParser):
    """What a page holds: pictures, captions, whatever it refers to; elements are closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.captions: list[str] = []
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        if tag == "figcaption":
            self.captions.append("")
        if "id" in values:
            assert values["id"] not in self.ids
            self.ids.add(values["id"])
        self.references += [values[name] for name in ("src", "href", "srcset", "poster", "data") if name in values]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "figcaption" in self.open:
            self.captions[-1] += data


@pytest.fixture(scope="module")
def page(done: Path) -> Page:
    return Page((done / "report.html").read_text("utf-8"))


def test_the_report_has_every_figure_in_order(page: Page) -> None:
    numbered = [caption for caption in page.captions if caption.startswith("Figure")]
    assert numbered == [f"Figure {number}: {caption}" for number, caption in FIGURES.items()]
    assert {f"figure{number}" for number in FIGURES} | {f"section{n}" for n in range(1, 8)} <= page.ids


def test_the_report_is_one_light_file_that_loads_nothing(done: Path, page: Page) -> None:
    text = (done / "report.html").read_text("utf-8")
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.images)
    links = [reference for reference in page.references if not reference.startswith("data:")]
    assert {link.removeprefix("#") for link in links} <= page.ids
    assert all(link.startswith("#") for link in links)
    assert not {"script", "link", "iframe", "object", "video", "audio", "style:import"} & set(page.tags)
    assert not re.search(r"https?:|@import|url\(", re.sub(r"data:[^\"]*", "", text))
    assert len(text) < 4e6


def test_pictures_can_be_seen_and_have_words_for_who_cannot(page: Page) -> None:
    assert len(page.images) >= 30
    animated = 0
    for image in page.images:
        assert len(image["alt"]) > 15
        with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as picture:
            assert (str(picture.width), str(picture.height)) == (image["width"], image["height"])
            animated += getattr(picture, "n_frames", 1) > 1
            pixels = np.asarray(picture.convert("RGB"))
        assert np.ptp(pixels) > 5, image["alt"]
    assert animated >= 6


def test_the_table_tells_of_every_work_and_the_machine(done: Path, page: Page) -> None:
    text = (done / "report.html").read_text("utf-8")
    work = {work.name: work for n in range(1, 8) for work in load_result(done / f"section{n}" / "result.json").work}
    assert list(work) == [
        "mesh",
        "render 22 pictures",
        "render 2 pictures",
        "silhouette",
        "images",
        "volume",
        "nerf",
        "splats",
    ]
    assert text.count("<tr>") == 1 + len(work)
    assert [fit.steps for fit in work.values()] == [4, 0, 0, 3, 3, 3, 3, 3]
    for fit in work.values():
        assert fit.seconds > 0
        assert fit.began_at == 0
        assert not fit.steps or (fit.losses["total"] > 0 and fit.quality)
    assert f"total {work['mesh'].losses['total']:.3g}" in text
    assert "<dt>torch</dt>" in text
    assert str(Path.home()) not in text


def test_what_is_done_is_not_done_again(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tour"
    shutil.copytree(done, folder)
    (folder / "section3" / "result.json").unlink()
    (folder / "report.html").unlink()
    lines: list[str] = []
    called = []
    for number, (title, section) in sections.SECTIONS.items():
        monkeypatch.setitem(sections.SECTIONS, number, (title, _noting(called, number, section)))
    run_tour(TINY, folder, say=lines.append)
    assert called == [3]
    assert sum(line.endswith(": done before") for line in lines) == 6
    assert Page((folder / "report.html").read_text("utf-8")).captions


def _broken(path: Path, how: str) -> None:
    """Make a result one that cannot be used."""
    facts = json.loads(path.read_text())
    if how == "half":
        path.write_bytes(path.read_bytes()[:100])
        return
    if how == "no UTF-8":
        path.write_bytes(b"\xff" + path.read_bytes())
        return
    if how == "deep":
        path.write_text("[" * 100_000)
        return
    {
        "a list": lambda: facts.update(figures=[1, 2]),
        "older": lambda: facts.pop("text"),
        "newer": lambda: facts.update(colour="red"),
        "a word for a number": lambda: facts["work"][0].update(seconds="<b>3</b>"),
        "no number": lambda: facts["work"][0].update(seconds=float("nan")),
        "a huge number": lambda: facts["work"][0].update(seconds=10**400),
        "of another section": lambda: facts.update(number=4),
        "absolute": lambda: facts["cover"].update(file=str(path.parent.parent.parent / "secret.png")),
        "above": lambda: facts["figures"][0]["pictures"][0].update(file="../secret.png"),
        "gone": lambda: facts["cover"].update(file="section3/gone.webp"),
        "zero byte": lambda: facts["cover"].update(file="a\0"),
    }[how]()
    path.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "how",
    ["half", "no UTF-8", "deep", "a list", "older", "newer", "a word for a number", "no number", "a huge number"]
    + ["of another section", "absolute", "above", "gone", "zero byte"],
)
def test_a_result_that_cannot_be_used_counts_as_not_done(done: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "tour"
    shutil.copytree(done / "section3", folder / "section3")
    shutil.copy(next(done.glob("section3/*.png")), tmp_path / "secret.png")
    path = folder / "section3" / "result.json"
    assert load_result(path) is not None
    _broken(path, how)
    with pytest.warns(UserWarning, match=rf"{re.escape(str(path))}: damaged, so that it counts as not done"):
        assert load_result(path) is None


def test_a_section_whose_result_is_damaged_is_done_again(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tour"
    shutil.copytree(done, folder)
    _broken(folder / "section3" / "result.json", "above")
    lines: list[str] = []
    with pytest.warns(UserWarning, match="counts as not done"):
        run_tour(TINY, folder, say=lines.append)
    assert sum(line.endswith(": done before") for line in lines) == 6
    assert load_result(folder / "section3" / "result.json") is not None
    assert len(Page((folder / "report.html").read_text("utf-8")).images) >= 30


def test_the_report_takes_no_pictures_from_elsewhere_and_no_damaged_ones(done: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tour"
    shutil.copytree(done / "section3", folder / "section3")
    shutil.copy(next(done.glob("section3/*.png")), tmp_path / "secret.png")
    result = load_result(folder / "section3" / "result.json")
    for file in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(ValueError, match="picture: expected a file in the tour's folder, got .*secret.png"):
            tour.write_report(folder, {3: replace(result, cover=Picture(file, "x"))}, folder / "report.html")
    (folder / result.cover.file).write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=rf"{re.escape(result.cover.file)}: expected an image file"):
        tour.write_report(folder, {3: result}, folder / "report.html")


def test_damaged_settings_are_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "tour.json").write_text('{"data": "crea')
    with pytest.raises(ValueError, match=r"tour\.json: expected the settings of a tour, got JSONDecodeError"):
        run_tour(TINY, tmp_path, only=[1])


def test_there_are_seven_sections(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"only: expected numbers of sections, 1 to 7, got \[8\]"):
        run_tour(TINY, tmp_path / "out", only=[8])
    assert not (tmp_path / "out").exists()


def _noting(called: list[int], number: int, section: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(stage: Any) -> Any:
        called.append(number)
        return section(stage)

    return call


def test_interrupted_it_keeps_what_is_done_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tour, "QUICK", replace(TINY, fits={**TINY.fits, "mesh": replace(TINY.fits["mesh"], steps=55)}))
    plot, figures = sections.vis.plot_pointcloud, []

    def interrupted(mesh: Any, title: str = "") -> None:
        figures.append(title)
        if title == "iter: 42" and figures.count(title) == 1:
            raise KeyboardInterrupt
        plot(mesh, title)

    monkeypatch.setattr("tirender.tour.stage.CHECKPOINT", 40)
    monkeypatch.setattr(sections.vis, "plot_pointcloud", interrupted)
    args = ["tour", "--quick", "--only", "1", "2", "-o", str(tmp_path / "out")]
    assert main(args) == 130
    assert "stopped; what is done is kept in" in capsys.readouterr().err
    assert "Not done yet: section 1, 2, 3, 4, 5, 6, 7." in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert main(args) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"{tmp_path / 'out' / 'report.html'}: open it in a browser\n")
    assert "[1/2] section 1, fit a mesh\n" in out
    (work,) = load_result(tmp_path / "out" / "section1" / "result.json").work
    assert (work.steps, work.began_at) == (55, 40)
    text = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "(since step 40)" in text
    assert "Not done yet: section 3, 4, 5, 6, 7." in text
    assert figures.count("iter: 14") == 1


def test_a_folder_of_another_tour_is_left_alone(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (done / "tour.json").read_bytes()
    assert main(["tour", "--quick", "-o", str(done)]) == 2
    assert "expected a new folder, or one of a tour with the same --quick and --data" in capsys.readouterr().err
    assert (done / "tour.json").read_bytes() == before


@pytest.mark.usefixtures("needs_long_loops")
def test_without_the_bridge_the_harbour_stands_in_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(name: str) -> Path:
        raise FileNotFoundError(f"{name}: the download failed")

    monkeypatch.delenv("TIRENDER_DATA", raising=False)
    monkeypatch.setattr(datasets, "_download", unavailable)
    with pytest.warns(UserWarning, match="bridge is not available.*download failed"):
        run_tour(TINY, tmp_path, "tutorials", [3], say=lambda line: None)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "The tutorial&#x27;s bridge is not available" in text
    assert json.loads((tmp_path / "tour.json").read_text())["data"] == "tutorials"
    with pytest.raises(FileNotFoundError, match=re.escape("cow_mesh/cow.obj")):
        find_data("tutorials", [2])


def test_the_tutorials_own_data(tutorial_data: Path, tmp_path: Path) -> None:
    run_tour(TINY, tmp_path, "tutorials", [1, 2], say=lambda line: None)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "those of the dolphin do" in text
    assert "Mesh texture: cow" in text


def test_the_settings_of_the_two_tours() -> None:
    assert DATA == KNOWN_DATA
    assert tour.FULL.view_size == 128
    assert tour.FULL.fits["nerf"].field == tour.QUICK.fits["nerf"].field == "hashgrid"
    shown = [name for name in KINDS if name not in NOT_SHOWN]
    assert [*tour.FULL.fits] == [*tour.QUICK.fits] == [*tour.TourConfig().fits] == shown
    for name in shown:
        assert tour.QUICK.fits[name].steps < tour.FULL.fits[name].steps


@pytest.mark.parametrize("args", [["--only", "8"], ["--data", "teapot"], ["--only"]])
def test_arguments_that_cannot_be_read(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["tour", *args])
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_report(done: Path, tmp_path: Path, width: int) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium: the report is not looked at in a browser")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
    ]
    picture = tmp_path / "report.png"
    options = [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1000", f"--screenshot={picture}"]
    url = (done / "report.html").as_uri()
    subprocess.run([browser, *flags, *options, url], check=True, capture_output=True, timeout=300)
    with Image.open(picture) as screenshot:
        pixels = np.asarray(screenshot.convert("RGB")).astype(int)
    assert pixels.shape == (1000, width, 3)
    background = pixels[-1, 0]
    assert (np.abs(pixels - background).max(-1) > 60).mean() > 0.02  # letters and pictures
    assert (pixels[:, -8:] == background).all()  # nothing beyond the margin
