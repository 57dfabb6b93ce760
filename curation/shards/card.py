"""The dataset card: a `README.md` with the Hugging Face hub's metadata block, written from the product's counts."""

import json
import re
from collections import Counter
from typing import Any

from curation.annotation.levels import read_levels
from curation.annotation.majority import STATUSES
from curation.captions.crew import crew_of
from curation.counts import counted
from curation.models.plugin import Plugin
from curation.printing import plain
from curation.recipe import Recipe
from curation.recipe.yaml_text import write_yaml
from curation.scoring.opened import Opened
from curation.selection.funnel import Funnel
from curation.shards.stats import ProductStats
from curation.workspace import Workspace
from curation.workspace.files import write_text

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
_PHASES = {
    "concept": "every image that passed the filters: the broad first phase of training",
    "quality": "images that annotators put at Level 5: the short second phase",
}
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|!~&$@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""Characters by which a text can be markup; an underscore within a word cannot."""


def write_card(opened: Opened, phase: str, stats: ProductStats) -> None:
    """Writes the card of one phase.

    Args:
        opened: the opened recipe.
        phase: `concept` or `quality`.
        stats: the counts of the product.
    """
    recipe, workspace = opened.recipe, opened.workspace
    title = recipe.card.pretty_name or recipe.name
    header = {  # in the order in which the hub's own library writes them
        "language": ["zh", "en"],
        "license": recipe.card.license,
        "size_categories": [_size(stats["images"])],
        "task_categories": ["text-to-image"],
        "pretty_name": f"{title} ({phase} phase)",
        "configs": [{"config_name": "default", "data_files": "*.tar"}],
    }
    body = "\n\n".join(
        part
        for part in (
            f"# {title}: {phase} phase",
            recipe.card.description,
            f"{counted(stats['images'], 'images')} in {counted(stats['shards'], 'shards')}, {_PHASES[phase]}. "
            "Images with a Chinese or English text, as a bilingual text-to-image model is trained on.",
            _files(),
            _funnel(workspace, stats),
            _captions(opened, stats),
            votes_section(workspace),
            _pictures(stats),
            _signals(opened),
            _limits(recipe),
        )
        if part
    )
    block = write_yaml(header)
    write_text(workspace.product(phase) / "README.md", f"---\n{block}---\n\n{body}\n", workspace.scratch)


def _size(images: int) -> str:
    return next((name for limit, name in _SIZES if images < limit), "n>1B")


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    def line(cells: tuple[Any, ...]) -> str:
        return f"| {' | '.join(f'{c:,}' if isinstance(c, int) else _cell(c) for c in cells)} |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _cell(value: Any) -> str:
    return _code(value).replace("|", "\\|") if isinstance(value, _Sql) else _text(str(value))


def _text(text: str) -> str:
    """Returns a text from the web as Markdown that shows it as it is: no markup, no HTML, no link, and on one line.

    A character reference is never read as markup (CommonMark 0.31, section 2.5), nor in a cell of a table. The parts of
    an address by which GitHub makes it a link are replaced too (GFM 0.29, section 6.9).
    """
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", plain(" ".join(text.split())))


def _code(text: str) -> str:
    """Returns a text as a code span on one line, within more backticks than it holds itself."""
    text = plain(" ".join(text.split()))
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{marks}{space}{text}{space}{marks}"


class _Sql(str):
    """A cell with SQL of the recipe, which is shown as code."""


def _files() -> str:
    return (
        "## Files\n\n`NNNNNN.tar` is a webdataset shard: `.jpg`, `.png` or `.webp`, `.txt` (the one training text) "
        "and `.json` (everything known of the image) for each image. `NNNNNN.parquet` holds the same facts as a "
        "table; its column `icc` says whether a picture is in the colours of the profile that its file holds "
        "(`kept`) or was converted to sRGB (`converted`). `index.parquet` finds an image by its key, `stats.json` "
        "holds the counts of this page."
    )


def _funnel(workspace: Workspace, stats: ProductStats) -> str:
    if not workspace.funnel.exists():
        return ""
    notes = json.loads(workspace.funnel.read_text())
    funnel, where = Funnel(**notes["funnel"]), notes["where"]
    rows: list[tuple[Any, ...]] = [("raw images", "", funnel.input)]
    for kind, name, count, _left in funnel.steps():
        texts = {"failed": "unreadable", "duplicate": f"duplicates, {name}", "balance": "balanced away"}
        rule = {"dropped": where.get(name, ""), "balance": notes.get("balance")}.get(kind)
        if count or kind != "balance" or rule:
            rows.append((texts.get(kind, name), "" if rule is None else _Sql(rule), -count))
    rows.append(("kept", "", funnel.kept))
    rows += [(f"left out: {why.replace('_', ' ')}", "", -n) for why, n in stats.get("left_out", {}).items()]
    return "## How they were chosen\n\n" + _table(("step", "condition to pass", "images"), rows)


def _captions(opened: Opened, stats: ProductStats) -> str:
    recipe, total = opened.recipe, max(1, stats["images"])
    shares = [(f"{source} text", n, f"{100 * n / total:.1f} %") for source, n in stats["captions"].items()]
    shares += [(f"language: {name}", n, f"{100 * n / total:.1f} %") for name, n in stats["languages"].items()]
    translator = recipe.captions.translator
    writer = _code(str(recipe.captions.captioner.get("backend")))
    translated_by = _code(str(translator.get("backend")) if translator else "nobody")
    return (
        f"## Texts\n\nSynthetic captions by {writer} (English), translated by {translated_by}; "
        f"asked for: {recipe.captions.synthetic_share:.0%} synthetic. The choice is made by a hash of the key. "
        "A text that could not be translated truly is never used as Chinese.\n\n"
        + _table(("training text", "images", "share"), shares)
        + _flags(stats)
        + _models(opened)
    )


def _flags(stats: ProductStats) -> str:
    """Returns the table of flags that the checks raised for the captions of these images; empty if there are none."""
    rows = list(stats["flags"].items())
    return (
        "\n\nFound by the checks; whether such a caption may be trained with is the recipe's choice.\n\n"
        + _table(("flag", "images"), rows)
        if rows
        else ""
    )


def _models(opened: Opened) -> str:
    """Returns a list of the models that wrote and translated the captions, with their licences."""
    lines = []
    for role, backend in crew_of(opened).all.items():
        if description := backend.told:
            facts = f"{description}. {_licence(backend)}"
            lines.append(f"- {role.replace('_', ' ')} {_code(backend.name)}: {_text(facts)}")
    return "\n\nModels:\n\n" + "\n".join(lines) if lines else ""


def votes_section(workspace: Workspace) -> str:
    """Returns the card's section on votes: number of images by what their votes and decisions came to."""
    levels = read_levels(workspace)
    if not levels.num_rows:
        return "## Votes\n\nNobody has voted."
    outcomes = Counter(levels["level"].to_pylist()) + Counter(levels["status"].to_pylist())
    rows: list[tuple[Any, ...]] = [(f"Level {n}", outcomes[n]) for n in (5, 4, 3, 2, 1) if n in outcomes]
    rows += [(s.replace("_", " "), outcomes[s]) for s in STATUSES[1:] if s in outcomes]
    about = (
        "Five levels, by majority. Any vote for Level 1 holds the image back for a safety review; a tie stays a tie."
    )
    kinds = Counter(kind for kind in levels["decided_by"].to_pylist() if kind not in (None, "majority"))
    if kinds:
        each = ", ".join(f"{kind.replace('_', ' ')} {count:,}" for kind, count in sorted(kinds.items()))
        about += f" One person's decision stands above the votes: {each}."
    return f"## Votes\n\n{about}\n\n" + _table(("outcome", "images"), rows)


def _pictures(stats: ProductStats) -> str:
    parts = ["## Pictures"]
    if stats["buckets"]:
        parts.append(_table(("aspect bucket", "images"), list(stats["buckets"].items())[:12]))
    parts.append(
        _table(
            ("licence", "images"), [(k if k != "None" else "not stated", n) for k, n in stats["licenses"].items()][:20]
        )
    )
    return "\n\n".join(parts)


def _signals(opened: Opened) -> str:
    rows = [
        (
            name,
            signal.backend or "classical",
            signal.version,
            ", ".join(f"{f} {sha[:12]}" for f, sha in signal.digests().items()) or "none",
            _licence(signal) if signal.digests() else "",
        )
        for name, signal in opened.cascade.signals.items()
    ]
    if not rows:
        return ""
    return "## Scores\n\n" + _table(("signal", "backend", "version", "model files (sha256)", "licence"), rows)


def _licence(plugin: Plugin) -> str:
    """Returns the licences of a plug-in's models, as far as they are known here."""
    return "; ".join(plugin.licences) or "licence: as its publisher says"


def _limits(recipe: Recipe) -> str:
    notes = [*recipe.card.notes]
    if recipe.captions.captioner.get("backend") == "describe":
        notes.append(
            "The synthetic captions come from an offline describer that states only what was measured: shape, "
            "colours, brightness, number of faces, text. They are no substitute for a captioning model."
        )
    return "## Notes\n\n" + "\n".join(f"- {note}" for note in notes) if notes else ""
