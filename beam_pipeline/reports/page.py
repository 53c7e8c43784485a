"""One self-contained HTML page: template, data as JSON, scripts, and a policy that forbids the page any network."""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import Any

from markupsafe import Markup

from beam_pipeline.reports.chart_library import chart_library
from beam_pipeline.runtime.text import utf8
from training import __version__

# Nothing but the page's own scripts may run, so a file name could not run even if it got into the markup, and nothing
# but pictures may be loaded: from the page itself or from files beside it.
_POLICY = (
    "default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src 'self' data: file:; "
    "base-uri 'none'; form-action 'none'"
)


def render(template: str, scripts: tuple[str, ...], **context: Any) -> bytes:
    """Template -> page in UTF-8.

    Args:
      template: file in `templates/`.
      scripts: files in `templates/` that run after the chart library, in this order.
      context: values for the template; what it puts into JSON blocks must be JSON.
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
def _environment():
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("beam_pipeline.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
    )
    # tojson writes <, >, & and ' as \u003c and the like, so that no text can end the element that holds it.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["number"] = lambda number: f"{number:,}"
    environment.filters["utf8"] = utf8
    return environment


def _source(name: str) -> str:
    environment = _environment()
    return environment.loader.get_source(environment, name)[0]


def safe_script(source: str) -> str:
    r"""JavaScript -> the same, without what would end a script element or hide its end; `\/` is / and `\!` is !."""
    return source.replace("\r\n", "\n").replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
