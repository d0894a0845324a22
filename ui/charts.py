"""Charts as numbers: what to draw, in percent of the plot, before any template is involved.

A chart is drawn on the server into SVG with percent coordinates, so it needs no JavaScript, no inline style and no
measuring. Floats are pixels here; every figure a reader sees was formatted from the exact value.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from typing import TypeAlias

SERIES_MAX = 5  # a sixth colour could not be told from the others
TONES = ("s1", "s2", "s3", "s4", "s5")
LABELS_MAX = 6
TICK_STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
TICK_COUNTS = (4, 5, 3)  # in order of preference where they waste the same height
BAR_SHARE = 0.64  # of its slot; the rest is air
SPARK_ROOM = 86  # percent of the tile a sparkline climbs to

Figure: TypeAlias = int | Decimal
Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line or one colour of the bars; a ghost is a comparison, drawn dashed and behind."""

    name: str
    tone: str
    values: Sequence[Figure]
    ghost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What a chart is asked to show: labelled buckets, values per series, and how to print both."""

    id: str
    labels: Sequence[str]
    series: Sequence[Series]
    axis: Callable[[Decimal], str]
    show: Callable[[Figure], str]
    summary: str
    is_partial: bool = True  # the last bucket is still filling


@dataclass(frozen=True, slots=True)
class Tick:
    """A round value of the vertical axis, and how far down the plot it lies."""

    y: str
    label: str


@dataclass(frozen=True, slots=True)
class XLabel:
    """A label under the horizontal axis; minor ones go first when the chart is narrow."""

    x: str
    text: str
    anchor: str
    is_minor: bool


@dataclass(frozen=True, slots=True)
class Line:
    """The drawn paths of one series of an area chart; the tail is the bucket that is still filling."""

    series: Series
    path: str
    tail: str
    area: str
    end_x: str
    end_y: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One coloured block of one stacked bar."""

    tone: str
    x: str
    y: str
    width: str
    height: str
    is_partial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Everything a template needs to draw a chart, its legend, its table and its tooltip."""

    id: str
    kind: str
    summary: str
    ticks: list[Tick]
    x_labels: list[XLabel]
    series: list[Series]
    rows: list[tuple[str, list[str]]]
    data: str
    is_empty: bool
    lines: list[Line] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    @property
    def legend(self) -> list[Series]:
        """The series in reading order: what lies on top first, but stacked bars from the floor up."""
        return self.series if self.kind == "bars" else self.series[::-1]


@dataclass(frozen=True, slots=True)
class Spark:
    """A line without axes for a tile."""

    path: str
    area: str


def area(plot: Plot) -> Chart:
    """Lines over time, ghosts dashed, the last bucket dashed while it is still filling."""
    ticks = _ticks(max((value for s in plot.series for value in s.values), default=0))
    steps = max(1, len(plot.labels) - 1)
    xs = [100 * i / steps for i in range(len(plot.labels))] if len(plot.labels) > 1 else [50.0]
    heights = [[_down(value, ticks[-1]) for value in s.values] for s in plot.series]
    lines = [
        _line(s, list(zip(xs, ys, strict=True)), is_partial=plot.is_partial and not s.ghost)
        for s, ys in zip(plot.series, heights, strict=True)
    ]
    return _chart(plot, ticks, xs, kind="area", lines=lines, data=_tooltip(plot, xs, heights))


def bars(plot: Plot) -> Chart:
    """Stacked bars, the last one pale while it is still filling; negative values count as nothing."""
    ticks = _ticks(max((sum(max(0, s.values[i]) for s in plot.series) for i in range(len(plot.labels))), default=0))
    slot = 100 / max(1, len(plot.labels))
    xs = [slot * (i + 0.5) for i in range(len(plot.labels))]
    blocks = [block for i, x in enumerate(xs) for block in _stack(plot, i, x, slot * BAR_SHARE, ticks[-1])]
    return _chart(plot, ticks, xs, kind="bars", bars=blocks, data=_tooltip(plot, xs, None))


def spark(values: Sequence[Figure]) -> Spark:
    """A sparkline from zero to the largest value."""
    top = float(max(values, default=0)) or 1.0
    if len(values) == 1:
        values = [*values, *values]
    points = [(100 * i / (len(values) - 1), 94 - SPARK_ROOM * max(0.0, float(v)) / top) for i, v in enumerate(values)]
    path = _curve(points)
    return Spark(path, f"{path}L100 100L0 100Z" if path else "")


def rank(series: Iterable[tuple[str, Sequence[Figure]]]) -> list[Series]:
    """Colour the largest series first, and gather what is beyond the last colour as grey "Other"."""
    ordered = sorted(series, key=lambda named: sum(named[1]), reverse=True)
    keep = ordered if len(ordered) <= SERIES_MAX else ordered[: SERIES_MAX - 1]
    coloured = [
        Series(name=named, tone=tone, values=values) for (named, values), tone in zip(keep, TONES, strict=False)
    ]
    rest = [values for _, values in ordered[len(keep) :]]
    if rest:
        coloured.append(Series(name="Other", tone="other", values=[sum(at) for at in zip(*rest, strict=True)]))
    return coloured


def _chart(
    plot: Plot, ticks: list[Decimal], xs: list[float], *, kind: str, data: str,
    lines: list[Line] | None = None, bars: list[Bar] | None = None,
) -> Chart:  # fmt: skip
    is_empty = not any(value for s in plot.series for value in s.values)
    return Chart(
        id=plot.id,
        kind=kind,
        summary=plot.summary,
        ticks=[Tick(_n(_down(value, ticks[-1])), "" if value and is_empty else plot.axis(value)) for value in ticks],
        x_labels=_x_labels(plot.labels, xs, flush=kind == "area"),
        series=list(plot.series),
        rows=[(label, [plot.show(s.values[i]) for s in plot.series]) for i, label in enumerate(plot.labels)],
        data=data,
        is_empty=is_empty,
        lines=lines or [],
        bars=bars or [],
    )


def _ticks(largest: Figure) -> list[Decimal]:
    """Three to five round intervals from zero: whichever number of them wastes least height."""
    if largest <= 0:
        return [Decimal(0), Decimal(1)]
    step, count = min(((_step(largest, count), count) for count in TICK_COUNTS), key=lambda found: found[0] * found[1])
    return [step * i for i in range(count + 1)]


def _step(largest: Figure, count: int) -> Decimal:
    raw = Decimal(largest) / count
    power = Decimal(1).scaleb(raw.adjusted())
    return next(multiple * power for multiple in TICK_STEPS if multiple * power >= raw)


def _line(series: Series, points: list[Point], *, is_partial: bool) -> Line:
    path, tail = _curve(points), ""
    shape = f"{path}L{_n(points[-1][0])} 100L{_n(points[0][0])} 100Z" if path and not series.ghost else ""
    if is_partial and len(points) > 2:
        pieces = _pieces(points)
        path = _start(points[0]) + "".join(pieces[:-1])
        tail = _start(points[-2]) + pieces[-1]
    return Line(series, path, tail, shape, _n(points[-1][0]), _n(points[-1][1]))


def _curve(points: list[Point]) -> str:
    return _start(points[0]) + "".join(_pieces(points)) if len(points) > 1 else ""


def _start(point: Point) -> str:
    return f"M{_n(point[0])} {_n(point[1])}"


def _pieces(points: list[Point]) -> list[str]:
    """Monotone cubic segments (Fritsch and Carlson): smooth, and never above a peak or below a floor."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(points)]
    inner = [0.0 if p * q <= 0 else 2 * p * q / (p + q) for p, q in pairwise(slopes)]
    tangents = [slopes[0], *inner, slopes[-1]]
    pieces = []
    for i, (a, b) in enumerate(pairwise(points)):
        third = (b[0] - a[0]) / 3
        ys = _n(a[1] + tangents[i] * third), _n(b[1] - tangents[i + 1] * third)
        pieces.append(f"C{_n(a[0] + third)} {ys[0]} {_n(b[0] - third)} {ys[1]} {_n(b[0])} {_n(b[1])}")
    return pieces


def _stack(plot: Plot, at: int, x: float, width: float, top: Decimal) -> Iterable[Bar]:
    floor, is_partial = 100.0, plot.is_partial and at == len(plot.labels) - 1
    for s in plot.series:
        height = 100 - _down(s.values[at], top)
        if height > 0:
            floor -= height
            yield Bar(s.tone, _n(x - width / 2), _n(floor), _n(width), _n(height), is_partial)


def _x_labels(labels: Sequence[str], xs: list[float], *, flush: bool) -> list[XLabel]:
    """At most six labels counted back from the newest, the ends kept inside the plot."""
    last = len(labels) - 1
    every = int((Decimal(len(labels)) / LABELS_MAX).to_integral_value(ROUND_CEILING)) or 1
    shown = range(last, -1, -every)
    return [
        XLabel(
            x="100" if i == last and last else _n(xs[i]),
            text=labels[i],
            anchor="end" if i == last and last else "start" if i == 0 and flush and last else "middle",
            is_minor=nth % 2 == 1,
        )
        for nth, i in enumerate(shown)
    ]


def _tooltip(plot: Plot, xs: list[float], heights: list[list[float]] | None) -> str:
    """What the script needs to answer a pointer: positions and texts, nothing to compute."""
    described: list[dict[str, object]] = []
    for i, s in enumerate(plot.series):
        entry: dict[str, object] = {"name": s.name, "tone": s.tone, "texts": [plot.show(value) for value in s.values]}
        if heights:
            entry["ys"] = [round(y, 3) for y in heights[i]]
        described.append(entry)
    data = {"xs": [round(x, 3) for x in xs], "labels": list(plot.labels), "series": described}
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _down(value: Figure, top: Decimal) -> float:
    """How far from the top of the plot, in percent; below zero is drawn at zero."""
    return 100 - 100 * float(max(0, value)) / float(top)


def _n(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")
