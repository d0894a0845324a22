"""The words every template speaks."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.template import Context, Template
from django.test import RequestFactory
from django.utils import timezone

from ui import fmt
from ui.paging import Page

AT = datetime(2026, 11, 21, 23, 59, 26, tzinfo=UTC)


def rendered(source: str, **values: object) -> str:
    return Template(source).render(Context({"request": RequestFactory().get("/"), **values}))


class TestWhen:
    def test_speaks_the_zone_of_the_page(self) -> None:
        with timezone.override(ZoneInfo("Asia/Tokyo")):
            text = rendered("{% when at %}", at=AT)
        assert 'datetime="2026-11-22T08:59:26+09:00"' in text
        assert ">22 Nov, 08:59:26<" in text
        assert "JST" in text

    def test_of_never_is_a_dash(self) -> None:
        assert rendered("{% when at %}", at=None) == fmt.NONE


class TestBadge:
    @pytest.mark.parametrize(("state", "tone"), [("active", "ok"), ("pending_payment", "warn"), ("terminated", "mute")])
    def test_is_a_word_in_the_colour_of_its_state(self, state: str, tone: str) -> None:
        text = rendered("{% badge state %}", state=state)
        assert f'class="badge {tone}"' in text
        assert state.replace("_", " ").capitalize() in text


class TestCopy:
    def test_escapes_what_it_copies(self) -> None:
        assert "<script" not in rendered("{% copy value %}", value='"><script>')


class TestFigure:
    def test_dims_only_the_filling(self) -> None:
        text = rendered("{{ amount|figure }}", amount=fmt.Aligned("$0.12", "000"))
        assert text == '$0.12<span class="pad">000</span>'


class TestTheme:
    @pytest.mark.parametrize(("cookie", "attribute"), [("dark", ' data-theme="dark"'), ('"><b>', ""), ("", "")])
    def test_believes_only_known_themes(self, cookie: str, attribute: str) -> None:
        request = RequestFactory().get("/")
        request.COOKIES["theme"] = cookie
        assert rendered("{% theme %}", request=request) == attribute


class TestInitials:
    @pytest.mark.parametrize(("name", "letters"), [("Code Runner", "CR"), ("acme", "AC"), ("(x) & Sons Ltd", "SL")])
    def test_are_at_most_two_letters(self, name: str, letters: str) -> None:
        assert rendered("{{ name|initials }}", name=name) == letters


class TestPager:
    def test_keeps_the_filters_of_the_list(self) -> None:
        request = RequestFactory().get("/events?status=charged&cursor=old")
        text = rendered('{% pager page "event" %}', request=request, page=Page([], newer="n", older="o"))
        assert 'href="?status=charged&amp;cursor=n"' in text
        assert 'href="?status=charged&amp;cursor=o"' in text

    def test_counts_when_this_is_everything(self) -> None:
        assert "1 event" in rendered('{% pager page "event" %}', page=Page([1], newer="", older=""))

    def test_leaves_it_to_what_stands_in_place_of_an_empty_list(self) -> None:
        assert rendered('{% pager page "event" %}', page=Page([], newer="", older="")) == ""


class TestCode:
    def test_copies_exactly_what_it_shows(self) -> None:
        text = rendered('{% code "Request" %}\ncurl "x"\n{% endcode %}')
        assert 'data-copy="curl &quot;x&quot;"' in text
        assert ">curl &quot;x&quot;</pre>" in text

    def test_escapes_printed_values_once(self) -> None:
        text = rendered('{% code "Request" %}{{ value }}{% endcode %}', value='{"a": "<b>"}')
        assert "{&quot;a&quot;: &quot;&lt;b&gt;&quot;}</pre>" in text
