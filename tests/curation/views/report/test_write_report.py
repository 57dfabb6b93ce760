"""The report: every fate is there and adds up, whatever stages have run, and nothing on the page is live or foreign."""

import base64
import io
import json
import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from curation.annotation.votes import import_votes
from curation.errors import StageError, UserError
from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.views.report import write_report
from curation.workspace import Workspace
from curation.workspace.files import write_table
from curation.workspace.schemas import CAPTIONS as CAPTIONS
from tests import bench

ALERT = "<script>alert(1)</script>"
HOSTILE = f'{ALERT}"><img src=x onerror=alert(2)></script><b>$x$</b>'
RIGHT_TO_LEFT = "gpj\u202egnp"
WHERE = {
    "size": "width >= 240",
    "sharp": "sharpness >= 5 and sharpness < 1e6 -- <b onclick=alert(3)>",
    "odd": f'"meta_{ALERT}" is null or "meta_{ALERT}" >= 0',
}


@dataclass
class Page(HTMLParser):
    """What the tests look at: elements with attributes, table rows, the visible text."""

    html: str
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._in: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("script", "style", "td", "th"):
            self._in.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._in and self._in[-1] == tag:
            self._in.pop()

    def handle_data(self, data: str) -> None:
        if self._in and self._in[-1] in ("script", "style"):
            return
        self.text += data
        if self._in:
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def figures(self) -> dict[str, Any]:
        found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', self.html, re.DOTALL)
        assert found
        return json.loads(found[1])

    def funnel(self) -> dict[str, int]:
        """Rows of the table of fates."""
        fates = ("all images", "failed", "gone", "dropped", "undecided", "duplicate", "kept")
        return {r[0]: int(r[2].replace(",", "")) for r in self.rows if len(r) == 5 and r[0].split(":")[0].split()[0] in
                {f.split()[0] for f in fates}}  # fmt: skip


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def write_captions(made: Recipe, shard: str) -> None:
    """Captions of a shard, hostile ones, as a captioning model might be made to write them."""
    workspace = Workspace(made.workspace)
    keys = [row["key"] for row in bench.rows(workspace.samples("c", shard))]
    rows = [
        {"key": key, "caption_en": HOSTILE if n % 2 else "x" * 10_000, "caption_zh": f"猫{RIGHT_TO_LEFT}",
         "translated": n % 2 == 0, "flags": ["<i>odd</i>" if n % 2 else "subjective"], "captioner": ALERT, "translator": "t", "attempts": 1,
         "prompt": ALERT, "tokens_in": 1000, "tokens_out": 50, "cost": 0.25}
        for n, key in enumerate(keys)
    ]  # fmt: skip
    rows[0] |= {"caption_en": None, "caption_zh": None, "translated": False, "flags": ["truncated"]}
    write_table(workspace.captions("c", shard), pa.Table.from_pylist(rows, schema=CAPTIONS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tars, and a plain folder of which a file has gone: every fate but undecided."""
    folder = tmp_path_factory.mktemp("report")
    three = bench.picture(3, (640, 480))
    first = {f"{n}.jpg": bench.encoded(bench.picture(n, (220 + 40 * n, 200))) for n in range(3)}
    first |= {"3.jpg": bench.encoded(three), "page.jpg": b"<html>not found</html>", "3.txt": HOSTILE.encode()}
    second = {"4.jpg": bench.encoded(bench.picture(4)), "4.json": f'{{"{ALERT}": 5}}'.encode()}
    second |= {f"{n}.jpg": bench.encoded(bench.picture(n, (400, 400))) for n in range(5, 7)}
    second |= {"copy.jpg": first["3.jpg"], "small.jpg": bench.encoded(three.resize((320, 240)), quality=70)}
    second |= {"cut.jpg": bench.encoded(bench.picture(9))[:4000], f"{HOSTILE}.jpg": bench.encoded(bench.picture(11))}
    second |= {f"{RIGHT_TO_LEFT}.jpg": bench.encoded(bench.picture(12))}
    bench.write_tar(folder / "raw" / "00000.tar", first)
    bench.write_tar(folder / "raw" / "00001.tar", second)
    (folder / "loose").mkdir()
    for n in (20, 21):
        (folder / "loose" / f"{n}.jpg").write_bytes(bench.encoded(bench.picture(n)))
    made = bench.recipe(folder, **values())
    bench.index(made)
    (folder / "loose" / "21.jpg").unlink()
    bench.index(made)
    four = next(r for r in bench.rows(folder / "work/samples/c/00001.parquet") if r["member"] == "4")
    (folder / "list.csv").write_text(f"key,sha256\n{ALERT},{four['sha256']}\n")
    bench.score(made)
    Selection(bench.opened(made)).write()
    write_captions(made, "00000")
    write_captions(made, "00001")
    votes = [("3", 5), ("2", 4)]
    lines = [f"c/00000/{key},{who},{level}" for key, level in votes for who in (ALERT, "b", "c")]
    (folder / "votes.csv").write_text("\n".join(["key,annotator,level", *lines]))
    import_votes(bench.opened(made), folder / "votes.csv")
    runs = [
        json.dumps({"stage": "score", "began": 1.8e9, "seconds": 2.5, "rows": 1000, "shards": 2, "done": 2,
                    "failed": {"x": 3}, "engine": "local", "workers": 2, "signal_seconds": {"photo": 3.2}}),
        json.dumps({"stage": ALERT, "began": "never", "seconds": float("nan"), "rows": -1, "signal_seconds": [1]}),
        json.dumps({"stage": "select"}), "[1]", '{"stage": "cap',
    ]  # fmt: skip
    Workspace(made.workspace).runs.parent.mkdir(exist_ok=True)
    Workspace(made.workspace).runs.write_text("\n".join(runs))
    return folder


def values(**changed: Any) -> dict[str, Any]:
    corpora = [{"name": "c", "path": "./raw"}, {"name": "loose", "path": "./loose", "format": "folder"}]
    return {"corpora": corpora, "select": {"where": WHERE, "dedup": {"near": 4, "against": "./list.csv"}}} | changed


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return read(write_report(bench.opened(bench.recipe(folder, **values()))))


def test_every_fate_is_there_and_the_counts_are_the_selections(folder: Path, page: Page) -> None:
    stored = json.loads((folder / "work/selection/funnel.json").read_text())["funnel"]
    found = page.funnel()
    assert found == {
        "all images": 15, "failed: not readable": 2, "gone from the source": 1, "dropped by size": 1,
        "dropped by sharp": 0, "dropped by odd": 0, "duplicate: listed": 1, "duplicate: exact": 1, "duplicate: near": 1, "kept": 8,
    }  # fmt: skip
    assert sum(found.values()) - found["all images"] == found["all images"] == stored["input"]
    assert (
        stored["failed"] == 3
        and stored["dropped"] == {"size": 1, "sharp": 0, "odd": 0}
        and stored["kept"] == found["kept"]
    )
    assert stored["duplicate"] == {"listed": 1, "exact": 1, "near": 1}
    bars = page.figures["funnel"]["data"][0]
    assert bars["x"] == list(found.values()) and bars["base"][1:-1] == [13, 12, 11, 11, 11, 10, 9, 8]


def test_thresholds_stand_where_the_recipe_puts_them(page: Page) -> None:
    assert [s["x0"] for s in page.figures["size-width"]["layout"]["shapes"]] == [240]
    sharp = page.figures["sharp-sharpness"]
    assert [s["x0"] for s in sharp["layout"]["shapes"]] == [5] and "lies far outside" in page.text
    assert {t["name"]: sum(t["y"]) for t in sharp["data"]} == {"passes": 11}
    by_size = {t["name"]: sum(t["y"]) for t in page.figures["size-width"]["data"]}
    assert by_size == {"passes": 11, "does not pass": 1}
    failing = next(t for t in page.figures["size-width"]["data"] if t["name"] == "does not pass")
    assert failing["x"][0] + failing["width"] / 2 <= 240


def test_pictures_are_whole_small_and_named(page: Page) -> None:
    images = page.all("img")
    assert len(images) > 20 and all(i["alt"] for i in images)
    for source in {str(i["src"]) for i in images}:
        head, _, data = source.partition(",")
        assert head == "data:image/jpeg;base64"
        assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 144
    assert "no picture" in page.text  # of the page and the cut file


def test_groups_say_how_near_the_copies_are(page: Page) -> None:
    assert re.search(r"\d of 64 bits differ", page.text)
    assert f"listed:{ALERT}" in page.text


def test_failures_captions_votes_and_timings_are_there(page: Page) -> None:
    for said in ("index: not_an_image, 1 image", "index: gone, 1 image", "photo: truncated, 1 image"):
        assert said in page.text
    assert "captions: truncated, 2 images" in page.text
    (asked,) = (r for r in page.rows if r[0].startswith(f"asked by {ALERT}"))
    captioned = int(asked[1])
    assert (
        f"took {1000 * captioned:,} tokens of input and {50 * captioned:,} of output, {0.25 * captioned:.2f} US dollars"
        in page.text
    )
    shares = {
        name: [int(n), share] for name, n, share in (r for r in page.rows if len(r) == 3 and "synthetic, " in r[0])
    }
    assert "An image that has but one of the two is trained with that." in page.text
    assert sum(n for n, _ in shares.values()) > 0 and set(shares) <= {"synthetic, en", "synthetic, zh"}
    assert "(10,000 characters)" in page.text and "not translated" in page.text
    assert ["Level 5", "1", "50.0 %"] in page.rows
    assert ["score", "2027-01-15 08:00", "2.5", "1,000", "400", "2 of 2", "3", "local × 2"] in page.rows
    assert ["2027-01-15 08:00", "photo", "3.2", "3.2"] in page.rows
    assert "All automatic stages have run" not in page.text and "curate caption RECIPE" in page.text


def test_hostile_texts_are_text(page: Page) -> None:
    assert ALERT in page.text and "⟨U+202E⟩" in page.text and "\u202e" not in page.html
    assert len(page.all("script")) == 3  # the data, Plotly, and what draws
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"b onclick", "i", "iframe", "object", "embed", "link rel", "form", "base"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert re.match(r"#[\w-]+$|data:,$", str(attributes.get("href", "#x")))
    assert f"odd-meta_{ALERT}" in page.figures and ALERT not in page.html
    assert "alert" not in json.dumps(list(page.figures.values()))  # Plotly's texts may hold a little HTML


def test_nothing_comes_from_outside(page: Page) -> None:
    without_plotly = re.sub(r"<script>.*?</script>", "", page.html, flags=re.DOTALL)
    assert not re.search(r"(src|href|action)\s*=\s*[\"']?\s*(https?:)?//|url\(|@import", without_plotly)
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; img-src data:;") and "http" not in str(policy)


def test_two_runs_give_the_same_page_but_for_the_time(folder: Path, page: Page) -> None:
    again = read(write_report(bench.opened(bench.recipe(folder, **values()))))
    dated = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.sub(dated, "", again.html) == re.sub(dated, "", page.html)


def test_a_recipe_changed_since_says_whose_numbers_these_are(folder: Path) -> None:
    looser = bench.recipe(folder, **values(select={"where": {"size": "width >= 200", "sharp": "sharpness >= 5"}}))
    found = read(write_report(bench.opened(looser)))
    assert "has changed since the last curate select, which kept 8 images" in " ".join(found.text.split())
    assert found.funnel()["undecided by sharp"] == 1 and "curate score RECIPE" in found.text
    assert sum(found.funnel().values()) == 2 * 15
    tighter = bench.recipe(folder, **values(select={"where": {"size": "width >= 2000"}}))
    assert read(write_report(bench.opened(tighter))).funnel()["kept"] == 0


def test_only_the_index_is_done(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder / "raw", tmp_path / "raw")
    made = bench.recipe(tmp_path, select={"where": {"size": "width >= 240", "sharp": "sharpness >= 5"}})
    bench.index(made)
    found = read(write_report(bench.opened(made)))
    assert found.funnel()["undecided by sharp"] == 11 and found.funnel()["kept"] == 0
    assert "To be run next: curate score RECIPE" in " ".join(found.text.split())
    assert "sharpness is not known for any image yet" in found.text and not found.all("dialog")


def test_rows_that_wait_for_the_hash_are_undecided_and_never_below_nothing(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder / "raw", tmp_path / "raw")
    made = bench.recipe(tmp_path, select={"dedup": {"near": 4}})
    bench.index(made)
    found = read(write_report(bench.opened(made))).funnel()
    assert found["undecided: duplicates"] == 12 and found["kept"] == 0


def test_a_recipe_without_predicates_and_signals(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"a.jpg": bench.encoded(bench.picture(1))})
    made = bench.recipe(tmp_path, signals={})
    bench.index(made)
    Selection(bench.opened(made)).write()
    found = read(write_report(bench.opened(made)))
    assert found.funnel() == {"all images": 1, "failed: not readable": 0, "gone from the source": 0, "kept": 1}


def test_an_empty_corpus_has_a_page_too(tmp_path: Path) -> None:
    bench.write_tar(tmp_path / "raw" / "00000.tar", {"notes.txt": b"no image here"})
    made = bench.recipe(tmp_path, select={"where": {"sharp": "sharpness >= 5"}})
    bench.index(made)
    assert read(write_report(bench.opened(made))).funnel()["all images"] == 0


def test_nothing_indexed_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match="curate index RECIPE"):
        write_report(bench.opened(bench.recipe(tmp_path)))


def test_a_folder_that_cannot_be_written_is_one_line(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "raw", tmp_path / "raw")
    made = bench.recipe(tmp_path)
    bench.index(made)
    (tmp_path / "work" / "report").write_text("in the way")
    with pytest.raises(StageError, match="cannot write .*index.html"):
        write_report(bench.opened(made))


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's package chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_a_word_or_a_request(folder: Path, page: Page, scheme: str) -> None:
    from playwright.sync_api import sync_playwright

    write_report(bench.opened(bench.recipe(folder, **values())))
    said: list[str] = []
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto((folder / "work/report/index.html").as_uri())
        shown.locator("summary").first.click()
        charts = len([a for a in page.all("div") if "data-figure" in a])
        shown.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= {charts}")
        line = shown.locator("[data-figure='size-width'] .shapelayer path").first.bounding_box()
        plot = shown.evaluate("""() => {
            const chart = document.querySelector("[data-figure='size-width']");
            const axis = chart._fullLayout.xaxis;
            return chart.getBoundingClientRect().left + axis._offset + axis.d2p(240);
        }""")
        assert line is not None and abs(line["x"] + line["width"] / 2 - plot) < 2
        broken = shown.evaluate("[...document.images].filter((i) => !i.complete || !i.naturalWidth).length")
        assert broken == 0
        for width in (1280, 400):
            shown.set_viewport_size({"width": width, "height": 900})
            shown.wait_for_function(f"document.documentElement.scrollWidth <= {width}")
        contrast = shown.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert contrast[0] != contrast[1]
        browser.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [(folder / "work/report/index.html").as_uri()]
