"""Where every view of the API starts: one caller, one merchant, and nothing of anybody else's.

A view of another app looks like this, and has nothing else to do about tenancy, strictness or idempotency::

    class Widgets(TenantView):
        scope = "widgets"                                   # read for GET, write for the rest

        @extend_schema(parameters=[WidgetQuerySerializer], responses=page_of(WidgetSerializer))
        def get(self, request):
            query = self.read_query(WidgetQuerySerializer)  # repeated and unknown parameters: 400
            return self.page(widgets.list(merchant_id=self.merchant_id, ...), query, WidgetSerializer)

        @extend_schema(request=CreateWidgetSerializer, responses={201: WidgetSerializer})
        def post(self, request):
            body = self.read_body(CreateWidgetSerializer)   # strict JSON; unknown members: 400
            return self.answer_once(lambda: (201, WidgetSerializer, widgets.create(merchant_id=..., now=self.now)))

``answer_once`` honours an ``Idempotency-Key`` header: the same key and request get the first answer again, with
``Idempotent-Replayed: true``; another request under that key is 409. Without the header it just acts.
"""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar, Protocol, cast
from uuid import UUID

from django.conf import settings
from django.urls import ResolverMatch
from django.utils import timezone
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from merchants import audit, fields, idempotency, ids, regions, request_ids
from merchants.audit import Actor
from merchants.errors import LengthRequired, NotFound
from merchants.idempotency import Answer, Claim
from merchants.keys import KeyFacts

IDEMPOTENCY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"

Made = tuple[int, type[Serializer[Any]] | None, Any]


class Rows(Protocol):
    """What can be counted and cut into pages: a query set, or a list."""

    def __getitem__(self, key: slice, /) -> Any: ...


class AlwaysJson(BaseContentNegotiation):
    """Answers in JSON whatever the Accept header says: a refusal has to be readable too."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """Leave the verdict on the body's type to the one parser there is."""
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Take the first renderer."""
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class TenantView(APIView):
    """A view that acts for the merchant of the caller's key, and for no other."""

    http_method_names = ["get", "post", "patch", "delete"]
    content_negotiation_class = AlwaysJson
    # The resource whose scope a key needs.
    scope: ClassVar[str]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Read the clock once, let the caller in, and look where they want to be served."""
        self.now: datetime = timezone.now()
        super().initial(request, *args, **kwargs)
        regions.is_regional(
            region=request.headers.get(regions.REGION_HEADER),
            edge=request.headers.get(regions.EDGE_HEADER),
            known=settings.REGIONS,
        )

    @property
    def caller(self) -> KeyFacts:
        """The key that the request came with."""
        return cast(KeyFacts, self.request.auth)

    @property
    def merchant_id(self) -> UUID:
        """The only merchant this request can see."""
        return self.caller.merchant_id

    @property
    def actor(self) -> Actor:
        """Who to name in the audit log."""
        address = audit.address_of(self.request.META)
        return Actor(f"key:{ids.text('key', self.caller.key_id)}", request_ids.current.get(), address)

    def path_id(self, prefix: str, value: str) -> UUID:
        """Read an id from the path; one that cannot be one names nothing.

        Raises:
            NotFound: it is not of the form ``prefix_…``.
        """
        try:
            return ids.parse(prefix, value)
        except ids.InvalidId as error:
            raise NotFound() from error

    def read_body(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """Return the body's members, checked; absent ones are absent from it."""
        return self._read(serializer, self._data())

    def read_query(self, serializer: type[Serializer[Any]]) -> dict[str, Any]:
        """Return the query string's parameters, checked."""
        return self._read(serializer, self.request.query_params)

    def page(self, rows: Rows, query: dict[str, Any], serializer: type[Serializer[Any]], **context: Any) -> Response:
        """Answer with one page of rows that are in a stable order and scoped to the merchant."""
        limit, offset = query["limit"], query["offset"]
        total = len(rows) if isinstance(rows, list) else rows.count()  # type: ignore[attr-defined]
        data = serializer(rows[offset : offset + limit], many=True, context=self._context() | context).data
        pagination = {"limit": limit, "offset": offset, "total": total}
        return Response({"object": "list", "data": data, "pagination": pagination})

    def answer(self, serializer: type[Serializer[Any]], value: Any, status: int = 200, **context: Any) -> Response:
        """Answer with one object."""
        return Response(serializer(value, context=self._context() | context).data, status=status)

    def answer_once(self, act: Callable[[], Made]) -> Response:
        """Act once per ``Idempotency-Key``, and answer what the first time gave; without the header, just act.

        ``act`` returns a status, the serializer of the answer and its object; (204, None, None) for no content.

        Raises:
            IdempotencyConflict: the key was used for a different request.
        """
        claim = self.claim()
        answer = self._act(act) if claim is None else idempotency.once(claim, lambda: self._act(act))
        headers = {REPLAYED_HEADER: "true"} if answer.is_replay else None
        return Response(json.loads(answer.body) if answer.body else None, status=answer.status, headers=headers)

    def claim(self) -> Claim | None:
        """Return the request's ``Idempotency-Key`` with what it asks for; None without the header."""
        key = self.request.headers.get(IDEMPOTENCY_HEADER)
        if key is None:
            return None
        return Claim(
            merchant_id=self.merchant_id,
            kind=f"{self.request.method} {cast(ResolverMatch, self.request.resolver_match).route}",
            key=fields.idempotency_key(key, IDEMPOTENCY_HEADER),
            fingerprint=idempotency.fingerprint(self.request.path, self._data()),
            now=self.now,
        )

    def _act(self, act: Callable[[], Made]) -> Answer:
        status, serializer, value = act()
        if serializer is None:
            return Answer(status, "")
        return Answer(status, JSONRenderer().render(serializer(value, context=self._context()).data).decode())

    def _data(self) -> Any:
        # REST framework takes a body of no stated length for no body at all.
        if not self.request.META.get("CONTENT_LENGTH") and self.request._request.read(1):
            raise LengthRequired()
        return self.request.data

    def _read(self, serializer: type[Serializer[Any]], data: Any) -> dict[str, Any]:
        reader = serializer(data=data, context=self._context())
        reader.is_valid(raise_exception=True)
        values: dict[str, Any] = reader.validated_data
        return values

    def _context(self) -> dict[str, Any]:
        return {"merchant_id": self.merchant_id}
