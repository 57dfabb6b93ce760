"""All figures, each beside its physical floor: `python -m tests.benchmarks [NAME …]`."""

import argparse

from curation.errors import nearest
from tests.benchmarks.report import HEAD, in_fresh_process

MODULES = (
    "startup",
    "index_photo",
    "faces",
    "ocr",
    "embedding",
    "cascade",
    "captioning",
    "caption_checks",
    "cogvlm",
    "select",
    "build_plan",
    "dedup",
    "cosine",
    "kmeans",
    "level_model",
    "report_page",
    "tune",
    "annotation_load",
    "annotation_page",
    "levels",
    "annotation_export",
    "placing",
    "listing",
    "ray_against_local",
    "queue_simulator",
    "accuracy",
)


def main() -> None:
    """Runs the benchmarks one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MODULES)}; all of them if none is given")
    names = parser.parse_args().names or MODULES
    for name in names:
        if name not in MODULES:
            parser.error(f'there is no benchmark "{name}"{nearest(name, MODULES)}')
    print(HEAD, flush=True)
    for name in names:
        in_fresh_process(f"tests.benchmarks.{name}")


if __name__ == "__main__":
    main()
