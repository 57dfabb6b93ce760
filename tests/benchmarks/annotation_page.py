"""The voting page: from the press of a key to the frame that shows the next picture, in Chromium, on a real server.

The floor is the press of a key that does nothing, up to the second frame after it. What Chromium itself counts, up to
the moment at which the frame is on the screen, comes in steps of 8 ms and begins at 16 ms.
"""

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from curation.selection.stage import Selection
from tests import bench
from tests.annotators import Server, invited
from tests.benchmarks.report import Figure, show

VOTES = 40
THINKING_MS = 500
"""Time between two votes, in which a person looks at the picture."""
MEASURE = """() => {
  const shown = () => document.querySelector(".viewer img")?.src;
  window.taken = {vote: [], nothing: [], presented: []};
  document.addEventListener("keydown", (event) => {
    const before = shown(), vote = event.key !== "x";
    const frame = () => requestAnimationFrame(() => {
      if (vote && shown() === before) frame();
      else requestAnimationFrame(() => window.taken[vote ? "vote" : "nothing"].push(performance.now() - event.timeStamp));
    });
    frame();
  }, true);
  new PerformanceObserver((list) => window.taken.presented.push(
    ...list.getEntries().filter((entry) => entry.name === "keydown").map((entry) => entry.duration),
  )).observe({type: "event", durationThreshold: 16});
}"""


def main() -> None:
    """Serves drawn pictures of twelve megapixels, votes on them, and prints the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures = {f"{n:03d}.jpg": bench.encoded(bench.picture(n, (4000, 3000))) for n in range(VOTES + 12)}
        bench.write_tar(folder / "raw" / "00000.tar", pictures)
        made = bench.recipe(folder)
        bench.index(made)
        bench.score(made)
        Selection(bench.opened(made)).write()
        server = Server(folder / "recipe.yaml").start()
        try:
            (token,) = invited(folder / "recipe.yaml", 1)
            taken = measure(f"http://127.0.0.1:{server.port}/#join={token}")
        finally:
            server.stop()
    votes = sorted(taken["vote"])
    presented = sorted([16.0] * (VOTES - len(taken["presented"])) + taken["presented"])
    what, floor = f"voting page, key to next picture, {VOTES} votes", statistics.median(taken["nothing"])
    show(
        [
            Figure(f"{what}, median", statistics.median(votes), "ms", floor, 50),
            Figure("the same, 95th percentile", votes[int(0.95 * VOTES)], "ms", floor, 50),
            Figure("the same, on the screen, median", statistics.median(presented), "ms", 16, 50),
            Figure("the same, on the screen, 95th percentile", presented[int(0.95 * VOTES)], "ms", 16, 50),
        ]
    )


def measure(address: str) -> dict[str, list[float]]:
    """Returns the milliseconds of votes, of a key that does nothing, and of votes until they are on the screen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page: Any = chromium.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(address)
        page.wait_for_selector(".viewer img", timeout=60_000)
        page.wait_for_timeout(4_000)  # the server makes the pictures of the next items for the first time
        page.evaluate(MEASURE)
        for _ in range(20):
            page.keyboard.press("x")
            page.wait_for_timeout(50)
        page.evaluate("() => { window.taken.presented = []; }")
        for vote in range(VOTES):
            page.keyboard.press(str(1 + vote % 5))
            page.wait_for_function("count => window.taken.vote.length === count", arg=vote + 1)
            page.wait_for_timeout(THINKING_MS)
        taken: dict[str, list[float]] = page.evaluate("() => window.taken")
        chromium.close()
    return taken


if __name__ == "__main__":
    main()
