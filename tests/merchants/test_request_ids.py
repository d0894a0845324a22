import re

import pytest

from merchants import request_ids


class TestAccept:
    @pytest.mark.parametrize("offered", ["12345678", "req_A-b_9", "x" * 64])
    def test_takes_a_sane_id(self, offered: str):
        assert request_ids.accept(offered) == offered

    @pytest.mark.parametrize(
        "offered", [None, "", "1234567", "x" * 65, "with space", "new\nline1", "émoticône", "12345678\n"]
    )
    def test_makes_one_instead_of_any_other(self, offered: str | None):
        assert re.fullmatch(r"req_[0-9a-f]{32}", request_ids.accept(offered))

    def test_makes_a_new_one_each_time(self):
        assert request_ids.accept(None) != request_ids.accept(None)
