"""A real server over drawn pictures, and a real browser: what people do on the page is compared with the database."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from annotation_ui.database.tables import items
from curation.selection.stage import Selection
from tests import bench
from tests.annotators import Server, database_of
from tests.voting_page import Site, Visit, add_scored, task

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Votes on 140 drawn pictures, scores of captions and scores of groups of four pictures."""
    folder = tmp_path_factory.mktemp("voting")
    for shard in range(2):
        members = {f"{n:03d}.jpg": bench.encoded(bench.picture(70 * shard + n, (360, 270))) for n in range(69)}
        members["069.jpg"] = bench.encoded(bench.picture(1000 + shard, (2400, 1800)))
        bench.write_tar(folder / "raw" / f"{shard:05d}.tar", members)
    made = bench.recipe(folder)
    bench.index(made)
    bench.score(made)
    Selection(bench.opened(made)).write()
    tasks = folder / "tasks"
    tasks.mkdir()
    first, second = ("complete", "Completeness", "完整性", False), ("plain", "Subjectivity", "主观性", False)
    (tasks / "own_captions.yaml").write_text(task("own_captions", "captions", first, second))
    appeal, faith = ("appeal", "Appeal", "吸引力", False), ("faith", "Faithfulness", "一致性", True)
    (tasks / "own_rating.yaml").write_text(task("own_rating", "images", appeal, faith))
    server = Server(folder / "recipe.yaml", CURATE_TASKS=str(tasks)).start()
    found = Site(server, database_of(folder / "recipe.yaml"))
    found.until(lambda: found.ask(lambda c: c.execute(select(func.count()).select_from(items)).scalar_one()) == 3 * 140)
    numbers = [found.project(name) for name in ("levels", "own_captions", "own_rating")]
    found.database.write(lambda c: add_scored(c, *numbers))
    yield found
    found.database.close()
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Callable[..., Visit]]:
    """Opens the page for a person; afterwards: nothing went wrong in it, and it asked no other host."""
    visits: list[Visit] = []
    asked: list[str] = []

    def make(name: str, role: str = "annotator", project: str = "levels", **options: Any) -> Visit:
        link = site.link(name, role)
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 800}, "locale": "en-GB"} | options))
        page = context.new_page()
        page.set_default_timeout(20_000)
        made = Visit(context, page, [])
        visits.append(made)
        page.on("pageerror", lambda error: made.wrong.append(str(error)))
        page.on("dialog", lambda dialog: made.wrong.append(dialog.message))
        context.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda m: made.wrong.append(m.text) if m.type == "error" and "load" not in m.text else None)
        number = json.dumps(str(site.project(project)))
        page.add_init_script(f"sessionStorage.getItem('project') ?? sessionStorage.setItem('project', {number})")
        page.goto(link)
        made.settle()
        return made

    yield make
    for made in visits:
        made.context.close()
        assert made.wrong == []
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))}
    assert hosts <= {f"127.0.0.1:{site.server.port}"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests beside this file that open a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents and {"visit", "browser"} & set(item.fixturenames):  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium"))
