"""The wire to Stripe: no request takes longer than its time, however often it is tried and however slowly answered.

Stripe's library has a timeout for each wait on the socket, and none for all of them: an answer of a byte at a time, or
a few tries, would take as long as the peer likes.
"""

import time
from collections.abc import Mapping
from typing import Any

import requests
import stripe

ANSWER_SECONDS_MAX = 20.0  # of a request, tries included
TRY_SECONDS_MAX = 10.0
RETRIES_MAX = 2
PIECE_BYTES = 65_536


class TooSlow(stripe.APIConnectionError):
    """There was no answer in all the time that there is: what was asked for may have happened."""


class Wire(stripe.RequestsClient):
    """Stripe's client of ``requests``, with a deadline for each request. Of one thread."""

    def __init__(self) -> None:
        super().__init__(timeout=TRY_SECONDS_MAX)
        self._until = 0.0

    def request_with_retries(self, *args: Any, **options: Any) -> tuple[str, int, Mapping[str, str]]:
        """Ask, and ask again where there was no answer, until the time is over; raises TooSlow."""
        self._until = time.monotonic() + ANSWER_SECONDS_MAX
        try:
            return super().request_with_retries(*args, **options)
        except stripe.APIConnectionError as error:
            if time.monotonic() < self._until:
                raise
            message = f"Stripe did not answer within {ANSWER_SECONDS_MAX:g} seconds."
            raise TooSlow(message) from error  # type: ignore[no-untyped-call]

    def request(self, *asked: Any, **options: Any) -> Any:
        """Ask once, in what is left of the time."""
        self._timeout = min(TRY_SECONDS_MAX, self._left())
        answer, status, headers = self.request_stream(*asked, **options)
        try:
            pieces = []
            while piece := answer.read1(PIECE_BYTES, decode_content=True):
                self._left()
                pieces.append(piece)
        except stripe.StripeError:
            answer.close()
            raise
        except Exception as error:
            answer.close()
            self._handle_request_error(requests.ConnectionError(str(error)))
        return b"".join(pieces), status, headers

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise stripe.APIConnectionError("The time to answer is over.", should_retry=False)  # type: ignore[no-untyped-call]
        return left
