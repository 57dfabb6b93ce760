"""Rebuild the sample corpus in `curation/sample` from a folder of upstream pictures.

The sample stands for what the tool meets in earnest, so it is not written by hand: img2dataset
itself downloads it, from a server on this host, with re-encoding off. What img2dataset records
about that stand-in server and about the clock is then replaced, so that every `url` is the
picture's public page and two runs give the same bytes.

`sources.csv`, beside this file, has one row per sample, in shard order:

* `name`: unique handle;
* `origin`: a file of the originals' folder, `poster:NAME` for one drawn by `render_posters.py`,
  `same:NAME` for an exact copy of an earlier row, `html` for an error page in place of a picture;
* `edit`: steps joined by `;`, each explained in `STEPS` or `FORMATS`; empty keeps the bytes;
* `shows`, `author`, `licence`, `source` (the collection), `url` (the public page), `caption`.

The originals come from the collections that `source` names; a JPEG XL original
is decoded to JPEG at quality 95 first. Votes and labels are made by hand and are not touched.

    python -m tests.tools.make_sample ORIGINALS
"""

import csv
import io
import json
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from img2dataset import download
from PIL import Image, ImageCms, ImageDraw, ImageFilter, ImageOps

from tests.tools.render_posters import POSTERS

TOOLS = Path(__file__).parent
SAMPLE = TOOLS.parents[1] / "curation" / "sample"
SHARDS = 2
COLUMNS = ["licence", "author", "source"]
PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>\n"
Row = dict[str, str]


def crop(image: Image.Image, box: str) -> Image.Image:
    left, top, right, bottom = map(int, box.split(":"))
    return image.crop((left, top, right, bottom))


def fit(image: Image.Image, side: str) -> Image.Image:
    copy = image.copy()
    copy.thumbnail((int(side), int(side)), Image.Resampling.LANCZOS)
    return copy


def enlarge(image: Image.Image, factor: str) -> Image.Image:
    return ImageOps.scale(image, float(factor), Image.Resampling.LANCZOS)


def blur(image: Image.Image, radius: str) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(float(radius)))


def letterbox(image: Image.Image, height: str) -> Image.Image:
    return ImageOps.expand(image, (0, int(height)), "black")


def frame(image: Image.Image, width: str) -> Image.Image:
    return ImageOps.expand(image, int(width), "white")


def oval(image: Image.Image, _: str) -> Image.Image:
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).ellipse((4, 4, image.width - 4, image.height - 4), fill=255)
    image.putalpha(mask.filter(ImageFilter.GaussianBlur(1)))
    return image


# What each step does to the picture, and what SOURCES.md says of it.
STEPS: dict[str, tuple[Callable[[Image.Image, str], Image.Image], str]] = {
    "crop": (crop, "cropped"),
    "fit": (fit, "resized to at most {} px"),
    "enlarge": (enlarge, "enlarged {} times"),
    "blur": (blur, "blurred (Gaussian, {} px)"),
    "letterbox": (letterbox, "black bars of {} px added above and below"),
    "frame": (frame, "white frame of {} px added"),
    "oval": (oval, "cut out to an oval on transparent ground"),
}
FORMATS = {
    "jpeg": "saved as JPEG",
    "webp": "saved as WebP",
    "png": "saved as PNG",
    "turned": "stored turned, with EXIF orientation 6",
    "icc": "sRGB profile embedded",
    "cut": "file cut off at {} of its length",
}


def steps(edit: str) -> dict[str, str]:
    return {name: value for name, _, value in (step.partition("=") for step in edit.split(";"))}


def edited(image: Image.Image, edit: str) -> bytes:
    """Apply the steps of `edit` in order and encode."""
    wanted = steps(edit)
    image = image.convert("L" if image.mode == "L" else "RGB")
    for name, value in wanted.items():
        if name in STEPS:
            image = STEPS[name][0](image, value)
    options: dict[str, object] = {}
    if "turned" in wanted:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6
        options["exif"] = exif
    if "icc" in wanted:
        profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        profile[24:36] = bytes((7, 232, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0))  # its date: the day varies
        options["icc_profile"] = bytes(profile)
    kind = next(name for name in ("jpeg", "webp", "png") if name in wanted)
    if kind != "png":
        options["quality"] = int(wanted[kind])
    buffer = io.BytesIO()
    image.save(buffer, kind, optimize=True, **options)
    data = buffer.getvalue()
    return data[: int(len(data) * float(wanted["cut"]))] if "cut" in wanted else data


class Quiet(SimpleHTTPRequestHandler):
    """Serve without a line on the terminal for every file."""

    def log_message(self, *_: object) -> None:
        return


def halves(rows: list[Row]) -> list[list[Row]]:
    size = -(-len(rows) // SHARDS)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def build(rows: list[Row], originals: Path) -> dict[str, bytes]:
    """Every sample's bytes, by name."""
    made: dict[str, bytes] = {}
    for row in rows:
        kind, _, name = row["origin"].partition(":")
        if kind == "html":
            data = PAGE
        elif kind == "same":
            data = made[name]
        elif kind == "poster":
            data = edited(POSTERS[name](originals).finished(), row["edit"])
        elif row["edit"]:
            data = edited(Image.open(originals / kind), row["edit"])
        else:
            data = (originals / kind).read_bytes()
        made[row["name"]] = data
    return made


def fetch(rows: list[Row], made: dict[str, bytes], scratch: Path) -> Path:
    """Let img2dataset download the samples; return the folder it wrote."""
    served, out, lists = scratch / "served", scratch / "out", scratch / "lists"
    served.mkdir()
    lists.mkdir()
    for row in rows:
        (served / row["name"]).write_bytes(made[row["name"]])
    handler = partial(Quiet, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}/"
        # One list per shard, not a small shard size: that would shorten img2dataset's keys.
        for place, half in enumerate(halves(rows)):
            table = pd.DataFrame(half)
            table.assign(local=root + table["name"]).to_parquet(lists / f"{place}.parquet")
        download(
            url_list=str(lists),
            input_format="parquet",
            url_col="local",
            caption_col="caption",
            save_additional_columns=COLUMNS,
            output_folder=str(out),
            output_format="webdataset",
            resize_mode="no",
            disable_all_reencoding=True,
            processes_count=1,
            thread_count=1,
            enable_wandb=False,
        )
        server.shutdown()
    return out


def tidy(shard: Path, public: dict[str, str], target: Path) -> None:
    """Copy one shard to `target` with public urls, members in key order and no clock readings."""

    def url(local: str) -> str:
        return public[local.rpartition("/")[2]]

    with tarfile.open(shard) as tar:
        members = {item.name: tar.extractfile(item) for item in tar.getmembers()}
        contents = {name: stream.read() for name, stream in members.items() if stream}
    with tarfile.open(target / shard.name, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(contents, key=lambda name: name.split(".")[0]):
            data = contents[name]
            if name.endswith(".json"):
                record = json.loads(data)
                data = json.dumps({**record, "url": url(record["url"])}, indent=4).encode()
            item = tarfile.TarInfo(name)
            item.size, item.mode = len(data), 0o444
            tar.addfile(item, io.BytesIO(data))
    table = pq.read_table(shard.with_suffix(".parquet")).sort_by("key")
    urls = pa.array([url(local) for local in table["url"].to_pylist()])
    table = table.set_column(table.schema.get_field_index("url"), "url", urls)
    pq.write_table(table, target / f"{shard.stem}.parquet")
    stats = json.loads((shard.parent / f"{shard.stem}_stats.json").read_text())
    stats |= {"start_time": 0.0, "end_time": 0.0, "duration": 0.0}
    (target / f"{shard.stem}_stats.json").write_text(json.dumps(stats, indent=4) + "\n")


def changes(row: Row) -> str:
    """What SOURCES.md says was done to the upstream file."""
    kind, _, name = row["origin"].partition(":")
    said = [f"exact copy of {name}"] if kind == "same" else []
    for step, value in steps(row["edit"]).items() if row["edit"] else ():
        said.append((STEPS[step][1] if step in STEPS else FORMATS[step]).format(value))
    return ", ".join(said) or "none"


def credit_table(rows: list[Row]) -> str:
    """The table of SOURCES.md."""
    lines = [
        "| key | name | shows | author | licence | source | changes |",
        "|---|---|---|---|---|---|---|",
    ]
    for shard, half in enumerate(halves(rows)):
        for place, row in enumerate(half):
            cells = [
                f"sample/{shard:05d}/{shard:05d}{place:04d}",
                row["name"],
                row["shows"],
            ]
            cells += [
                row["author"],
                row["licence"],
                f"{row['source']}: <{row['url']}>",
                changes(row),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(originals: Path) -> None:
    with (TOOLS / "sources.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    made = build(rows, originals)
    with tempfile.TemporaryDirectory() as scratch:
        out = fetch(rows, made, Path(scratch))
        for shard in sorted(out.glob("*.tar")):
            tidy(shard, {row["name"]: row["url"] for row in rows}, SAMPLE)
    notes = (TOOLS / "sample_licences.md").read_text(encoding="utf-8")
    (SAMPLE / "SOURCES.md").write_text(notes.replace("{table}", credit_table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
