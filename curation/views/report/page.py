"""Renders the page: a single HTML file that loads nothing from outside.

Names, captions and error texts may be hostile. The template engine escapes everything, and a content security policy
admits only the page's two scripts, by their hashes.
"""

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from curation.counts import counted
from curation.keys import well_formed
from curation.recipe.thresholds import number_text
from curation.views.report.histograms import number
from curation.views.report.wording import COLOURS, display_text, moment, share


def render(**values: Any) -> str:
    """Renders the template `page.html.jinja` with the given values; returns the HTML."""
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
        "display_text": display_text,
        "exact": number_text,
        "number": number,
        "percent": share,
        "count": "{:,}".format,
        "counted": counted,
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
    """Returns the content security policy: own pictures and scripts only; any style, since Plotly sets styles."""
    hashes = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {hashes}; "
        "base-uri 'none'; form-action 'none'"
    )


def _script(text: str) -> Markup:
    """Returns a script escaped for use between script tags."""
    return Markup(text.replace("</script", "<\\/script"))


def _hash(script: str) -> str:
    """Returns the hash of a script in the notation of content security policies."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
