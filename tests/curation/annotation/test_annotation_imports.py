"""What a web server imports starts quickly: neither DuckDB nor any model, and no room that reads images."""

import subprocess
import sys

import pytest

HEAVY = ("duckdb", "pandas", "scipy", "sklearn", "cv2", "torch", "curation.scoring", "curation.captions")


@pytest.mark.parametrize("module", ["agreement", "levels", "rating", "rating_table", "caption_eval.criteria"])
def test_what_the_voting_tool_imports_is_light(module: str) -> None:
    code = f"import sys, curation.annotation.{module}; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert f"curation.annotation.{module}" in loaded and not loaded & set(HEAVY)
