"""The page in a real browser."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from caffe_lite import TRAIN
from caffe_lite.drawing.page import page_text
from caffe_lite.drawing.picture import picture_of
from caffe_lite.proto.prototxt import read_net

webdriver = pytest.importorskip("selenium.webdriver")

ROOT = Path(__file__).resolve().parents[2]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed")
CONTROL = "\ue009"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --window-size=1200,800"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, tmp_path):
    """Open the page of a net; after the test, check that the console has no message and nothing else was requested."""
    opened: list[str] = []

    def show(net: Path, rankdir: str = "TB") -> webdriver.Chrome:
        path = tmp_path / "net.html"
        path.write_text(page_text(picture_of(read_net(net), TRAIN), rankdir), encoding="utf-8")
        opened.append(path.as_uri())
        browser.get(opened[-1])
        return browser

    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    yield show
    assert browser.get_log("browser") == []
    requests = [
        entry["message"] for entry in browser.get_log("performance") if "Network.requestWill" in entry["message"]
    ]
    assert opened and len(requests) == len(opened)
    assert all(url in request for url, request in zip(opened, requests, strict=True))


@pytest.fixture
def lenet() -> Path:
    return ROOT / "configs" / "lenet" / "net.prototxt"


def element(browser, selector: str):
    return browser.find_element("css selector", selector)


def named(browser, name: str):
    """Find the layer of this name in the drawing."""
    return element(browser, f'.layer[aria-label^="{name},"]')


def panel(browser) -> str:
    return element(browser, "#panel").text


def press(browser, *keys: str) -> None:
    webdriver.ActionChains(browser).send_keys(*keys).perform()


def scale(browser) -> float:
    frame(browser)
    return browser.execute_script(
        "return new DOMMatrix(getComputedStyle(document.querySelector('#view svg')).transform).a"
    )


def frame(browser) -> None:
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))")


def visible(browser, layer) -> bool:
    frame(browser)
    view, box = element(browser, "#view").rect, layer.rect
    return view["x"] <= box["x"] + box["width"] / 2 <= view["x"] + view["width"] and (
        view["y"] <= box["y"] + box["height"] / 2 <= view["y"] + view["height"]
    )


def test_a_click_shows_what_is_known_of_a_layer(page):
    browser = page(ROOT / "configs" / "googlenet" / "net.prototxt")
    assert "13,378,280 parameters" in element(browser, "#totals").text
    named(browser, "conv1/7x7_s2").click()
    text = panel(browser)
    assert "64 x 3 x 7 x 7, 64" in text
    assert f"{64 * 147 + 64:,}" in text
    assert "32 x 64 x 112 x 112" in text
    assert "kernel_size: 7" in text
    assert browser.find_elements("css selector", ".wire.near")
    element(browser, "#panel button").click()  # from the layer that computes its bottom
    assert element(browser, "#panel h2").text == "images"


def test_keys_go_from_layer_to_layer(page, lenet):
    browser = page(lenet)
    press(browser, "\ue015")  # down
    assert element(browser, "#panel h2").text == "images"
    seen = []
    for _ in range(7):
        press(browser, "\ue015")
        seen.append(element(browser, "#panel h2").text)
        assert visible(browser, element(browser, ".chosen"))
    assert seen == ["conv1", "pool1", "conv2", "pool2", "ip1", "relu1", "ip2"]
    press(browser, "\ue013")  # up
    assert element(browser, "#panel h2").text == "relu1"
    press(browser, "\ue00c")  # Esc
    assert "Click a layer" in panel(browser)


def test_searching(page):
    browser = page(ROOT / "configs" / "resnet50" / "net.prototxt")
    press(browser, "/", "res5", " eltwise")
    assert element(browser, "#found").text == "3 found"
    assert element(browser, "#panel h2").text == "res5a"
    assert visible(browser, named(browser, "res5a"))
    press(browser, "\ue007")  # Enter
    assert element(browser, "#found").text == "2 of 3"
    assert element(browser, "#panel h2").text == "res5b"
    press(browser, "\ue00c")
    assert not browser.find_elements("css selector", ".match")
    press(browser, "/", "no such layer")
    assert element(browser, "#found").text == "0 found"


def test_zooming_and_moving(page, lenet):
    browser = page(lenet)
    before = scale(browser)
    press(browser, "+")
    assert scale(browser) == pytest.approx(1.25 * before)
    element(browser, "#zoom-out").click()
    assert scale(browser) == pytest.approx(before)
    layer = named(browser, "conv1")
    at = layer.rect
    webdriver.ActionChains(browser).drag_and_drop_by_offset(layer, 60, 40).perform()
    frame(browser)
    assert (layer.rect["x"] - at["x"], layer.rect["y"] - at["y"]) == pytest.approx((60, 40), abs=1)
    assert "Click a layer" in panel(browser)  # the drawing was moved, nothing was selected
    at, view = layer.rect, element(browser, "#view")
    origin = webdriver.common.actions.wheel_input.ScrollOrigin.from_element(view)
    webdriver.ActionChains(browser).scroll_from_origin(origin, 0, 50).perform()
    frame(browser)
    assert layer.rect["y"] - at["y"] == pytest.approx(-50, abs=1)
    webdriver.ActionChains(browser).key_down(CONTROL).scroll_from_origin(origin, 0, -90).key_up(CONTROL).perform()
    assert scale(browser) == pytest.approx(before * math.exp(0.3), rel=1e-3)
    press(browser, "0")
    drawing, view = element(browser, "#view svg").rect, element(browser, "#view").rect
    frame(browser)
    assert drawing["height"] <= view["height"] + 1


def test_the_dark_scheme(page, lenet):
    browser = page(lenet)
    colours = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours.append(element(browser, "body").value_of_css_property("background-color"))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert colours == ["rgba(255, 255, 255, 1)", "rgba(20, 24, 30, 1)"]


def test_names_are_no_markup(page, tmp_path):
    name = "</script><script>document.title = 1</script><img src=x>"
    net = tmp_path / "net.prototxt"
    shape = "input_param { shape { dim: 1 } }"
    net.write_text(f'name: "{name}"\nlayer {{ name: "{name}" type: "Input" top: "{name}" {shape} }}\n')
    browser = page(net)
    assert browser.title == f"{name}, TRAIN: 1 layer"
    element(browser, "#layer-0").click()
    assert element(browser, "#panel h2").text == name
    assert not browser.find_elements("css selector", "img")


def test_a_net_of_400_layers_stays_fluid(page, tmp_path):
    layers = ['layer { name: "x" type: "Input" top: "b0" input_param { shape { dim: 2 dim: 8 dim: 9 dim: 9 } } }']
    for n in range(133):
        window = "convolution_param { num_output: 8 kernel_size: 3 pad: 1 }"
        layers.append(f'layer {{ name: "conv{n}" type: "Convolution" bottom: "b{n}" top: "c{n}" {window} }}')
        layers.append(f'layer {{ name: "relu{n}" type: "ReLU" bottom: "c{n}" top: "c{n}" }}')
        layers.append(f'layer {{ name: "sum{n}" type: "Eltwise" bottom: "c{n}" bottom: "b{n}" top: "b{n + 1}" }}')
    (tmp_path / "net.prototxt").write_text("\n".join(layers))
    begin = time.perf_counter()
    browser = page(tmp_path / "net.prototxt")
    loaded = time.perf_counter() - begin
    per_frame = browser.execute_async_script(
        """
        const done = arguments[0];
        const times = [];
        const step = (now) => {
          times.push(now);
          if (times.length > 60) return done((times.at(-1) - times[0]) / 60);
          if (times.length % 2) zoom(times.length % 4 === 1 ? 1.1 : 1 / 1.1); else move(3, -40);
          requestAnimationFrame(step);
        };
        requestAnimationFrame(step);
        """
    )
    print(f"400 layers: made and loaded in {loaded:.2f} s, {per_frame:.1f} ms a frame")
    assert per_frame < 500  # far above normal, for machines that are busy or have no GPU
