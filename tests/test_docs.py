"""The documentation knows every verb, key, backend, parameter, reason and exit status that the code has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from curation.captions.base import captioners, translators
from curation.cli.app import app
from curation.cli.main import main
from curation.cli.presets import PRESETS
from curation.cli.terminal import INTERRUPTED
from curation.corpora.captions import CAPTION_NOTES
from curation.corpora.readers import GONE
from curation.models.plugin import Plugin
from curation.recipe.sections import Captions, Recipe
from curation.recipe.yaml_text import read_yaml
from curation.signals.base import signal_backends, signal_names
from curation.texts import CONTROLS
from curation.workspace.schemas import PRODUCT

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Returns the cells of the rows of all tables below a heading, without the head of each."""
    section = re.split(r"^#+ ", REFERENCE.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = section.splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("|") and not line.startswith("|---") and not after.startswith("|---")
    ]


def named(cell: str) -> set[str]:
    """Returns the names in backticks in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))


# --- Verbs and exit status --------------------------------------------------------------------------------------------


def verbs(command: Any, name: str = "") -> Iterator[str]:
    """Yields the names of all verbs: `index`, `annotate import` …"""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name
        return
    for word, subcommand in inner.items():
        yield from verbs(subcommand, f"{name} {word}".strip())


def test_every_verb() -> None:
    commands = {f"curate {verb}" for verb in verbs(typer.main.get_command(app))}
    assert commands == {next(iter(named(row[0]))) for row in table("Verbs")}
    for verb in commands:
        assert " ".join(verb.split()[:2]) in README, verb


def test_every_exit_status() -> None:
    """Compares with every exit status that the command line or a stage ends with, by number or by name."""
    assert main
    statuses = {0}
    for path in [*(ROOT / "curation" / "cli").glob("*.py"), *(ROOT / "pipelines").glob("*.py")]:
        for call in calls(path):
            if name_of(call) in ("stop", "Exit", "exit") and call.args:
                ends = [n.value for n in ast.walk(call.args[-1]) if isinstance(n, ast.Constant)]
                statuses |= {n for n in ends if type(n) is int}
    assert statuses | {INTERRUPTED} == {int(row[0]) for row in table("Exit status")}


# --- The recipe -------------------------------------------------------------------------------------------------------


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the sections that a field's type holds: itself, or those of a list, of a dict or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yields every key of a recipe with dots, and its field."""
    for field_name, info in model.model_fields.items():
        name = info.alias or field_name
        yield prefix + name, info
        for inner in models_in(info.annotation):
            if not (inner is Captions and prefix):  # caption_eval.captioners: documented to be as `captions` is
                yield from keys(inner, f"{prefix}{name}.")


def test_every_key_of_the_recipe_and_its_default() -> None:
    rows = {next(iter(named(row[0]))): row[1] for row in table("Recipe")}
    fields = dict(keys(Recipe))
    assert rows.keys() == fields.keys()
    for key, info in fields.items():
        default = "required" if info.is_required() else info.default
        if key in ("name", "captions.text_prompt") or isinstance(default, BaseModel):
            assert bool(rows[key]) is not isinstance(default, BaseModel), key
        elif default in (None, "", "required"):
            assert rows[key] == (default or "none"), key
        else:
            assert read_yaml(rows[key].strip("`")) == default, key


def test_every_preset_and_its_numbers() -> None:
    rows = {next(iter(named(row[0]))): row[1:] for row in table("Presets")}
    assert rows.keys() == PRESETS.keys()
    for name, preset in PRESETS.items():
        assert f"`{name}`" in README and rows[name][0] == str(preset.side)
        if preset.marks:
            wanted = [str(preset.marks[mark]) for mark in ("MIN_SIDE", "AREA_SAYS", "WATERMARK", "AESTHETIC")]
            assert rows[name][1:] == wanted


# --- Plug-ins ---------------------------------------------------------------------------------------------------------


def parameters(cls: type[Plugin]) -> set[str]:
    """Returns the names of a plug-in's parameters."""
    return cls.Params.model_fields.keys() - {"backend"}


def test_every_signal_and_backend_with_its_parameters() -> None:
    backends = {(n, b): parameters(cls) for n in signal_names() for b, cls in signal_backends(n).items()}
    rows = {(row[0].strip("`"), row[1].strip("`")): named(row[2]) for row in table("Signals")}
    assert rows.keys() == backends.keys()
    for backend, names in backends.items():
        assert names <= rows[backend], backend


def test_every_column_of_a_signal_stands_in_the_readme() -> None:
    for name in signal_names():
        for cls in signal_backends(name).values():
            for column in cls.columns:
                assert re.search(rf"\b{column}\b", README), f"{name}: {column}"


def test_every_captioner_and_translator_with_its_parameters() -> None:
    backends = {("captioner", name): parameters(cls) for name, cls in captioners().items()}
    backends |= {("translator", name): parameters(cls) for name, cls in translators().items()}
    rows = {(row[0], row[1].strip("`")): named(row[2]) for row in table("Captioners and translators")}
    assert rows.keys() == backends.keys()
    for backend, names in backends.items():
        assert names <= rows[backend], backend


def test_every_column_of_the_product() -> None:
    rows = table("The product")
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row[0])) == sorted(PRODUCT.names)


# --- Reasons ----------------------------------------------------------------------------------------------------------


def calls(path: Path) -> Iterator[ast.Call]:
    """Yields every call in a module."""
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    """Returns the name of the function or method that is called; empty if it has none."""
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def texts(node: ast.AST) -> Iterator[str]:
    """Yields the texts that an expression may evaluate to: both of `a if … else b`, and the start of an f-string."""
    if isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))
    elif isinstance(node, ast.JoinedStr):
        yield f"{node.values[0].value}…" if isinstance(node.values[0], ast.Constant) else ""
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def raised(*folders: str) -> set[str]:
    """Returns the reasons of errors of rows, and the words before the colon in errors of readers and of the index."""
    reasons: set[str] = set()
    for folder in folders:
        for path in (ROOT / "curation" / folder).rglob("*.py"):
            for call in calls(path):
                if name_of(call) in ("ImageError", "RowError") and call.args:
                    reasons |= set(texts(call.args[0]))
            if path.parts[-2] in ("readers", "corpora"):
                values = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
                reasons |= {m[1] for v in values if isinstance(v, str) and (m := re.match(r"([a-z_]+): ", v))}
    return reasons


def test_every_reason_for_which_a_row_fails() -> None:
    engine = (ROOT / "pipelines" / "engine.py").read_text()
    verdicts = {word for word in ("crashed", "timeout", "memory") if f'"{word}"' in engine}
    reasons = raised(".", "corpora", "scoring", "signals") | verdicts | {GONE, "StripError"}
    assert len(verdicts) == 3 and {"truncated", "duplicate_member", "needs_…"} <= reasons
    assert reasons == {next(iter(named(row[0]))) for row in table("Why a row fails")}


def test_every_note_on_an_original_caption() -> None:
    assert CAPTION_NOTES.keys() == {next(iter(named(row[0]))) for row in table("Original captions")}


def flagged() -> set[str]:
    """Returns the flags that the checks raise, and those of the passes for texts that nothing translates."""
    flags: set[str] = set()
    for call in calls(ROOT / "curation" / "captions" / "checks" / "check.py"):
        if name_of(call) == "append" and getattr(call.func, "value", None) is not None:
            flags |= set(texts(call.args[0]))
    from curation.captions.passes import NO_TRANSLATOR, UNTRANSLATED

    return flags | {"empty", NO_TRANSLATOR, UNTRANSLATED, CONTROLS}


def unanswered() -> set[str]:
    """Returns the reasons for which a backend gives no text."""
    from curation.captions.backends.cogvlm import LONG_PROMPT
    from curation.captions.sentences import NOT
    from curation.models.text.generation import OUT_OF_MEMORY

    words = {OUT_OF_MEMORY, LONG_PROMPT, *NOT.values()}
    for module in ("openai", "openai_answer"):
        for call in calls(ROOT / "curation" / "models" / "text" / f"{module}.py"):
            if name_of(call) == "Failure":
                words |= set(texts(call.args[0]))
    return words


def test_every_flag_of_a_caption_and_every_reason_for_none() -> None:
    rows = {next(iter(named(row[0]))) for row in table("What is wrong with a caption")}
    failures = {next(iter(named(row[0]))) for row in table("Why a row fails")}
    reasons = flagged() | unanswered()
    assert {"repetition", "digits_lost", "http_…", "content_filter"} <= reasons
    assert rows - failures == reasons - failures
    assert reasons <= rows | failures


# --- The tree ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/design.md", "docs/reference.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def first_sentence(path: Path) -> str:
    """Returns the start of a module's docstring, up to a full stop that a capital follows."""
    paragraph = " ".join(
        (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split()
    )
    sentence = re.match(r"(.+?[.])(?= [A-Z`]|$)", paragraph)
    return (sentence[1] if sentence else paragraph).replace("|", "\\|")


def test_the_design_has_a_line_for_every_module_and_it_is_what_the_module_says() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `((?:curation|pipelines|annotation_ui)/[^`]+)` \| (.*) \|$", text, re.MULTILINE))
    sentences = {
        str(path.relative_to(ROOT)): first_sentence(path)
        for room in ("curation", "pipelines", "annotation_ui")
        for path in (ROOT / room).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert listed == sentences
