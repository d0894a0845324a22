"""How the control plane reads bodies: the strict JSON decoder, as a parser of REST framework."""

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser

from merchants import strict_json


class StrictJSONParser(BaseParser):
    """Reads one JSON object in UTF-8 of at most ``BODY_BYTES_MAX`` bytes."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the object in the stream, or refuse it as strict_json.decode does."""
        headers = parser_context["request"].headers if parser_context else {}
        bytes_max = settings.BODY_BYTES_MAX
        strict_json.check_headers(
            content_type=self.media_type if media_type is None else media_type,
            content_encoding=headers.get("Content-Encoding", ""),
            content_length=headers.get("Content-Length", "0"),
            bytes_max=bytes_max,
        )
        return strict_json.decode(stream.read(bytes_max + 1), bytes_max=bytes_max)
