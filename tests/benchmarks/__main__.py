"""All figures, each beside its physical floor: `python -m tests.benchmarks [NAME …]`."""

import argparse

from tests.benchmarks.report import HEAD, in_fresh_process

MODULES = (
    "startup",
    "index_photo",
    "faces",
    "ocr",
    "select",
    "dedup",
    "cosine",
    "kmeans",
    "report_page",
    "tune",
    "placing",
    "listing",
    "ray_against_local",
)


def main() -> None:
    """Runs the benchmarks one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MODULES, []], metavar="NAME", help=", ".join(MODULES))
    names = parser.parse_args().names or MODULES
    print(HEAD, flush=True)
    for name in names:
        in_fresh_process(f"tests.benchmarks.{name}")


if __name__ == "__main__":
    main()
