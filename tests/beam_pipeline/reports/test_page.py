from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.reports.page import safe_script


@given(st.text())
def test_no_script_ends_early(source):
    assert "</script" not in safe_script(source + "</script" + source) and "<!--" not in safe_script(source + "<!--")


def test_only_what_could_end_a_script_is_escaped():
    assert safe_script("a < b;\r\nc </ d") == "a < b;\nc </ d"
    assert safe_script("'</script>' + '</SCRIPT' + '<!--'") == r"'<\/script>' + '<\/SCRIPT' + '<\!--'"
