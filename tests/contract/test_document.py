"""What the OpenAPI document says an answer looks like, held against the answers of a served Farthing."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from drf_spectacular.generators import SchemaGenerator

from tests import callers, tenants
from tests.tenants import REQUESTS, Request

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return schema


def complaint(document: dict[str, Any], request: Request, answer: httpx.Response) -> str | None:
    """What an answer has that the document does not promise, or lacks that it does."""
    responses = operation(document, request)["responses"]
    described = responses.get(str(answer.status_code))
    if described is None:
        return f"{request}: {answer.status_code} is not described"
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    content = described.get("content")
    if content is None:
        return f"{request}: there is a body" if answer.content else None
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type not in content:
        return f"{request}: {media_type} is not described"
    if media_type != "application/json":
        return None
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    faults = [f"{fault.json_path}: {fault.message}" for fault in validator(schema).iter_errors(answer.json())]
    faults += [f"{name} is not described" for name in undescribed(document, schema, answer.json())]
    return f"{request}: {faults[:3]}" if faults else None


def validator(schema: dict[str, Any]) -> jsonschema.protocols.Validator:
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def undescribed(document: dict[str, Any], schema: dict[str, Any], value: Any, at: str = "$") -> Iterator[str]:
    """Name the members of an answer that the document says nothing of."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict):
        known = schema.get("properties", value)
        for name, member in value.items():
            if name not in known:
                yield f"{at}.{name}"
            elif "properties" in schema:
                yield from undescribed(document, known[name], member, f"{at}.{name}")
    if isinstance(value, list):
        for each in value:
            yield from undescribed(document, schema.get("items", {}), each, at)


def operation(document: dict[str, Any], request: Request) -> dict[str, Any]:
    """Find the operation of a request by the shape of its path."""
    blank = re.sub(r"\{\w+\}", "{}", request.path)
    path = next(path for path in document["paths"] if re.sub(r"\{\w+\}", "{}", path) == blank)
    found: dict[str, Any] = document["paths"][path][request.method.lower()]
    return found


def test_every_answer_is_as_it_is_described(document, served_url):
    own = tenants.belongings(callers.caller(*callers.FULL), served_url)

    answers = [(request, tenants.sent(served_url, own, request, {})) for request in REQUESTS]

    complaints = [complaint(document, request, answer) for request, answer in answers]
    assert not any(complaints), "\n".join(filter(None, complaints))


def test_every_refusal_is_as_it_is_described(document, served_url):
    own = tenants.belongings(callers.caller(*callers.FULL), served_url)
    powerless = callers.caller("plans:read", merchant=own.caller.merchant)
    stranger = tenants.Belongings(powerless, own.things)

    answers = [(request, tenants.sent(served_url, stranger, request, {})) for request in REQUESTS]

    refused = [(request, answer) for request, answer in answers if answer.status_code == 403]
    complaints = [complaint(document, request, answer) for request, answer in refused]
    assert len(refused) >= len(REQUESTS) - 5  # those that read plans
    assert not any(complaints), "\n".join(filter(None, complaints))
