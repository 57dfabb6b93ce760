"""The page: one HTML file that asks for nothing from outside.

Names, captions and error texts may be hostile. Everything is escaped by the template engine; a content security
policy lets the two scripts of the page run, by their hashes, and nothing else.
"""

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from curation.keys import well_formed
from curation.recipe.thresholds import number_text
from curation.views.report.histograms import number
from curation.views.report.wording import COLOURS, moment, said, share


def render(**values: Any) -> str:
    """The page as text, of what the template `page.html.jinja` shows."""
    folder = resources.files("curation.views.report")
    plotly = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    scripts = [_script(plotly), _script((folder / "draw.js").read_text(encoding="utf-8"))]
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
    )
    environment.filters |= {
        "said": said,
        "exact": number_text,
        "number": number,
        "percent": share,
        "count": "{:,}".format,
        "moment": moment,
    }
    html = environment.get_template("page.html.jinja").render(
        **values,
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        scripts=scripts,
        colours=COLOURS,
        policy=_policy(scripts),
    )
    return well_formed(html.lstrip())


def _policy(scripts: list[Markup]) -> str:
    """What the page may do: show its own pictures, and run its own scripts. Plotly styles what it draws."""
    hashes = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; "
        "base-uri 'none'; form-action 'none'"
    )


def _script(text: str) -> Markup:
    """A script as it stands between its tags."""
    return Markup(text.replace("</script", "<\\/script"))


def _hash(script: str) -> str:
    """How a content security policy names a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
