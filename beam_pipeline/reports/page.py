"""Renders a self-contained HTML page: template, data as JSON, scripts, and a policy that forbids network access."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from beam_pipeline.reports.chart_library import chart_library
from beam_pipeline.runtime.text import utf8
from training import __version__
from training.text.plurals import counted

if TYPE_CHECKING:
    import jinja2

# Only the page's own scripts may run, so a file name could not run even if it got into the markup. Only pictures may be
# loaded, from the page itself or from files beside it.
_POLICY = (
    "default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src 'self' data: file:; "
    "base-uri 'none'; form-action 'none'"
)


def render(template: str, scripts: tuple[str, ...], **context: Any) -> bytes:
    """Template, scripts and values -> the page, as HTML in UTF-8.

    Args:
      template: file in `templates/`.
      scripts: files in `templates/` that run after the chart library, in this order.
      context: values for the template; those that it puts into JSON blocks must be JSON.
    """
    environment = _environment()
    library, own = safe_script(chart_library()), safe_script("\n".join(map(_source, scripts)))
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (library, own))
    page = environment.get_template(template).render(
        policy=_POLICY.format(hashes=hashes),
        style=Markup(_source("page.css")),
        library=Markup(library),
        script=Markup(own),
        version=__version__,
        **context,
    )
    return page.encode("utf-8", "backslashreplace")


@functools.lru_cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("beam_pipeline.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
    )
    # tojson also escapes <, >, & and ', so no text can end the element that holds it.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["counted"] = counted
    environment.filters["utf8"] = utf8
    return environment


def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader
    return environment.loader.get_source(environment, name)[0]


def safe_script(source: str) -> str:
    r"""JavaScript -> the same program for a script element, with `\/` in `</script` and `\!` in `<!--`."""
    return re.sub("<(?=/script|!--)", r"<\\", source.replace("\r\n", "\n"), flags=re.IGNORECASE)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
