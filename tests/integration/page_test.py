"""The page in a real browser, on the real server with the shipped model. Screenshots go to PAGE_SCREENSHOTS, or a
temporary folder whose name is printed."""
import base64
import io
import os
import pathlib

import pytest
from page_support import Browser, Server, draw
from PIL import Image

NAMES = ["sun", "heart", "star", "tree", "house", "fish"]


def painted(name, order):
    """The drawing with its colour channels in another order: "bgr" makes a red heart blue."""
    channels = dict(zip("rgb", Image.open(io.BytesIO(draw(name))).split()))
    out = io.BytesIO()
    Image.merge("RGB", [channels[each] for each in order]).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    pictures = tmp_path_factory.mktemp("pictures")
    (pictures / "drawings").mkdir()
    for name in NAMES[1:]:  # of the sun there is no file
        (pictures / "drawings" / f"{name}.png").write_bytes(draw(name))
    running = Server(tmp_path_factory.mktemp("server"), "--http-pictures", str(pictures))
    for i, name in enumerate(NAMES):
        status, reply = running.form("upsert", [
            ("images[0].id", f"drawings/{name}.png"), ("images[0].content", draw(name)),
            ("images[0].metadata", '{"title": "a %s", "year": %d, "tags": ["drawing", "%s"]}' % (name, 2020 + i, name))])
        assert status == 200 and reply["results"][0]["status"]["code"] == 0, reply
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    folder = pathlib.Path(os.environ.get("PAGE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"screenshots: {folder}")
    return folder


@pytest.fixture(scope="module")
def chromium():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def page(chromium, server):
    """The page, freshly loaded; at the end it must not have complained in its console."""
    chromium.open("about:blank")
    chromium.console()
    chromium.open(server.url + "/")
    chromium.until(lambda: "imagesearchd" in chromium.text("#server"), "the page did not reach the server")
    yield chromium
    assert chromium.console() == []


def titles(page):
    return page.run("""return [...document.querySelectorAll(".card:not([hidden]) .title")].map((e) => e.title)""")


def wait_for_results(page, count):
    page.until(lambda: len(titles(page)) == count and not page.run("return document.body.matches('.busy')"),
               f"no {count} results: {page.text('#status')} {page.text('#error')} {page.text('#filter-error')}")


def search(page, text, count=len(NAMES)):
    page.clear("#text")
    page.type("#text", text + "{enter}")
    wait_for_results(page, count)


def test_a_text_finds_what_it_says(page, server, shots):
    search(page, "a red heart")
    assert titles(page)[0] == "drawings/heart.png"
    assert " pictures in " in page.text("#status") and page.text("#status").endswith(" ms")
    _, reply = server.call("search", {"query": {"terms": [{"text": "a red heart"}]}})
    assert titles(page) == [hit["id"] for hit in reply["hits"]]
    scores = [float(score) for score in page.texts(".score")]
    assert scores == sorted(scores, reverse=True)
    page.until(lambda: page.run("return [...document.querySelectorAll('.card img')].every((i) => i.naturalWidth)") and
               page.texts(".card .tile") == ["a sun"], "pictures of the server's folder are shown, a tile for the sun")
    page.screenshot(shots / "text.png")


def test_the_first_result_shows_within_100_ms_of_the_answer(page):
    search(page, "a tree")
    took = page.run_async("""
        const done = arguments[0];
        const real = window.fetch;
        window.fetch = async (...all) => {
          const reply = await real(...all);
          if (String(all[0]).endsWith("/search")) window.answered = performance.now();
          return reply;
        };
        document.getElementById("results").replaceChildren();
        new MutationObserver((_, self) => {
          self.disconnect();
          requestAnimationFrame(() => done(performance.now() - window.answered));
        }).observe(document.getElementById("results"), {childList: true});
        document.getElementById("search").requestSubmit();""")
    assert 0 <= took < 100


def test_a_dropped_picture_finds_itself(page, shots):
    page.drop("main", [("my fish.png", "image/png", draw("fish"))])
    wait_for_results(page, len(NAMES))
    assert titles(page)[0] == "drawings/fish.png"
    assert float(page.texts(".score")[0]) > 0.999
    assert page.texts("#terms .label") == ["my fish.png"]
    assert page.run("return document.querySelector('#terms img').naturalWidth") == 320
    page.screenshot(shots / "picture.png")


def test_terms_have_weights_and_signs(page):
    page.drop("main", [("fish.png", "image/png", draw("fish"))])
    wait_for_results(page, len(NAMES))
    page.drop("main", [("sun.png", "image/png", draw("sun"))])
    page.until(lambda: set(titles(page)[:2]) == {"drawings/fish.png", "drawings/sun.png"}, "both pictures count")
    slide = """const slider = document.querySelectorAll("#terms input")[0];
               slider.value = arguments[0];
               slider.dispatchEvent(new Event("input"));
               slider.dispatchEvent(new Event("change"));"""
    page.run(slide, "0.1")
    page.until(lambda: titles(page)[0] == "drawings/sun.png", "the weight counts")
    page.run(slide, "1.5")
    page.click("#terms li:nth-child(1) .sign")
    page.until(lambda: titles(page)[-1] == "drawings/fish.png", "a negative term pushes away")
    page.click("#terms li:nth-child(1) .remove")
    page.until(lambda: page.texts("#terms .label") == ["sun.png"], "the term is gone")


def test_a_text_becomes_a_term_and_another_is_added(page):
    page.type("#text", "sun")
    page.click("#add-term")
    wait_for_results(page, len(NAMES))
    assert page.texts("#terms .label") == ["sun"]
    search(page, "star")
    assert set(titles(page)[:2]) & {"drawings/sun.png", "drawings/star.png"}


def test_a_filter_completes_and_filters(page, shots):
    search(page, "a picture")
    page.type("#filter", "ye")
    page.until(lambda: page.texts("#filter-options li") == ["year"], "the field is offered")
    page.type("#filter", "{down}{enter}")
    page.until(lambda: ">=" in page.texts("#filter-options li"), "operators are offered")
    page.screenshot(shots / "filter.png")
    page.type("#filter", ">= 2024{escape}{enter}")
    wait_for_results(page, 2)
    assert set(titles(page)) == {"drawings/house.png", "drawings/fish.png"}
    page.clear("#filter")
    page.type("#filter", 'tags:"sun"{escape}{enter}')
    wait_for_results(page, 1)
    assert titles(page) == ["drawings/sun.png"]


def test_a_mistake_in_the_filter_is_shown_where_it_is(page, shots):
    page.type("#filter", "year >= 2020 AMD tags:1{escape}")
    page.type("#text", "sun{enter}")
    page.until(lambda: page.visible("#filter-error"), "the mistake is told")
    assert "column 14" in page.text("#filter-error") and "AMD" in page.text("#filter-error")
    assert page.run("return document.activeElement.id") == "filter"
    assert page.run("return document.activeElement.selectionStart") == 13
    assert titles(page) == []
    page.screenshot(shots / "mistake.png")


def test_more_and_less_like_this(page, shots):
    search(page, "a picture")
    page.run("""[...document.querySelectorAll(".card")].find((c) => c.querySelector(".title").title.includes("tree"))
                .querySelector(".more").click()""")
    page.until(lambda: titles(page) and titles(page)[0] == "drawings/tree.png", "more like the tree")
    page.run("""[...document.querySelectorAll(".card")].find((c) => c.querySelector(".title").title.includes("heart"))
                .querySelector(".less").click()""")
    page.until(lambda: page.texts("#terms .sign") == ["more", "less"], "both are terms")
    page.screenshot(shots / "more-less.png")


def test_details_show_metadata_and_filter_by_it(page, shots):
    search(page, "a house")
    page.run("""[...document.querySelectorAll(".card")].find((c) => c.querySelector(".title").title.includes("house"))
                .querySelector(".open").click()""")
    page.until(lambda: "SHA-256" in page.text("#details"), "details are complete")
    for text in ("drawings/house.png", "a house", "2024", "drawing"):
        assert text in page.text("#details")
    page.screenshot(shots / "details.png")
    page.run("""[...document.querySelectorAll("#details td button")]
                .find((b) => b.getAttribute("aria-label").includes("year")).click()""")
    wait_for_results(page, 1)
    assert page.run("return document.getElementById('filter').value") == "year = 2024"
    assert titles(page) == ["drawings/house.png"]


def test_a_bad_file_is_an_error_that_says_why(page, shots):
    page.drop("main", [("broken.png", "image/png", b"\x89PNG\r\n\x1a\n" + b"nothing of a picture" * 5)])
    page.until(lambda: page.visible("#error"), "the error is shown")
    assert page.text("#error").startswith("broken.png: ") and "PNG" in page.text("#error")
    assert titles(page) == []
    page.until(lambda: page.texts("#terms .kind") == ["Picture"], "no broken image is shown")
    assert page.run("return document.getElementById('error').getAttribute('role')") == "alert"
    page.screenshot(shots / "bad-file.png")


def test_uploads_are_stored_shown_and_folded(page, server, shots):
    page.click("#open-upload")
    page.drop("#upload .drop", [("good.png", "image/png", draw("star", 200)), ("bad.png", "image/png", b"junk")])
    page.type("#upload-metadata", '{"album": "uploads"')
    page.click("#upload-start")
    page.until(lambda: page.visible("#upload-error"), "bad metadata is told")
    page.type("#upload-metadata", "}")
    page.click("#upload-start")
    page.until(lambda: page.text("#upload-status") == "1 of 2 stored, 1 failed", "the upload ends")
    assert page.texts("#upload-failures strong") == ["bad.png"]
    page.screenshot(shots / "upload.png")
    page.run("document.getElementById('upload').close()")
    page.clear("#filter")
    page.type("#filter", 'album = "uploads"{escape}')
    search(page, "a star", 1)
    assert page.run("return document.querySelector('.card img').naturalWidth") == 200
    # The same bytes under another id are one card.
    server.form("upsert", [("images[0].id", "copy"), ("images[0].content", draw("star", 200)),
                           ("images[0].metadata", '{"album": "uploads"}')])
    page.type("#filter", "{escape}{enter}")
    page.until(lambda: page.texts(".copies") == ["+ 1 same"], "the copy is folded")
    _, reply = server.call("delete", {"filter": 'album = "uploads"'})
    assert reply["deleted"] == "2"


def test_keyboard_and_screen_reader(page):
    search(page, "a fish")
    page.run("document.activeElement.blur()")
    page.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true, cancelable: true}))")
    assert page.run("return document.activeElement.id") == "text"
    page.run("document.querySelector('.card .open').focus()")
    page.type(".card .open", "{right}")
    assert page.run("return document.activeElement.closest('.card') === document.querySelectorAll('.card')[1]")
    unnamed = page.run("""
        const named = (e) => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") ||
            e.textContent.trim() || (e.labels && e.labels.length) || e.alt;
        return [...document.querySelectorAll("button, input, select, textarea, [role=img]")]
            .filter((e) => !named(e)).map((e) => e.outerHTML);""")
    assert unnamed == []
    assert page.run("return document.getElementById('status').getAttribute('aria-live')") == "polite"


def test_dark_and_narrow(page, shots):
    search(page, "a sun")
    page.dark(True)
    page.screenshot(shots / "dark.png")
    page.resize(420, 900)
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
    page.screenshot(shots / "narrow.png")
    page.resize(1280, 900)
    page.dark(False)


def test_a_search_survives_a_reload(page, server):
    search(page, "a tree")
    page.open("about:blank")
    page.open(server.url + "/#q=a+tree&filter=year+%3E%3D+2023")
    wait_for_results(page, 3)
    assert titles(page)[0] == "drawings/tree.png"


@pytest.fixture(scope="module")
def album(server):
    """A collection that keeps its originals: each drawing in three colourings, and a copy of one."""
    server.call("create-collection", {"collection": {"name": "album", "keepOriginals": True}})
    for name in NAMES:
        for order in ("rgb", "bgr", "grb"):
            content = painted(name, order)
            copies = [f"{name}-{order}"] + (["heart-copy"] if (name, order) == ("heart", "rgb") else [])
            for id in copies:
                status, reply = server.form("upsert", [
                    ("collection", "album"), ("images[0].id", id), ("images[0].content", content),
                    ("images[0].metadata", '{"title": "%s", "kind": "%s", "inks": "%s"}' % (id, name, order))])
                assert status == 200 and reply["results"][0]["status"]["code"] == 0, reply
    return "album"


def choose(page, server, album):
    page.open("about:blank")
    page.open(f"{server.url}/#collection={album}")
    page.until(lambda: page.run("return document.getElementById('collection').value") == album, "the album is chosen")
    # The hash of luma takes the colourings of one drawing for one picture.
    page.run("document.getElementById('fold').value = 'SAME_BYTES'")


def test_kept_originals_are_shown_and_linked(page, server, album):
    choose(page, server, album)
    search(page, "a red heart", 18)  # 19 stored, the copy folded
    first = titles(page)[0]
    assert first.startswith("heart-")  # the model tells shapes better than colours
    page.until(lambda: page.run("return [...document.querySelectorAll('.card img')].every((i) => i.naturalWidth)"),
               "each card has its thumbnail")
    assert page.texts(".card .tile") == [] and page.texts(".copies") == ["+ 1 same"]
    page.click(".card .copies")
    page.until(lambda: len(titles(page)) == 19, "the copy is unfolded")
    page.click(".card .open")
    page.until(lambda: "Open the uploaded file" in page.text("#details"), "the original is linked")
    href = page.run("return document.querySelector('#details a').getAttribute('href')")
    order = "rgb" if first == "heart-copy" else first.removeprefix("heart-")
    assert server.get(href) == (200, painted("heart", order))


def test_one_of_each_varied_and_more(page, server, album):
    choose(page, server, album)
    search(page, "a heart", 18)
    page.run("const g = document.getElementById('group'); g.value = 'kind'; g.dispatchEvent(new Event('change'))")
    wait_for_results(page, len(NAMES))
    assert len({title.split("-")[0] for title in titles(page)}) == len(NAMES)
    page.run("const g = document.getElementById('group'); g.value = ''; g.dispatchEvent(new Event('change'))")
    wait_for_results(page, 18)
    plain = titles(page)
    page.click("#varied")
    page.until(lambda: titles(page) and titles(page) != plain, "variety has another order")
    assert titles(page)[0] == plain[0] and sorted(titles(page)) == sorted(plain)
    page.click("#varied")
    page.run("const l = document.getElementById('limit'); l.value = '12'; l.dispatchEvent(new Event('change'))")
    wait_for_results(page, 12)
    page.click("#more")
    wait_for_results(page, 18)
    assert titles(page) == plain and not page.visible("#more")


def test_a_pasted_picture_is_a_term(page):
    page.run("""
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([bytes], "", {type: "image/png"}));
        document.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));""",
             base64.b64encode(draw("house")).decode())
    wait_for_results(page, len(NAMES))
    assert titles(page)[0] == "drawings/house.png" and page.texts("#terms .label") == ["pasted picture"]


def test_the_picture_of_the_readme(page, server, album, shots):
    choose(page, server, album)
    page.type("#text", "a fish")
    page.drop("main", [("blue heart.png", "image/png", painted("heart", "bgr"))])
    page.until(lambda: titles(page), "hits")
    page.run("""[...document.querySelectorAll(".card")].find((c) => c.querySelector(".title").title.includes("tree"))
                .querySelector(".less").click()""")
    page.until(lambda: page.texts("#terms .sign") == ["more", "less"], "a negative term")
    wait_for_results(page, 18)
    page.until(lambda: page.run("return [...document.querySelectorAll('.card img')].every((i) => i.naturalWidth)"),
               "each card has its thumbnail")
    # What the text and the picture share comes first: a blue fish or heart.
    assert titles(page)[0] in ("fish-rgb", "heart-bgr") and not any("tree" in title for title in titles(page)[:6])
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.screenshot(shots / "page.png")
