"""Shared by all tests: small pictures, tars, the bundled photos, and a corpus that img2dataset itself has fetched."""

import csv
import functools
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.cli.first_recipe import sample_folder
from tests.soak import SEED, SOAK

# Some machines ask Python to keep no bytecode; then each of the many processes started here would compile torch and
# transformers anew, which takes longer than all that it does afterwards.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ONE_AT_A_TIME = ("ray", "browser", "faults")
"""Marks of tests that would starve each other of the machine's cores; they run one after the other, all else beside."""


def pytest_report_header() -> str | None:
    """Returns the line of the report that tells how a soak can be repeated."""
    return f"to repeat it: CURATE_SEED={SEED} make soak" if SOAK else None


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups the tests of one file, which share fixtures, for one worker of xdist; the slowest groups come first."""
    groups = {
        item: "one at a time" if any(map(item.get_closest_marker, ONE_AT_A_TIME)) else item.nodeid.split("::")[0]
        for item in items
    }
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    slow = {groups[item] for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> tuple[bool, ...]:
        group = groups[item]
        no_ray = "no_ray" in item.fixturenames  # type: ignore[attr-defined]  # each would end the Ray of the others
        return group != "one at a time", group not in slow, not no_ray

    items.sort(key=rank)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Checks that xdist sees the groups.

    Else it would scatter the tests silently, as version 3.8 did with pytest 9.2.
    """
    if getattr(session.config.option, "loadgroup", False):
        assert all("@" in item.nodeid for item in session.items), "pytest-xdist does not see the groups"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    """Fails a test that lacks a Debian package, instead of skipping it, if CI=1 says that all are installed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "1" and "needs Debian's package" in str(report.longrepr):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Lets torch run on one thread, as in a worker."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def on_a_cpu() -> Iterator[None]:
    """Hides the GPUs: on a CPU numbers do not depend on the batch, so that answers can be compared to the letter."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@functools.cache
def encoded(seed: int = 0, format: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    """Returns a coloured cloud, different for each seed, as the bytes of an image file."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """Writes a tar of regular files, in this order, and returns its path."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(scope="session")
def image_bytes() -> Callable[..., bytes]:
    return encoded


@pytest.fixture(scope="session")
def make_tar() -> Callable[[Path, Iterable[tuple[str, bytes]]], Path]:
    return write_tar


@pytest.fixture(scope="session")
def sample_photos() -> dict[str, bytes]:
    """Returns the bundled pictures by name, without those that are broken on purpose."""
    with open(sample_folder() / "labels.csv", newline="", encoding="utf-8") as file:
        broken = {r["file"] for r in csv.DictReader(file) if (r["field"], r["value"]) == ("is_corrupt", "true")}
    photos = {}
    for path in sorted(sample_folder().glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                if info.name.endswith(".jpg") and info.name not in broken:
                    photos[info.name[:-4]] = tar.extractfile(info).read()
    return photos


@dataclass(frozen=True)
class Crawl:
    """The files of a local web server, and the folders of img2dataset's three outputs of it."""

    served: dict[str, bytes]
    rows: list[dict[str, Any]]
    folders: dict[str, Path]


_IMG2DATASET = """
import json, multiprocessing, sys
import img2dataset.distributor, img2dataset.logger
# Forked: spawned workers would each import everything again, which takes longer than all downloads.
img2dataset.distributor.get_context = lambda kind: multiprocessing.get_context("fork")
img2dataset.logger.LoggerProcess._Popen = staticmethod(multiprocessing.context.ForkProcess._Popen)
for options in json.loads(sys.argv[1]):
    img2dataset.download(**options)
"""


@pytest.fixture(scope="session")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawl]:
    """Lets img2dataset fetch eight images, a missing file and an HTML page, in each of its formats."""
    folder = tmp_path_factory.mktemp("crawl")
    kinds = ["JPEG", "PNG", "WEBP", "JPEG", "JPEG", "PNG", "JPEG", "GIF"]
    served = {f"/{i}.bin": encoded(i, kind, (60 + i, 50)) for i, kind in enumerate(kinds)}
    served["/page.jpg"] = b"<!DOCTYPE html><title>no image here</title>"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = served.get(self.path)
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    captions = ["a red cloud", "春茶节的海报", None, "", "Größe", "line one\nline two", "六", "seven"]
    rows = [
        {"url": f"{base}/{i}.bin", "caption": caption, "score": float("nan") if i == 3 else i / 2, "licence": f"cc-{i}"}
        for i, caption in enumerate(captions)
    ]
    rows.append({"url": f"{base}/missing.jpg", "caption": "gone", "score": 8.5, "licence": None})
    rows.append({"url": f"{base}/page.jpg", "caption": "a page", "score": 9.5, "licence": "none"})
    urls = folder / "urls.parquet"
    pq.write_table(pa.Table.from_pylist(rows), urls)
    folders = {kind: folder / kind for kind in ("webdataset", "parquet", "files")}
    options = [
        {
            "url_list": str(urls),
            "input_format": "parquet",
            "caption_col": "caption",
            "save_additional_columns": ["score", "licence"],
            "output_folder": str(path),
            "output_format": kind,
            "processes_count": 1,
            "thread_count": 4,
            "resize_mode": "no",
            "disable_all_reencoding": True,
        }
        for kind, path in folders.items()
    ]
    try:
        done = _img2dataset(options, folder)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr[-2000:]
    yield Crawl(served, rows, folders)


def _img2dataset(options: list[dict[str, Any]], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Runs img2dataset; it is begun anew if it hangs, as a process with threads that forks now and then does."""
    for attempt in range(3):
        try:
            return subprocess.run(
                [sys.executable, "-c", _IMG2DATASET, json.dumps(options)],
                env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"},
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=100,
            )
        except subprocess.TimeoutExpired:
            if attempt == 2:
                raise
            for option in options:
                shutil.rmtree(option["output_folder"], ignore_errors=True)
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """Starts a Ray of two CPUs in this process, one for all tests."""
    _start_ray()
    yield
    import ray

    ray.shutdown()


@pytest.fixture
def no_ray() -> Iterator[None]:
    """Ends this process's Ray during a test that starts one of its own or connects to one that does not exist."""
    import ray

    was_running = ray.is_initialized()
    ray.shutdown()
    yield
    ray.shutdown()
    if was_running:
        _start_ray()


def _start_ray() -> None:
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback alone
    import ray

    from pipelines.worker import ONE_THREAD

    root = Path(__file__).parents[1]
    environment = ONE_THREAD | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'pipelines'}"}
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
        object_store_memory=100_000_000, runtime_env={"env_vars": environment},
    )  # fmt: skip
