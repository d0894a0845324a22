"""The parser, through REST framework's own request: what the control plane answers to each kind of body."""

from decimal import Decimal

import pytest
from django.test import override_settings
from rest_framework.exceptions import UnsupportedMediaType as NoParser
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from merchants.errors import PayloadTooLarge, UnsupportedMediaType, ValidationFailed
from merchants.parsing import StrictJSONParser


def data_of(body, content_type="application/json", **extra):
    request = APIRequestFactory().generic("POST", "/v0/products", body, content_type=content_type, **extra)
    return Request(request, parsers=[StrictJSONParser()]).data


class TestStrictJSONParser:
    def test_returns_the_object_with_exact_numbers(self):
        assert data_of(b'{"unitPrice":0.1,"count":2}') == {"unitPrice": Decimal("0.1"), "count": 2}

    def test_takes_utf_8_said_or_unsaid(self):
        for content_type in ("application/json", "application/json; charset=utf-8"):
            assert data_of('{"name":"é"}'.encode(), content_type) == {"name": "é"}

    @pytest.mark.parametrize(
        "body",
        [
            *[b"{", b"[]", b"null", b'{"a":1} x', b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":"\xff"}'],
            *[rb'{"a":"\u0000"}', rb'{"a":"\ud800"}', b'{"a":' * 200_000],
        ],
    )
    @override_settings(BODY_BYTES_MAX=10_000_000)
    def test_refuses_unsound_bodies(self, body):
        with pytest.raises(ValidationFailed):
            data_of(body)

    def test_refuses_another_charset(self):
        with pytest.raises(UnsupportedMediaType):
            data_of('{"a":1}'.encode("utf-16"), "application/json; charset=utf-16")

    def test_refuses_a_compressed_body(self):
        with pytest.raises(UnsupportedMediaType):
            data_of(b"\x1f\x8b", HTTP_CONTENT_ENCODING="gzip")

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    def test_leaves_other_types_without_a_parser(self, content_type):
        with pytest.raises(NoParser):
            data_of(b"a=1", content_type)

    @override_settings(BODY_BYTES_MAX=10)
    def test_refuses_a_body_beyond_the_limit(self):
        assert data_of(b'{"a":1234}') == {"a": 1234}
        with pytest.raises(PayloadTooLarge):
            data_of(b'{"a":12345}')
        with pytest.raises(PayloadTooLarge):
            data_of(b'{"a":12345}', CONTENT_LENGTH="10" * 3)
