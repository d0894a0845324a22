"""What is drawn, in percent of the plot."""

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui import charts


def plot(*series: charts.Series, is_partial: bool = True) -> charts.Plot:
    return charts.Plot(
        id="c",
        labels=[f"day {i}" for i in range(len(series[0].values))],
        series=series,
        axis=lambda value: f"{value.normalize():f}",
        show=lambda value: f"{value:f}" if isinstance(value, Decimal) else str(value),
        summary="Revenue.",
        is_partial=is_partial,
    )


def line(*values: int, ghost: bool = False) -> charts.Series:
    return charts.Series(name="Revenue", tone="s1", values=values, ghost=ghost)


def numbers(path: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?[\d.]+", path)]


class TestTicks:
    @pytest.mark.parametrize(
        ("largest", "last", "count"),
        [(559, "600", 3), (100, "100", 4), (7, "7.5", 3), (1, "1", 4), (350_000, "400000", 4)],
    )
    def test_are_round_and_waste_little_height(self, largest: int, last: str, count: int) -> None:
        ticks = charts.area(plot(line(0, largest))).ticks
        assert (ticks[0].label, ticks[-1].label, len(ticks) - 1) == ("0", last, count)

    def test_stand_even_without_any_value(self) -> None:
        chart = charts.area(plot(line(0, 0)))
        assert [tick.label for tick in chart.ticks] == ["0", ""]
        assert chart.is_empty

    @given(st.integers(min_value=1, max_value=10**38))
    def test_reach_the_largest_value_and_not_twice_as_far(self, largest: int) -> None:
        top = Decimal(charts.area(plot(line(0, largest))).ticks[-1].label)
        assert largest <= top * (1 + Decimal("1e-27"))
        assert top < 2 * largest


class TestArea:
    def test_starts_left_and_ends_right(self) -> None:
        drawn = charts.area(plot(line(0, 5, 10), is_partial=False)).lines[0]
        assert drawn.path.startswith("M0 100C")
        assert (drawn.end_x, drawn.end_y, drawn.tail) == ("100", "0", "")

    def test_draws_the_bucket_that_is_still_filling_apart(self) -> None:
        drawn = charts.area(plot(line(0, 10, 4))).lines[0]
        assert drawn.tail.startswith("M50 0C")
        assert drawn.path.count("C") == 1

    def test_gives_a_comparison_no_area_and_no_tail(self) -> None:
        drawn = charts.area(plot(line(1, 2, 3, ghost=True))).lines[0]
        assert (drawn.area, drawn.tail) == ("", "")

    def test_puts_a_single_bucket_in_the_middle(self) -> None:
        drawn = charts.area(plot(line(3))).lines[0]
        assert (drawn.path, drawn.end_x) == ("", "50")

    @given(st.lists(st.integers(min_value=0, max_value=10**15), min_size=2, max_size=60))
    def test_never_leaves_the_plot(self, values: list[int]) -> None:
        drawn = charts.area(plot(line(*values))).lines[0]
        assert all(-0.001 <= n <= 100.001 for n in numbers(drawn.path + drawn.tail + drawn.area))


class TestBars:
    def test_stack_from_the_floor_in_order(self) -> None:
        below = charts.Series(name="A", tone="s1", values=[60])
        above = charts.Series(name="B", tone="s2", values=[40])
        first, second = charts.bars(plot(below, above)).bars
        assert (first.y, first.height) == ("40", "60")
        assert (second.y, second.height) == ("0", "40")

    def test_make_only_the_last_bucket_pale(self) -> None:
        assert [bar.is_partial for bar in charts.bars(plot(line(1, 2))).bars] == [False, True]

    def test_draw_nothing_for_nothing_and_for_refunds(self) -> None:
        assert charts.bars(plot(line(0, -5))).bars == []


class TestRank:
    def test_colours_the_largest_first(self) -> None:
        assert [s.name for s in charts.rank([("small", [1]), ("large", [9])])] == ["large", "small"]

    def test_gathers_what_has_no_colour_left(self) -> None:
        ranked = charts.rank([(f"metric {i}", [i, i]) for i in range(1, 8)])
        assert [s.tone for s in ranked] == ["s1", "s2", "s3", "s4", "other"]
        assert ranked[-1].name == "Other"
        assert list(ranked[-1].values) == [6, 6]

    def test_keeps_five_without_an_other(self) -> None:
        assert [s.tone for s in charts.rank([(str(i), [i]) for i in range(5)])] == list(charts.TONES)


class TestLabels:
    def test_are_at_most_six_and_end_with_the_newest(self) -> None:
        labels = charts.area(plot(line(*range(30)))).x_labels
        assert len(labels) <= charts.LABELS_MAX
        assert (labels[0].text, labels[0].x, labels[0].anchor) == ("day 29", "100", "end")

    def test_drop_every_second_one_when_narrow(self) -> None:
        assert [label.is_minor for label in charts.bars(plot(line(*range(30)))).x_labels][:3] == [False, True, False]


class TestTooltip:
    def test_carries_texts_not_numbers(self) -> None:
        data = json.loads(charts.area(plot(line(1, 2))).data)
        assert data["labels"] == ["day 0", "day 1"]
        assert data["series"][0]["texts"] == ["1", "2"]
        assert len(data["series"][0]["ys"]) == 2


class TestSpark:
    def test_of_one_value_is_a_flat_line(self) -> None:
        assert charts.spark([5]).path.startswith("M0 8C") or charts.spark([5]).path.startswith("M0 8")

    def test_of_nothing_is_nothing(self) -> None:
        assert charts.spark([]) == charts.Spark("", "")
