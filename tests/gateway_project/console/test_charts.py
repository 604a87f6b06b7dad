"""Charts: bars that stack to their sums, lines that break where nothing was measured, and nothing that could run."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from gateway_project.console.charts import Axis, Series, line, stacked_bars
from gateway_project.console.words import count, duration, percent, share, usd
from gateway_project.templatetags.console import breakable

AXIS = Axis(["Mon", "Tue", "Wed"], "Mon", "now")
amounts = st.lists(st.floats(0, 1e9), min_size=3, max_size=3)


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html)


@given(st.lists(amounts, min_size=1, max_size=6))
def test_the_bars_of_a_moment_never_leave_the_plot_and_the_highest_fills_it(columns):
    figure = parsed(stacked_bars("Requests", AXIS, [Series(f"s{n}", values) for n, values in enumerate(columns)], count))
    tops = []
    for bar in figure.iter("g"):
        rects = [(float(rect.attrib["y"]), float(rect.attrib["height"])) for rect in bar.iter("rect")]
        assert all(y >= -0.1 and y + height <= 100.1 for y, height in rects)
        tops.append(min(y for y, _ in rects))
    assert not tops or min(tops) < 0.2


def test_a_bar_tells_its_moment_its_sum_and_its_parts():
    figure = parsed(stacked_bars("Requests", AXIS, [Series("a", [1, 0, 2]), Series("b", [3, 0, 0])], count))
    assert [bar.findtext("title") for bar in figure.iter("g")] == ["Mon: 4\na: 1\nb: 3", "Wed: 2\na: 2"]


def test_a_series_of_nothing_has_no_place_in_the_legend():
    figure = parsed(stacked_bars("Requests", AXIS, [Series("a", [0, 0, 0]), Series("b", [3, 0, 0])], count))
    assert ["".join(item.itertext()) for item in figure.iter("li")] == ["b 3"]


def test_a_line_breaks_where_nothing_was_measured():
    figure = parsed(line("p95", Axis(["a"] * 5, "a", "b"), Series("p95", [1, 2, None, 3, None]), duration, "3 ms"))
    assert [len(run.attrib["points"].split()) for run in figure.iter("polyline")] == [2, 2]


def test_names_of_strangers_are_escaped():
    html = stacked_bars("<b>", AXIS, [Series('<script>"', [1, 1, 1])], count)
    assert not re.search(r"<script|<b>&lt;", html)


def test_a_chart_of_no_moments_is_drawn_empty():
    figure = parsed(stacked_bars("Requests", Axis([], "", "now"), [], count))
    assert not list(figure.iter("rect"))


def test_numbers_are_short_and_say_when_they_are_unknown():
    assert [count(value) for value in (0, 1234, 123456, 1234567, 2e9)] == ["0", "1,234", "123k", "1.23M", "2B"]
    assert [usd(value) for value in (None, 0, 0.6, 1.2, 0.0001234, -3)] == [
        "–",
        "$0",
        "$0.60",
        "$1.20",
        "$0.000123",
        "-$3.00",
    ]
    assert [percent(value) for value in (None, 0, 0.005, 0.25, 1)] == ["–", "0%", "0.5%", "25%", "100%"]
    assert [share(value) for value in (None, 0, 0.005, 0.875, 1)] == ["–", "0%", "0.5%", "87.5%", "100%"]
    assert [duration(value) for value in (None, 12.4, 2345)] == ["–", "12 ms", "2.35 s"]


def test_an_id_breaks_after_its_separators_only_and_stays_what_it_is():
    assert breakable("acme/falcon_2-8b:free") == "acme/<wbr>falcon_<wbr>2-8b:<wbr>free<wbr>"
    assert breakable("<b>") == "&lt;b&gt;<wbr>"
