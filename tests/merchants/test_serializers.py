"""The fields and bodies of the API's JSON."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.http import QueryDict
from rest_framework import serializers

from merchants import ids
from merchants.errors import NotFound
from merchants.serializers import (
    BodySerializer,
    ChoiceField,
    ConstantField,
    FlagField,
    IdField,
    InstantField,
    OwnMerchantField,
    PageSerializer,
    PercentField,
    TextField,
    WholeField,
    page_of,
)

MERCHANT = ids.new()


class ThingSerializer(BodySerializer):
    name = TextField(length_max=5, required=False)
    flag = FlagField(required=False)
    count = WholeField(least=1, most=3, required=False)
    kind = ChoiceField(choices=["a", "b"], required=False)
    rate = PercentField(required=False)
    never = ConstantField(False, required=False)
    merchant = OwnMerchantField(required=False)


def read(**members: object) -> dict[str, object]:
    serializer = ThingSerializer(data=members, context={"merchant_id": MERCHANT})
    serializer.is_valid(raise_exception=True)
    values: dict[str, object] = serializer.validated_data
    return values


def code_of(**members: object) -> dict[str, str]:
    with pytest.raises(serializers.ValidationError) as refused:
        read(**members)
    detail: Any = refused.value.detail
    return {name: faults[0].code for name, faults in detail.items()}


class TestBodySerializer:
    def test_takes_what_is_sound(self):
        assert read(name="A", flag=False, count=3, kind="b", rate=Decimal("8.5")) == {
            "name": "A",
            "flag": False,
            "count": 3,
            "kind": "b",
            "rate": Decimal("8.5"),
        }

    @pytest.mark.parametrize(
        ("members", "code"),
        [
            ({"name": "too long"}, "INVALID_TEXT"),
            ({"name": None}, "null"),
            ({"flag": "true"}, "INVALID_BOOLEAN"),
            ({"flag": 1}, "INVALID_BOOLEAN"),
            ({"count": "2"}, "INVALID_INTEGER"),
            ({"count": True}, "INVALID_INTEGER"),
            ({"kind": ["a"]}, "invalid_choice"),
            ({"rate": Decimal("100.0001")}, "INVALID_RATE"),
            ({"rate": Decimal("1.00001")}, "INVALID_RATE"),
            ({"never": True}, "NOT_SUPPORTED"),
            ({"never": 0}, "NOT_SUPPORTED"),
            ({"other": 1}, "UNKNOWN_FIELD"),
        ],
    )
    def test_refuses_the_rest_by_name(self, members, code):
        assert code_of(**members) == dict.fromkeys(members, code)

    def test_says_which_words_there_are(self):
        for wrong in ("c", 1, ["a"]):
            with pytest.raises(serializers.ValidationError, match="one of: a, b"):
                ChoiceField(choices=["a", "b"]).run_validation(wrong)

    def test_drops_what_can_only_have_one_value(self):
        assert read(never=False) == {}


class TestOwnMerchantField:
    def test_knows_no_merchant_but_the_callers(self):
        assert read(merchant=ids.text("org", MERCHANT)) == {"merchant": MERCHANT}
        for other in (ids.text("org", ids.new()), ids.text("prod", MERCHANT), "org_1"):
            with pytest.raises(NotFound):
                read(merchant=other)


class ShownSerializer(serializers.Serializer[Any]):
    object = ConstantField("thing")
    id = IdField("prod")
    text = TextField(allow_null=True)
    flag = FlagField(allow_null=True)
    count = WholeField(least=0, most=9, allow_null=True)
    at = InstantField(allow_null=True)
    rate = PercentField()


class TestAnswers:
    def test_say_null_only_for_what_is_not_there(self):
        at = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
        shown = ShownSerializer(
            {"id": MERCHANT, "text": "", "flag": False, "count": 0, "at": at, "rate": Decimal("8.5000")}
        ).data

        assert shown == {
            "object": "thing",
            "id": ids.text("prod", MERCHANT),
            "text": None,
            "flag": False,
            "count": 0,
            "at": "2026-01-02T03:04:05.678901Z",
            "rate": 8.5,
        }


class TestPageSerializer:
    def test_has_defaults(self):
        serializer = PageSerializer(data=QueryDict(""))
        serializer.is_valid(raise_exception=True)

        assert serializer.validated_data == {"limit": 10, "offset": 0}

    def test_takes_each_parameter_once(self):
        serializer = PageSerializer(data=QueryDict("limit=1&limit=2"))

        with pytest.raises(serializers.ValidationError) as refused:
            serializer.is_valid(raise_exception=True)
        detail: Any = refused.value.detail
        assert [fault.code for fault in detail["limit"]] == ["REPEATED_PARAMETER"]


class TestPageOf:
    def test_is_one_class_for_each_kind_of_thing(self):
        assert page_of(ShownSerializer) is page_of(ShownSerializer)
        assert page_of(ShownSerializer).__name__ == "ShownList"
