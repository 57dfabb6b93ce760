"""The balance on the page: every group before and after, the largest first, and names that do no harm."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from curation.recipe import Recipe
from curation.selection.stage import Selection
from curation.views.report import write_report
from curation.views.report.balance import LARGEST, balance_of
from curation.views.report.fates import Fates
from curation.views.report.pictures import Gallery
from tests import bench

ALERT = "<script>alert(1)</script>"
GROUPS = {ALERT: 4, "cats\u202e": 3, None: 2, "dogs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures in two shards, of four groups."""
    folder = tmp_path_factory.mktemp("balance")
    names = [name for name, count in GROUPS.items() for _ in range(count)]
    for shard in range(2):
        members: dict[str, bytes] = {}
        for n in range(shard, 10, 2):
            members[f"{n}.jpg"] = bench.encoded(bench.picture(n, (300 + n, 300)))
            members[f"{n}.json"] = json.dumps({"group": names[n], "number": n}).encode()
        bench.write_tar(folder / "raw" / f"{shard:05d}.tar", members)
    made = recipe(folder)
    bench.index(made)
    bench.score(made)
    return folder


def recipe(folder: Path, **select: Any) -> Recipe:
    return bench.recipe(folder, select={"balance": {"by": "meta_group", "at_most": 2}} | select)


def rows(html: str) -> list[list[str]]:
    """The cells of every row of the section's tables."""
    section = html[html.index('<section id="balance">') :]
    section = section[: section.index("</section>")]
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", section)]
    return [[unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in found]


def test_each_group_is_told_before_and_after(folder: Path) -> None:
    html = write_report(bench.opened(recipe(folder))).read_text(encoding="utf-8")
    assert rows(html)[1:] == [
        [ALERT, "4", "2", "50.0 %"], ["cats⟨U+202E⟩", "3", "2", "66.7 %"], ["(none)", "2", "2", "100.0 %"], ["dogs", "1", "1", "100.0 %"],
    ]  # fmt: skip
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    stays, goes = figures["balance"]["data"]
    assert (stays["x"], goes["x"]) == ([2, 2, 2, 1], [2, 1, 0, 0])
    assert figures["balance"]["layout"]["yaxis"]["ticktext"][0] == "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert ALERT not in html and "by meta_group: at most 2 of each" in html
    assert html.count('href="#balance"') == 1 and "“(none)” are images" in html
    away = figures["funnel"]["data"][0]
    assert away["y"][-2:] == ["balanced away", "kept"] and away["x"][-2:] == [3, 7]


def test_pictures_are_of_those_that_stay(folder: Path) -> None:
    fates = Fates(Selection(bench.opened(recipe(folder))))
    made = balance_of(
        fates, Gallery(bench.opened(recipe(folder)), fates.selection.shards, fates.selection.files, fates.place)
    )
    assert made is not None
    for group in made.groups:
        assert len(group.pictures) == group.after
        assert all(fates.numbers[picture.index] == fates.kept for picture in group.pictures)
    assert (fates.numbers == fates.away).sum() == fates.funnel.balance == 3


def test_the_largest_are_shown_and_the_others_summed_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.views.report.balance.LARGEST", 2)
    html = write_report(bench.opened(recipe(folder))).read_text(encoding="utf-8")
    assert LARGEST == 30 and "4 groups, of which the 2 largest are shown" in html
    assert rows(html)[3] == ["2 more", "3", "3", "100.0 %"]
    assert rows(html)[5:] == [["before", "1", "3", "4"], ["after", "1", "2", "2"]]


def test_rows_that_wait_are_undecided(folder: Path) -> None:
    other = bench.recipe(
        folder,
        workspace="./unscored",
        select={"balance": {"by": "sharpness > 1", "at_most": 2}, "dedup": {"exact": False}},
    )
    bench.index(other)
    fates = Fates(Selection(bench.opened(other)))
    assert fates.funnel.undecided == {"balance": 10} and (fates.numbers == fates.ungrouped).all()
    html = write_report(bench.opened(other)).read_text(encoding="utf-8")
    assert "10 images without a signal that tells group or rank" in html and "undecided: balance" in html


def test_without_a_balance_there_is_no_section(folder: Path) -> None:
    html = write_report(bench.opened(recipe(folder, balance=None))).read_text(encoding="utf-8")
    assert 'id="balance"' not in html and "Balanced away" not in html and "balanced away" not in html


def test_where_nothing_is_left_there_are_no_groups(folder: Path) -> None:
    html = write_report(bench.opened(recipe(folder, where={"none": "width > 9999"}))).read_text(encoding="utf-8")
    assert "No image is left to be balanced" in html
