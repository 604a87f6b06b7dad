"""Charts as HTML and inline SVG: bars stacked by series, and one line. Pure, and without a script.

The SVG holds shapes only and stretches to its box; every word is HTML beside it, so that it stays readable on a phone. Colours
are classes (`series-0` …), which the style sheet gives for light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

HEIGHT = 100.0
_GAP = 0.18
"""Of a bar's width, left empty between two bars."""

Format = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart: a value for each of its moments; None where nothing was measured (lines only)."""

    label: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Axis:
    """The moments of a chart, each with the words that its tooltip begins with; `first` and `last` stand below the plot."""

    moments: Sequence[str]
    first: str
    last: str


def stacked_bars(title: str, axis: Axis, series: Sequence[Series], written: Format) -> SafeString:
    """Bars, one for each moment, made of the series one above the other."""
    sums = [sum(one.values[place] or 0 for one in series) for place in range(len(axis.moments))]
    top = max(sums, default=0) or 1
    shapes = format_html_join(
        "",
        "{}",
        ((_bar(place, moment, series, sums[place], top, written),) for place, moment in enumerate(axis.moments)),
    )
    keys = [
        (f"series-{number}", one.label, written(sum(value or 0 for value in one.values))) for number, one in _used(series)
    ]
    return _figure(title, written(sum(sums)), axis, shapes, written(top) if any(sums) else "", keys)


def line(title: str, axis: Axis, one: Series, written: Format, headline: str) -> SafeString:
    """A line with a dot at each measured moment, broken where nothing was measured. `headline`: the figure beside the title."""
    top = max((value for value in one.values if value is not None), default=0) or 1
    points = [
        None if value is None else (place + 0.5, HEIGHT - value / top * HEIGHT) for place, value in enumerate(one.values)
    ]
    strokes = format_html_join(
        "",
        '<polyline class="line" points="{}"/>',
        ((" ".join(f"{x:.2f},{y:.2f}" for x, y in run),) for run in _runs(points)),
    )
    targets = format_html_join(
        "",
        '<rect class="target" x="{}" y="0" width="1" height="100"><title>{}</title></rect>',
        (
            (place, f"{axis.moments[place]}: {written(value)}")
            for place, value in enumerate(one.values)
            if value is not None
        ),
    )
    is_empty = not any(value is not None for value in one.values)
    return _figure(title, headline, axis, strokes + targets, "" if is_empty else written(top), [])


def _bar(place: int, moment: str, series: Sequence[Series], total: float, top: float, written: Format) -> SafeString:
    if not total:
        return SafeString("")
    rects, floor = [], HEIGHT
    for number, one in _used(series):
        height = (one.values[place] or 0) / top * HEIGHT
        floor -= height
        rects.append((number, f"{place + _GAP / 2:.2f}", f"{floor:.2f}", f"{1 - _GAP:.2f}", f"{height:.2f}"))
    parts = [f"{one.label}: {written(one.values[place] or 0)}" for _, one in _used(series) if one.values[place]]
    return format_html(
        "<g><title>{}</title>{}</g>",
        "\n".join([f"{moment}: {written(total)}", *parts]),
        format_html_join("", '<rect class="series-{}" x="{}" y="{}" width="{}" height="{}"/>', rects),
    )


def _used(series: Sequence[Series]) -> list[tuple[int, Series]]:
    return [(number, one) for number, one in enumerate(series) if any(one.values)]


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """The stretches without a hole. A lonely point becomes a short dash, or it would not be seen."""
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run if len(run) > 1 else [(run[0][0] - 0.3, run[0][1]), (run[0][0] + 0.3, run[0][1])] for run in runs if run]


def _figure(
    title: str, total: str, axis: Axis, shapes: SafeString, top: str, keys: Sequence[tuple[str, str, str]]
) -> SafeString:
    legend = format_html_join("", '<li><i class="{}"></i>{} <b>{}</b></li>', keys)
    return format_html(
        '<figure class="chart"><figcaption>{} <b>{}</b></figcaption><div class="plot"><span class="top">{}</span>'
        '<svg viewBox="0 0 {} 100" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg></div>'
        '<div class="axis"><span>{}</span><span>{}</span></div>{}</figure>',
        title, total, top, max(1, len(axis.moments)), f"{title}: {total}", shapes, axis.first, axis.last,
        format_html('<ul class="legend">{}</ul>', legend) if keys else "",
    )  # fmt: skip
