"""Hostile input for tests: files with faults, a process that may die of them, and checks of the outcome."""

import hashlib
import io
import multiprocessing
import resource
import shutil
import signal
import struct
import tarfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from PIL import Image

from curation.corpora.listing import list_sources, open_source
from curation.corpora.samples import known_shard
from curation.errors import StageError, UserError, reason_of
from curation.workspace import Workspace
from curation.workspace.ledger import Ledger
from tests import bench
from tests.soak import SOAK, rounds

REASONS = {"empty", "not_an_image", "truncated", "corrupt", "too_large", "unreadable", "duplicate_member", "bad_name"}
REASONS |= {"unsupported", "no_range", "heic", "jxl"}
MEMORY = 8 << 30
"""Bytes of address space that a child process may add to its initial ones; threads reserve much of it."""
SECONDS = 30
"""Seconds that one call in the child process may take."""


def fuzz(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns a decorator that feeds a test so many damaged files.

    They are always the same; in a soak there are more, and others for each seed.
    """
    with_settings = settings(
        max_examples=rounds(examples, 30 * examples),
        deadline=None,
        derandomize=not SOAK,
        phases=[Phase.explicit, Phase.generate],  # not to shrink: a call that hangs takes half a minute each time
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return lambda test: pytest.mark.slow(pytest.mark.soak(with_settings(test)))


fuzzed = fuzz(150)


def _limit() -> None:
    begun = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (begun + MEMORY, begun + MEMORY))


def _timed(function: Callable[..., Any], *args: Any) -> Any:
    signal.alarm(SECONDS)  # its default is to end the process
    try:
        return function(*args)
    finally:
        signal.alarm(0)


class Sandbox:
    """Calls functions in a process of little memory, which may die or hang without taking the tests with it."""

    def __init__(self) -> None:
        self.pool: ProcessPoolExecutor | None = None

    def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        self.pool = self.pool or ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _limit)
        try:
            return self.pool.submit(_timed, function, *args).result()
        except BrokenProcessPool:
            self.pool = None
            pytest.fail(f"{function.__name__}: the process crashed, or took more than {SECONDS} s")


@st.composite
def damaged(draw: st.DrawFn, wholes: st.SearchStrategy[bytes]) -> bytes:
    """Draws a good file with one to three faults: cuts, flipped bits, overwritten or lost runs, foreign parts."""
    data = bytearray(draw(wholes))
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1) | st.integers(0, min(64, len(data) - 1)) | st.just(len(data) - 1))
        run = draw(st.sampled_from([1, 4, 12, 100, 600]))
        fault = draw(st.sampled_from(["cut", "flip", "zero", "ones", "lost", "doubled", "header", "spliced"]))
        if fault == "cut":
            del data[at:]
        elif fault == "flip":
            for place in draw(st.lists(st.integers(at, min(at + run, len(data) - 1)), min_size=1, max_size=6)):
                data[place] ^= 1 << draw(st.integers(0, 7))
        elif fault in ("zero", "ones"):
            data[at : at + run] = (b"\0" if fault == "zero" else b"\xff") * len(data[at : at + run])
        elif fault == "lost":
            del data[at : at + run]
        elif fault == "doubled":
            data[at:at] = data[at : at + run]
        elif fault == "header":
            data[:run] = draw(wholes)[:run]
        else:
            data[at:] = draw(wholes)[at:]
    return bytes(data)


@cache
def pictures() -> list[bytes]:
    """Returns small good files of the formats that are common on the web."""
    plain, clear = bench.picture(1, (48, 36)), bench.picture(2, (40, 40)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((40, 40)))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        bench.encoded(plain, exif=exif.tobytes()),
        bench.encoded(bench.picture(3, (50, 30)), progressive=True, subsampling=0),
        bench.encoded(plain.convert("L")),
        bench.encoded(plain.convert("CMYK")),
        bench.encoded(plain, "PNG", exif=exif.tobytes()),
        bench.encoded(clear, "PNG"),
        bench.encoded(plain.quantize(16), "PNG"),
        bench.encoded(Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50), "PNG"),
        bench.encoded(plain, "WEBP", exif=exif.tobytes()),
        bench.encoded(clear, "WEBP", lossless=True),
        bench.encoded(plain, "WEBP", save_all=True, append_images=[clear.resize((48, 36))]),
        bench.encoded(plain, "GIF", save_all=True, append_images=[plain.rotate(90)]),
    ]


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    """Returns the file with numbers packed by `form` (see `struct`) at an offset in bytes."""
    return data[:at] + struct.pack(form, *values) + data[at + struct.calcsize(form) :]


@cache
def tar_bytes(format: int) -> bytes:
    """Returns a tar of three pictures with texts and JSON, one of which has a long and foreign name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for n, name in enumerate(["a", "图" * 50 + "/b", "c"]):
            for ending, data in (("jpg", pictures()[n]), ("txt", b"text"), ("json", b'{"url": "http://x/", "n": 1}')):
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def indexed(raw: Path, format: str) -> dict[str, Any]:
    """Indexes a corpus anew; returns its rows, its damage, or the error that ended it, and keys with other bytes."""
    folder = raw.parent
    shutil.rmtree(folder / "work", ignore_errors=True)
    made = bench.recipe(folder, corpora=[{"name": "c", "path": f"./{raw.name}", "format": format}])
    try:
        bench.index(made)
    except (UserError, StageError) as error:
        return {"rows": [], "damage": None, "error": str(error), "other": [], "notes": {"rows": 0, "failed": 0}}
    samples = Workspace(made.workspace).samples("c", "00000")
    rows = bench.rows(samples)
    (source,) = list_sources(made.corpora[0]).sources
    source = open_source(made.corpora[0], source.shard, source.path, source.members)
    other = []
    for row in rows:
        if row["status"] == "ok":
            try:
                data = source.read(row["member"], row["offset"], row["length"])
            except OSError as error:
                data = str(error).encode()
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                other.append(row["key"])
    notes = known_shard(Workspace(made.workspace), Ledger(Workspace(made.workspace), "index"), "c", "00000")
    assert notes is not None
    return {"rows": rows, "damage": notes["damage"], "error": None, "other": other, "notes": notes}


def check_indexed(ended: dict[str, Any], name: str) -> None:
    """Asserts that nothing is lost silently: statuses, reasons, keys, counts and bytes of a result of `indexed`.

    Args:
        ended: the result of `indexed`.
        name: a text that an error must hold, such as the file's name.
    """
    assert ended["other"] == []
    if ended["error"]:
        assert "\n" not in ended["error"] and (name in ended["error"] or "no column of image bytes" in ended["error"])
    rows = ended["rows"]
    assert len(rows) == ended["notes"]["rows"]
    assert sum(row["status"] == "failed" for row in rows) == ended["notes"]["failed"]
    for row in rows:
        assert row["status"] in ("ok", "failed")
        assert (row["error"] is None) == (row["status"] == "ok")
        assert row["error"] is None or (reason_of(row["error"]) in REASONS and "\n" not in row["error"])
    keys = [row["key"] for row in rows if row["status"] == "ok"]
    assert len(set(keys)) == len(keys)
    assert ended["damage"] is None or (ended["damage"] and "\n" not in ended["damage"])


def emptied_folder(raw: Path) -> Path:
    """Deletes all that a folder holds, and returns the folder."""
    shutil.rmtree(raw)
    raw.mkdir()
    return raw
