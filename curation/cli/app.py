"""The typer applications with which the verbs are registered."""

import typer
from typer.core import TyperGroup

ORDER = (
    "demo", "init", "doctor", "index", "score", "select", "caption", "caption-eval", "annotate", "build-shards", "run",
    "status", "report", "tune", "query", "explain",
)  # fmt: skip
"""The verbs in the order of `curate --help`: that in which a new user needs them."""


class Verbs(TyperGroup):
    """The group of all verbs of `curate`, whichever module defines them."""

    def list_commands(self, ctx: object) -> list[str]:
        """Returns the names of the verbs in order; verbs that are not in ORDER come last."""
        return sorted(self.commands, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turns a raw corpus of web images into training data for a bilingual (Chinese/English) text-to-image "
    "model.\n\n"
    "Begin with `curate demo`, then `curate init my-set --images FOLDER` and `curate run my-set.yaml`.",
)
annotate = typer.Typer(no_args_is_help=True, help="Human votes.", rich_markup_mode=None)
app.add_typer(annotate, name="annotate")
caption_eval = typer.Typer(no_args_is_help=True, help="Captioners compared by people.", rich_markup_mode=None)
app.add_typer(caption_eval, name="caption-eval")
