"""How a view becomes an operation of the OpenAPI document: its scope, its headers, and every way it can refuse."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, _SchemaType

from merchants import regions, roles

SECURITY = "ApiKey"
SAFE_METHODS = ("GET",)

# What can go wrong, by status: the name of the response component, and what it says.
REFUSALS = {
    400: ("BadRequest", "The request is not written as it must be; `errors` names the fields."),
    401: ("Unauthorized", "The key is missing, unknown, revoked or past its end."),
    402: ("InsufficientFunds", "Balance, a budget (`BUDGET_EXCEEDED`) or grants (`ENTITLEMENT_EXHAUSTED`) fall short."),
    403: ("Forbidden", "The key lacks a scope; `requiredPermissions` names it."),
    404: ("NotFound", "There is no such object for this merchant."),
    405: ("MethodNotAllowed", "The method is not allowed here; `Allow` names those that are."),
    408: ("RequestTimeout", "The body did not arrive in time."),
    409: ("Conflict", "It conflicts with the present state, or the idempotency key was used for something else."),
    411: ("LengthRequired", "The body came without Content-Length."),
    413: ("PayloadTooLarge", "The body is larger than it may be."),
    415: ("UnsupportedMediaType", "The body is not plain JSON in UTF-8."),
    422: ("Unprocessable", "It is well written, but makes no sense here."),
    429: ("TooManyRequests", "Too much is waiting, or was sent; `Retry-After` says when to come back."),
    500: ("InternalError", "Something went wrong on our side; `requestId` finds it in the log."),
    503: ("Unavailable", "A part is down for the moment; `Retry-After` says when to come back."),
}
SUCCESSES = {
    "200": "Here it is.",
    "201": "It was created, or an earlier request with the same key created it.",
    "202": "It was taken, or an earlier request with the same key was.",
    "204": "It is gone.",
    "207": "Some were recorded and some refused.",
}
ALWAYS = (401, 403, 404, 405, 429, 500, 503)
WITH_BODY = (400, 409, 411, 413, 415, 422)


class Schema(AutoSchema):
    """Adds to each operation what all operations have in common."""

    def get_auth(self) -> list[_SchemaType]:
        """Name the scope that a key needs."""
        access = roles.READ if self.method in SAFE_METHODS else roles.WRITE
        return [{SECURITY: [f"{self._resource}:{access}"]}]

    def get_tags(self) -> list[str]:
        """Group operations by the resource of their scope."""
        return [self._resource]

    @property
    def _resource(self) -> str:
        return str(getattr(self.view, "scope"))  # noqa: B009 (every TenantView has one, REST framework's views do not)

    def get_summary(self) -> str | None:
        """Take the first sentence of the handler's docstring."""
        return super().get_summary() or self.get_description().partition("\n")[0].rstrip(".")

    def get_override_parameters(self) -> list[Any]:
        """Add the headers that any operation takes."""
        shared = [
            OpenApiParameter(
                regions.REGION_HEADER,
                str,
                OpenApiParameter.HEADER,
                description="Region to be served by.",
                required=False,
            ),
            OpenApiParameter(
                regions.EDGE_HEADER,
                str,
                OpenApiParameter.HEADER,
                description="`true`: be served by the nearest edge.",
                enum=["true", "false"],
                required=False,
            ),
        ]
        if self.method == "POST" and getattr(self.view, "takes_idempotency_key", True):
            shared.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    str,
                    OpenApiParameter.HEADER,
                    description="1 to 255 printable characters. The same key and request get the first answer again, "
                    "with `Idempotent-Replayed: true`; another request under the key is a 409.",
                    required=False,
                )
            )
        return shared

    def refusals(self) -> list[int]:
        """List the statuses of all refusals the operation can give."""
        statuses = {*ALWAYS, *getattr(self.view, "also_refuses", ())}
        if self.method in ("POST", "PATCH"):
            statuses |= set(WITH_BODY)
        if self.method == "DELETE":
            statuses.add(409)
        if self.method == "GET":
            statuses.add(400)
        return sorted(statuses)

    def _get_response_bodies(self, direction: Any = "response") -> _SchemaType:
        bodies = super()._get_response_bodies(direction)
        for success, body in bodies.items():
            body["description"] = body["description"] or SUCCESSES[success]
        for refusal in self.refusals():
            bodies.setdefault(str(refusal), {"$ref": f"#/components/responses/{REFUSALS[refusal][0]}"})
        return bodies
