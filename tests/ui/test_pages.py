"""Whole page or fragment."""

import pytest
from django.test import RequestFactory
from django_htmx.middleware import HtmxDetails

from ui import pages


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"HX-Request": "true"}, True),
        ({"HX-Request": "true", "HX-Boosted": "true"}, False),
        ({"HX-Request": "true", "HX-History-Restore-Request": "true"}, False),
    ],
)
class TestIsFragment:
    def test_is_for_swaps_within_a_page_alone(self, headers: dict[str, str], expected: bool) -> None:
        request = RequestFactory().get("/", headers=headers)
        request.htmx = HtmxDetails(request)
        assert pages.is_fragment(request) is expected
