import pytest
import vl_convert

from beam_pipeline.reports.charts import comparison_chart, importance_chart


@pytest.mark.parametrize("chart", [importance_chart(), comparison_chart()])
def test_charts_are_valid_for_the_library_that_draws_them(chart):
    row = {"word": "dog", "share": 0.5, "low": 0.4, "high": 0.6, "log_odds": 0.5, "side": "A"}
    rows = [row, {**row, "word": '<img src=x>"', "side": "B"}]
    svg = vl_convert.vegalite_to_svg({**chart, "width": 400, "height": 46, "data": {"values": rows}})
    assert "dog" in svg and "<img" not in svg
