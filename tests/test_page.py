"""Pages: who gets what, a camera for each browser, browsers that are idle, slow, hostile or gone; and a real one."""

from __future__ import annotations

import io
import json
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import browser
from PIL import Image
from web_client import UPGRADE, WebClient, ask

from tirender.cli import main
from tirender.scenes.base import Look, Scene
from tirender.scenes.controls import CONTROLS
from tirender.scenes.page import show_on_page
from tirender.scenes.viewer import PAN_MAX, Viewer
from tirender.vis.display import Event
from tirender.vis.orbit import ZOOM_RANGE, OrbitCamera
from tirender.vis.web import CLIENTS_MAX, EVENTS_MAX, FAR, NOTCHES, Board, Client, WebPage

PICTURE = np.full((64, 96, 3), [200, 100, 50], np.uint8)
NUMBER = "1" * 5000


class Compass(Scene):
    """A picture in the colour of the camera's place."""

    shaders = ("color", "depth")
    supersample = 1
    facts = "a compass"
    device = torch.device("cpu")

    def draw(self, cameras: Any, shader: str, look: Look) -> torch.Tensor:
        color = cameras.get_camera_center()[0] / 12 + 0.5
        return torch.cat([color.expand(1, *look.image_size, 3), torch.ones(1, *look.image_size, 1)], dim=3)

    def depth(self, cameras: Any, image_size: tuple[int, int]) -> torch.Tensor:
        return torch.full((1, *image_size), torch.inf)


@pytest.fixture
def page() -> Iterator[WebPage]:
    page = WebPage("a </script> title", CONTROLS, port=0)
    yield page
    page.close()


@pytest.fixture
def compass(page: WebPage) -> Iterator[WebPage]:
    """A page that shows a scene, until the test ends."""
    thread = threading.Thread(target=show_on_page, args=(page, lambda save: Viewer(Compass(), "compass", save)))
    thread.start()
    yield page
    page._events.append(Event("press", "q"))
    thread.join(30)
    assert not thread.is_alive()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + 30
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.01)
    return value


def client_of(page: WebPage) -> Client:
    """The one that has the page open."""
    (client,) = wait_for(lambda: [client for client in page.clients() if client.is_open], "a client")
    return client


def is_up(page: WebPage) -> bool:
    """Whether a new browser is served."""
    with WebClient(page.address, "another") as other:
        return bool(other.hear("facts")[0]["title"] == page.title)


def test_the_page_is_for_those_who_know_its_address(page: WebPage, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{16}/", page.address)
    assert page.address != page.guest_address
    root = page.address[: page.address.rindex("/", 0, -1) + 1]
    for address in (page.address, page.guest_address):
        for file in ("", "page.js", "page.css"):
            status, head, body = ask(address + file)
            assert status == 200
            assert "default-src 'none'" in head
            assert not re.search(rb"(src|href|url)\W{1,3}(http|//)", body)  # nothing from elsewhere
        for file in ("page.py", "web.py", "../page.html", "x/", "socket/"):
            assert ask(address + file)[0] == 404
    for path in ("", "guess/", "guess/page.js", "../etc/passwd", f"{NUMBER}/", "guess/socket"):
        assert ask(root + path, UPGRADE)[0] == 404
    assert page.address[7:].partition(":")[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8123"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_others_get_nothing(page: WebPage, headers: dict[str, str]) -> None:
    for path in ("", "page.js", "socket"):
        assert ask(page.address + path, {**UPGRADE, "Sec-WebSocket-Key": "A" * 22 + "==", **headers})[0] == 403


def test_names_of_this_machine_are_welcome(page: WebPage) -> None:
    port = page.address.split(":")[2].split("/")[0]
    for name in ("localhost", "127.0.0.1", "LOCALHOST", "192.168.1.20", "[::1]"):
        host = f"{name}:{port}"
        assert ask(page.address, {"Host": host, "Origin": f"http://{host}"})[0] == 200
    assert ask(page.address, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"})[0] == 200  # a link


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({}, "GET", 400),
        ({**UPGRADE}, "GET", 400),
        ({**UPGRADE, "Sec-WebSocket-Key": "no"}, "GET", 400),
        ({**UPGRADE, "Sec-WebSocket-Key": "A" * 22 + "==", "Sec-WebSocket-Version": NUMBER}, "GET", 426),
        ({"Content-Length": NUMBER}, "POST", 501),
        ({"Content-Length": NUMBER}, "GET", 400),
        ({"X": "x" * 100_000}, "GET", 431),
    ],
)
def test_bad_requests(page: WebPage, headers: dict[str, str], method: str, status: int) -> None:
    assert ask(page.address + "socket", headers, method)[0] == status
    assert is_up(page)


def test_each_browser_is_a_display_of_its_own(page: WebPage) -> None:
    with WebClient(page.address, size=(96, 64)) as browser:
        assert [control["label"] for control in browser.hear("facts")[0]["controls"]][-1] == "quit"
        client = client_of(page)
        wait_for(lambda: client.size == (64, 96), "its size")
        client.show(PICTURE)
        head, (jpeg,) = browser.hear("picture")
        assert head["facts"] == []
        picture = np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
        assert np.abs(picture - PICTURE).max() < 4
        for name in ("name.png", "another.png"):
            assert client.offer(PICTURE, name) == name
        head, (png,) = browser.hear("file")
        assert head["name"] == "name.png"
        assert browser.hear("file")[0]["name"] == "another.png"
        assert (np.asarray(Image.open(io.BytesIO(png))) == PICTURE).all()
        page.show_board(Board("fit", "facts", 3, 9, False, {"loss": ([0, 1], [1.0, 0.5])}, {"target": PICTURE}))
        head, (jpeg,) = browser.hear("board")
        assert (head["step"], head["captions"]) == (3, ["target"])
        browser.press("s")
        keys = wait_for(lambda: [event.key for event in client.events() if event.key != "fresh"], "events")
        assert keys == ["s", "s"]
    wait_for(lambda: not client.is_open, "the end")


def test_numbers_are_cut_off(page: WebPage) -> None:
    with WebClient(page.address, size=(10**9, 10**300)) as browser:
        client = client_of(page)
        wait_for(lambda: client.size != (512, 512), "its size")
        assert max(client.size) <= 8192
        browser.say(events=[{"kind": "scroll", "y": 1e6}, {"kind": "move", "x": -1e300, "y": 10**300}])
        scroll, move = wait_for(lambda: [event for event in client.events() if event.key != "fresh"], "events")
        assert scroll.y == NOTCHES
        assert (move.x, move.y) == (-FAR, FAR)
        browser.say(events=[{"kind": "move"}] * 3000)
        wait_for(lambda: len(client._events) == EVENTS_MAX, "no more than that")


BAD = [
    b"",
    b"{",
    b"5",
    b"null",
    b"[1]",
    b'"events"',
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"events": ' * 10_000,
    b'{"events": 5}',
    b'{"events": [5]}',
    b'{"events": [[]]}',
    b'{"events": ["press"]}',
    b'{"events": [{}]}',
    b'{"events": [{"kind": "explode"}]}',
    b'{"events": [{"kind": []}]}',
    b'{"events": [{"kind": "move", "x": NaN}]}',
    b'{"events": [{"kind": "move", "x": 1e999}]}',
    b'{"events": [{"kind": "move", "x": true}]}',
    b'{"events": [{"kind": "move", "x": "1"}]}',
    b'{"events": [{"kind": "scroll", "y": %s}]}' % (b"9" * 400),
    b'{"events": [{"kind": "scroll", "y": %s}]}' % NUMBER.encode(),
    b'{"got": 5}',
    b'{"got": [[]]}',
    b'{"size": 5, "density": 1}',
    b'{"size": [1], "density": 1}',
    b'{"size": [1, 2, 3], "density": 1}',
    b'{"size": [1, null], "density": 1}',
    b'{"size": [1, 2]}',
    b'{"size": [1, 2], "density": {}}',
]


def test_nonsense_ends_only_its_own_connection(page: WebPage, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    for message in BAD:
        with WebClient(page.address) as browser:
            browser.hear("facts")
            browser.send(message)
            assert browser.is_closed, message[:80]
    for message in (*BAD, b"{}", b'{"client": "x", "size": [0, 0]}'):
        with WebClient(page.address, "") as browser:  # as the first message
            browser.send(message)
            assert browser.is_closed, message[:80]
    assert is_up(page)
    assert capfd.readouterr() == ("", "")


def test_frames_that_break_the_rules(page: WebPage, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    for frame in (
        b"\x81\x02{}",  # no mask
        b"\xc1\x80\0\0\0\0",  # an extension
        b"\x83\x80\0\0\0\0",  # an unknown kind
        b"\x81\xff" + b"\xff" * 8,  # far too long
        b"\x81\xfe\xff",  # cut off
        b"GET / HTTP/1.1\r\n\r\n",
    ):
        with WebClient(page.address) as browser:
            browser.hear("facts")
            browser.socket.sendall(frame)
            browser.socket.shutdown(1)
            assert browser.is_closed, frame
    with WebClient(page.address) as browser:
        browser.hear("facts")
        for _ in range(3):
            browser.send(b" " * 60_000, 0x01)  # a message in parts, which becomes too long
        assert browser.is_closed
    assert is_up(page)
    assert capfd.readouterr() == ("", "")


def test_hostile_numbers_leave_a_camera_in_order() -> None:
    chance = random.Random(0)
    viewer = Viewer(Compass())
    keys = ["mouse_left", "mouse_middle", "mouse_right", "shift", "control", *CONTROLS, "camera_9", "camera_-1", "ß"]
    keys.remove("p")
    for _ in range(3000):
        kind = chance.choice(["press", "release", "move", "scroll"])
        x, y = (chance.choice([0.0, 1e-30, -FAR, FAR, chance.uniform(-1, 1)]) for _ in "xy")
        viewer.handle([Event(kind, chance.choice(keys), x, y if kind != "scroll" else 2 * y)])  # type: ignore[arg-type]
        viewer.advance(0.1)
    assert viewer.render((8, 8)).isfinite().all()
    assert viewer.camera.target.abs().max() <= PAN_MAX
    first = OrbitCamera().distance
    assert ZOOM_RANGE[0] * first <= viewer.camera.distance <= ZOOM_RANGE[1] * first
    assert all(math.isfinite(part) for part in viewer.notes().camera or ())


def test_guests_look_around_only(compass: WebPage) -> None:
    with WebClient(compass.guest_address) as guest, WebClient(compass.address, "two") as owner:
        assert "quit" not in {control["label"] for control in guest.hear("facts")[0]["controls"]}
        guest.press("q", "escape")
        before = guest.hear("picture")[0]["camera"]
        guest.press("2")
        wait_for(lambda: guest.hear()[0].get("camera", before) != before, "another view")
        assert owner.hear("picture")[0]["camera"] == before  # a camera for each
        owner.press("q")
        owner.hear("end")


def test_one_is_idle_one_drags_and_one_vanishes(
    compass: WebPage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with WebClient(compass.address, "idle") as idle, WebClient(compass.address, "drags") as drags:
        idle.hear("picture")
        drags.hear("picture")
        for i in range(20):
            gone = WebClient(compass.address, f"gone {i}", (800, 600))
            gone.hear("facts")
            gone.vanish()
            drags.say(events=[{"kind": "press", "key": "mouse_left"}, {"kind": "move", "x": 0.01 * i}])
            drags.hear("picture")
        assert len(compass.clients()) <= CLIENTS_MAX
        seen = {client.is_open for client in compass.clients()}
        assert seen == {True, False}
        idle.press("2")
        assert idle.hear("picture")
    assert capfd.readouterr() == ("", "")


def test_one_that_reads_nothing_holds_nothing_up(page: WebPage) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    with WebClient(page.address) as browser:
        client = client_of(page)
        began = time.perf_counter()
        for _ in range(200):
            client.show(noise)
            client.offer(noise, "noise.png")
        assert time.perf_counter() - began < 1
        assert not client.is_ready
        assert len(client._waiting) <= 3  # the latest of each kind
        browser.press("s")
        wait_for(lambda: len(client._events) == 3, "what it says is heard")


def test_one_that_says_nothing_is_let_go(page: WebPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers pings stays, even if its user does nothing; a silent one has lost its network."""
    monkeypatch.setattr("tirender.vis.web.PING_SECONDS", 0.2)
    monkeypatch.setattr("tirender.vis.web_server.SILENCE_SECONDS", 1.0)
    with WebClient(page.address, "silent"), WebClient(page.address, "idle") as idle:
        wait_for(lambda: len(page.clients()) == 2, "both")
        threading.Thread(target=_answer_pings, args=(idle,), daemon=True).start()
        one, other = (page._clients[name, True] for name in ("silent", "idle"))
        wait_for(lambda: not one.is_open, "the silent one is let go")
        time.sleep(1.5)
        assert other.is_open


def _answer_pings(browser: WebClient) -> None:
    try:
        while True:
            browser.hear()
    except (EOFError, OSError, ValueError):
        pass


def test_a_full_page_is_never_full_for_its_owner(page: WebPage) -> None:
    guests = [WebClient(page.guest_address, f"guest {i}") for i in range(CLIENTS_MAX)]
    for guest in guests:
        guest.hear("facts")
    with WebClient(page.guest_address, "one more") as late:
        assert late.hear()[0]["kind"] == "full"
    with WebClient(page.address, "owner") as owner:
        owner.hear("facts")
    for guest in guests:
        guest.vanish()


def test_a_browser_that_comes_back_goes_on(compass: WebPage) -> None:
    with WebClient(compass.address) as browser:
        before = browser.hear("picture")[0]["camera"]
        browser.press("2")
        wait_for(lambda: browser.hear("picture")[0]["camera"] != before, "another view")
    with WebClient(compass.address) as browser:
        browser.hear("facts")
        camera = browser.hear("picture")[0]["camera"]
    (client,) = compass.clients()
    back = OrbitCamera(azimuth=0, elevation=0).cameras().get_full_projection_transform().get_matrix()
    np.testing.assert_allclose(camera, back.flatten(), atol=1e-4)
    assert client.is_owner


def test_ports_and_hosts(page: WebPage, capsys: pytest.CaptureFixture[str]) -> None:
    port = page.address.split(":")[2].split("/")[0]
    for arguments, message in [
        (["--port", port], f"--host, --port: expected a free address, got 127.0.0.1:{port} ("),
        (["--host", "no.such.host.invalid"], "--host: expected an address of this machine, got 'no.such.host.invalid'"),
    ]:
        assert main(["view", "creature", "--web", *arguments]) in (1, 2)
        assert message in capsys.readouterr().err
    other = WebPage("title", CONTROLS, host="0.0.0.0", port=0)
    other.close()
    assert "0.0.0.0: others on the network reach this page" in capsys.readouterr().err


def test_a_real_browser(compass: WebPage, tmp_path: Path) -> None:
    """A desktop and a phone: each turns, zooms and resizes; the picture is downloaded; quitting asks."""
    camera = "JSON.stringify(notes.camera)"
    with browser() as program:
        program.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page = program.open(compass.address, 1280, 800, 1.5)
        page.wait_for("document.querySelector('#status').hidden && picture.width == 1920", "a full picture")
        first = page.evaluate(camera)
        page.drag(600, 400, 100, 0)
        page.wait_for(f"{camera} != {json.dumps(first)}", "a turn")
        turned = page.evaluate(camera)
        page.mouse("Wheel", 600, 400, button="none", deltaX=0, deltaY=-300)
        page.wait_for(f"{camera} != {json.dumps(turned)}", "a zoom")
        page.resize(700, 500)
        page.wait_for("picture.width == 700 && picture.height == 500", "another size")
        page.key("p")
        wait_for((tmp_path / "tirender.png").exists, "a download")

        phone = program.open(compass.guest_address, 390, 844, 3, touch=True)
        phone.wait_for("picture.width == 1170", "a picture on the phone")
        assert phone.evaluate(camera) == first  # it has not moved
        before = phone.evaluate("Math.hypot(...notes.camera.slice(12, 15))")
        phone.fingers(((150, 300), (100, 300)), ((250, 300), (300, 300)))
        phone.wait_for(f"Math.hypot(...notes.camera.slice(12, 15)) < {before} - .1", "a pinch")
        assert phone.evaluate("!facts.controls.some(control => control.label == 'quit')")

        page.call("Page.bringToFront")
        page.key("q")
        page.wait_for("document.querySelector('dialog').open")
        page.evaluate("document.querySelector('dialog form button').click()")  # Cancel
        time.sleep(0.3)
        assert not page.evaluate("ended")
        page.key("q")
        page.wait_for("document.querySelector('dialog').open")
        page.evaluate("document.querySelector('dialog .strong').click()")
        page.wait_for("ended")
        phone.wait_for("ended")
    with Image.open(tmp_path / "tirender.png") as image:
        assert image.size == (700, 500)
