"""Vega-Lite specifications of the charts on the pages; the page adds the rows, and the colours of light or dark."""

from __future__ import annotations

from typing import Any

BARS = 25  # words in the chart of importance
EACH_SIDE = 15  # words of either collection in the chart of a comparison


# As wide as the page; the page sets the height, by the number of rows. No part has a role for screen readers, since the
# figure around the chart has a title and a table has the numbers.
_SIZE = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def _words() -> dict[str, Any]:
    axis = {"title": None, "labelLimit": 150, "labelPadding": 8, "domain": False, "ticks": False}
    return {"field": "word", "type": "nominal", "sort": None, "axis": axis}


def importance_chart() -> dict[str, Any]:
    """Returns the Vega-Lite chart of how many pictures words fit, as bars with intervals.

    Its rows have word, share, low and high (shares of the pictures, 0 to 1), and pictures, interval and images (texts
    for the tooltip). They are drawn in their order.
    """
    axis = {
        "title": "share of the pictures",
        "labelExpr": "format(100 * datum.value, '~g') + ' %'",
        "tickCount": 6,
        "orient": "top",
    }
    share = {"field": "share", "type": "quantitative", "axis": axis}
    tooltip = [
        {"field": "word", "title": "word"},
        {"field": "pictures", "title": "pictures it fits"},
        {"field": "interval", "title": "95 % interval"},
        {"field": "images", "title": "captions that contain it"},
    ]
    return _SIZE | {
        "encoding": {"y": _words(), "tooltip": tooltip},
        "layer": [
            {"mark": {"type": "bar", "aria": False, "height": 14, "cornerRadiusEnd": 2}, "encoding": {"x": share}},
            {
                "mark": {"type": "rule", "aria": False},
                "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
            },
        ],
    }


def comparison_chart() -> dict[str, Any]:
    """Returns the Vega-Lite chart of the log-odds of words in two collections, as points with intervals.

    Its rows have word, side ("A" or "B"), log_odds, low and high (nats), and share_a and share_b (texts for the
    tooltip). They are drawn in their order.
    """
    odds = {
        "field": "log_odds",
        "type": "quantitative",
        "axis": {"tickCount": 7, "title": "← more in B · log-odds · more in A →", "orient": "top"},
    }
    tooltip = [
        {"field": "word", "title": "word"},
        {"field": "share_a", "title": "share in A"},
        {"field": "share_b", "title": "share in B"},
        {"field": "log_odds", "title": "log-odds", "format": ".2f"},
    ]
    return _SIZE | {
        "encoding": {"y": _words(), "tooltip": tooltip},
        "layer": [
            {
                "mark": {"type": "rule", "aria": False, "strokeDash": [3, 3], "opacity": 0.5},
                "encoding": {"x": {"datum": 0}, "y": None, "tooltip": None},
            },
            {
                "mark": {"type": "rule", "aria": False},
                "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "aria": False, "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "x": odds,
                    "color": {"field": "side", "type": "nominal", "scale": {"domain": ["A", "B"]}, "legend": None},
                },
            },
        ],
    }
