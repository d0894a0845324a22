"""Postal addresses."""

import pytest

from customers import addresses
from merchants.errors import ValidationFailed

STREET = {"line1": "1 High Street", "line2": "Unit 2"}


class TestLines:
    @pytest.mark.parametrize(
        ("address", "area"),
        [
            ({"city": "Seattle", "state": "WA", "country": "US", "zipCode": "98101"}, ["Seattle, WA 98101", "US"]),
            ({"city": "Toronto", "state": "ON", "country": "CA", "zipCode": "M5V 2T6"}, ["Toronto ON M5V 2T6", "CA"]),
            ({"city": "Berlin", "country": "DE", "zipCode": "10115"}, ["10115 Berlin", "DE"]),
            ({"city": "London", "country": "GB", "zipCode": "SW1A 1AA"}, ["London", "SW1A 1AA", "GB"]),
            ({"state": "WA", "country": "US"}, ["WA", "US"]),
            ({"city": "Berlin"}, ["Berlin"]),
        ],
    )
    def test_are_in_the_order_of_their_country(self, address: dict[str, str], area: list[str]) -> None:
        backwards = dict(reversed((STREET | address).items()))
        assert addresses.lines(backwards) == ["1 High Street", "Unit 2", *area]

    def test_of_nothing_are_none(self) -> None:
        assert addresses.lines({}) == addresses.spelled({}) == []

    @pytest.mark.parametrize(
        ("address", "spelled"),
        [
            ({"city": "Berlin", "country": "DE"}, ["Berlin", "Germany"]),
            ({"city": "Berlin"}, ["Berlin"]),
            ({"city": "Nowhere", "country": "XX"}, ["Nowhere", "XX"]),
        ],
    )
    def test_are_spelled_with_the_name_of_their_country(self, address: dict[str, str], spelled: list[str]) -> None:
        assert addresses.spelled(address) == spelled


class TestACountry:
    """Outside the Union no tax is charged: a code that is no country's would be a way out of it."""

    @pytest.mark.parametrize("code", ["UK", "EL", "XX", "EU", "D1"])
    def test_that_does_not_exist_is_refused(self, code: str) -> None:
        with pytest.raises(ValidationFailed) as refused:
            addresses.parse({"country": code}, "address")
        assert refused.value.code == "INVALID_COUNTRY"

    def test_is_kept_in_capitals(self) -> None:
        assert addresses.parse({"country": "gb"}, "address") == {"country": "GB"}
