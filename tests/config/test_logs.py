import json
import logging

from config.logs import RedactingJsonFormatter, RequestIdFilter, redact
from merchants import request_ids

KEY = "fth_sk_test_9aZ3kQ0vB7nM2xC5wE8r"


class TestRedact:
    def test_keeps_the_kind_of_a_key_and_nothing_else(self):
        assert redact(f"Bearer {KEY}, fth_rk_live_abc.") == "Bearer fth_sk_test_[redacted], fth_rk_live_[redacted]."

    def test_leaves_no_token_in_an_address(self):
        said = "Conflict: /portal/pay/AaIk-n3xeNqldqtE1Kz4.oRRguK2TprOD_rn/submit, /portal/c/AB.CD"
        assert redact(said) == "Conflict: /portal/pay/[redacted]/submit, /portal/c/[redacted]"

    def test_leaves_other_text_alone(self):
        assert redact("/portal/invoices/inv_01jd/pdf") == "/portal/invoices/inv_01jd/pdf"
        assert redact("fth_sk_test_ and com_01jd") == "fth_sk_test_ and com_01jd"


class TestLogLine:
    def line(self, *args: object, error: Exception | None = None) -> dict[str, str]:
        record = logging.LogRecord("farthing", logging.ERROR, __file__, 1, "key %s", args, None)
        if error:
            record.exc_info = (type(error), error, None)
        RequestIdFilter().filter(record)
        parsed: dict[str, str] = json.loads(RedactingJsonFormatter("%(message)s %(request_id)s").format(record))
        return parsed

    def test_carries_the_request_id(self):
        token = request_ids.current.set("req_12345678")
        assert self.line("x")["request_id"] == "req_12345678"
        request_ids.current.reset(token)
        assert self.line("x")["request_id"] == ""

    def test_hides_keys_in_arguments_and_tracebacks(self):
        line = self.line(KEY, error=ValueError(KEY))
        assert line["message"] == "key fth_sk_test_[redacted]"
        assert "fth_sk_test_[redacted]" in line["exc_info"]
        assert KEY not in json.dumps(line)
