"""The OpenAPI document of every route, and the pages that show it."""

import json
from datetime import datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS, reset_generator_stats
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.views import APIView

from charging import answers, commands, meter_events
from charging.api.usage import UsageEventSerializer
from charging.book import Event
from config import event_schema, lane_schema, openapi
from config.asgi import LANE_PATHS, LANE_VERBS
from merchants import ids, roles

METHODS = {"get", "post", "patch", "delete", "put"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    reset_generator_stats()
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return schema


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, members in document["paths"].items()
        for method, operation in members.items()
        if method in METHODS
    ]


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> list[tuple[str, type[APIView]]]:
    """Every route of Django's under the API's prefixes, with its view."""
    found: list[tuple[str, type[APIView]]] = []
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += routes(pattern.url_patterns, route)
        elif route.startswith(openapi.API_PREFIXES):
            found.append((route.replace("<str:", "{").replace(">", "}"), pattern.callback.cls))
    return found


class TestTheDocument:
    def test_is_valid_openapi(self, document):
        validate_schema(document)
        assert document["openapi"].startswith("3.1")

    def test_was_made_without_guessing(self, document):
        assert not GENERATOR_STATS._warn_cache
        assert not GENERATOR_STATS._error_cache

    def test_has_every_route_and_method_of_django(self, document):
        missing = [
            (method, path)
            for path, view in routes(get_resolver().url_patterns)
            for method in METHODS
            if hasattr(view, method) and method not in document["paths"].get(path, {})
        ]
        assert not missing

    def test_has_every_route_of_the_fast_lane(self, document):
        of_verbs = {f"/v0/entitlements/{{id}}{verb}" for verb in LANE_VERBS}

        assert all("post" in document["paths"][path] for path in LANE_PATHS | of_verbs)

    def test_names_every_operation_once(self, document):
        names = [operation["operationId"] for _, _, operation in operations(document)]

        assert len(names) == len(set(names))

    def test_names_scopes_that_exist(self, document):
        scopes = {scope for _, _, operation in operations(document) for scope in operation["security"][0]["ApiKey"]}

        assert scopes <= roles.KEY_SCOPES

    def test_says_how_every_operation_can_be_refused(self, document):
        for path, method, operation in operations(document):
            statuses = set(operation["responses"])
            assert {"401", "403", "404", "500", "503"} <= statuses, (method, path)
            if "requestBody" in operation:
                assert {"400", "409", "411", "413", "415"} <= statuses, (method, path)

    def test_refers_only_to_what_it_has(self, document):
        for reference in references(document):
            place = document
            for part in reference.removeprefix("#/").split("/"):
                place = place[part]

    def test_describes_every_operation(self, document):
        assert all(operation["summary"] and operation["description"] for _, _, operation in operations(document))


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [reference for child in node.values() for reference in references(child)]
    return [reference for child in node for reference in references(child)] if isinstance(node, list) else []


_RAW, _AT = ids.new_raw(7), datetime(2026, 11, 15)
EVENT: dict[str, Any] = {name: _RAW for name in Event.__struct_fields__ if name == "id" or name.endswith("_id")}
EVENT |= {"timestamp": _AT, "created_at": _AT, "key": "k", "currency": "USD", "net": 0, "tax": 0, "gross": 0}
EVENT |= {"properties": [[_RAW.hex(), "1", None]], "metadata": {"a": "b"}}
EVENT |= {"meter": commands.MeterEvent("t", "s", "x", {})}


class TestTheLanesExamples:
    merchant_id = ids.parse_raw("org", lane_schema.USAGE_EXAMPLE["merchantId"])

    def body(self, example: object) -> bytes:
        return json.dumps(example).encode()

    def test_are_accepted_as_usage(self):
        command = commands.parse_usage(self.body(lane_schema.USAGE_EXAMPLE), self.merchant_id)
        assert command.key == lane_schema.USAGE_EXAMPLE["idempotencyKey"]
        batch = commands.parse_batch(self.body({"events": [lane_schema.USAGE_EXAMPLE]}), self.merchant_id)
        assert isinstance(batch[0], commands.RecordUsage)

    @pytest.mark.parametrize(
        ("example", "media_type"),
        [(event_schema.EVENT_EXAMPLE, "application/json"), (event_schema.CLOUD_EVENT_EXAMPLE, meter_events.CLOUD)],
    )
    def test_are_accepted_as_meter_events(self, example, media_type):
        headers = {b"content-type": media_type.encode()}
        [report] = meter_events.parse(self.body(example), headers, self.merchant_id).events
        assert isinstance(report, meter_events.Report)

    def test_are_accepted_as_reservations(self):
        reserve = commands.parse_reserve(
            self.body(lane_schema.RESERVE_EXAMPLE),
            self.merchant_id,
            key=None,
            is_regional=False,
            ttl_default=900,
            ttl_max=commands.TTL_SECONDS_MIN * 1_000,
        )
        assert (reserve.max_uses, reserve.ttl_seconds) == (3, 600)

    @pytest.mark.parametrize(
        ("serializer", "wire"),
        [
            (lane_schema.RecordUsageSerializer, commands._WireUsage),
            (lane_schema.UsagePropertySerializer, commands._WireProperty),
            (lane_schema.RecordUsageBatchSerializer, commands._WireBatch),
            (event_schema.IngestEventSerializer, meter_events._WireEvent),
            (lane_schema.ReserveSerializer, commands._WireReserve),
            (lane_schema.ReserveLineSerializer, commands._WireLine),
            (lane_schema.ExtendSerializer, commands._WireExtend),
        ],
    )
    def test_describe_the_members_that_the_lane_reads(self, serializer, wire):
        assert set(serializer().fields) == set(wire.__struct_encode_fields__)

    def test_show_the_members_that_the_lane_writes(self):
        every: dict[str, Any] = {name: EVENT.get(name) for name in Event.__struct_fields__}
        event = Event(**every)

        shown = UsageEventSerializer()
        said = json.loads(answers.encode(answers.usage_event(event)))
        assert set(said) == set(shown.fields) - {"refund", "correction"}
        assert set(said["billing"]) == set(shown.fields["billing"].fields)

    def test_show_the_members_that_meter_events_are_answered_with(self):
        event = Event(**{name: EVENT.get(name) for name in Event.__struct_fields__})
        command = commands.RecordUsage(_RAW, _RAW, _RAW, "k", b"", _AT, (), metering=commands.Metering(event.meter))

        assert set(answers.meter_event(event, command)) == set(event_schema.IngestedEventSerializer().fields)


@pytest.mark.django_db
class TestThePages:
    def test_serve_the_document(self):
        answer = Client().get("/openapi.json", headers={"Accept": "text/html"})

        assert answer.status_code == 200
        assert answer.json()["info"]["title"] == "Farthing API"

    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    def test_load_nothing_from_elsewhere(self, path):
        page = Client().get(path)

        assert page.status_code == 200
        assert b"http://" not in page.content
        assert b"https://" not in page.content

    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    def test_run_no_script_of_their_own(self, path):
        policy = Client().get(path)["Content-Security-Policy"]

        assert "script-src 'self';" in policy + ";"
        assert "frame-ancestors 'none'" in policy

    def test_alone_may_style_from_script(self):
        assert "unsafe-inline" not in Client().get("/nothing")["Content-Security-Policy"]


@pytest.mark.browser
def test_swagger_ui_shows_the_routes(served_url, browser_page):
    browser_page.goto(f"{served_url}/docs")

    browser_page.locator("#operations-tag-usage").click()
    browser_page.get_by_text("/v0/usage/batch").first.wait_for()


@pytest.mark.browser(expects=["cdn.redoc.ly"])  # its maker's logo, which our policy keeps out
def test_redoc_shows_the_routes(served_url, browser_page):
    browser_page.goto(f"{served_url}/redoc")

    browser_page.get_by_role("heading", name="Record a usage event and charge it").wait_for()
