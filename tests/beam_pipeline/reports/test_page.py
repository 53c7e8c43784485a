import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.reports import page
from beam_pipeline.reports.page import safe_script

TEMPLATES = Path(page.__file__).with_name("templates")


@given(st.text())
def test_no_script_ends_early(source):
    assert "</script" not in safe_script(source + "</script" + source) and "<!--" not in safe_script(source + "<!--")


def test_only_what_could_end_a_script_is_escaped():
    assert safe_script("a < b;\r\nc </ d") == "a < b;\nc </ d"
    assert safe_script("'</script>' + '</SCRIPT' + '<!--'") == r"'<\/script>' + '<\/SCRIPT' + '<\!--'"


def test_scripts_make_text_nodes_and_no_markup():
    scripts = [path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.js")]
    markup = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc|Function\("
    )
    assert len(scripts) > 1 and re.findall(markup, "\n".join(scripts)) == []


def test_no_template_puts_in_a_text_unescaped():
    templates = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.html"))
    assert re.findall(r"\|\s*safe|autoescape|Markup", templates) == []
    assert page._environment().from_string("{{ text }}").render(text="<b>&'\"") == "&lt;b&gt;&amp;&#39;&#34;"
