"""``make demo``, with few submissions: a whole Farthing, five customers, and sums that agree."""

from decimal import Decimal

import pytest

from examples.code_runner import demo, demo_report
from examples.code_runner.demo_orders import orders


class TestMain:
    @pytest.mark.slow
    @pytest.mark.usefixtures("isolation")
    def test_sells_and_finds_that_all_books_agree(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(demo, "ORDERS_PER_CUSTOMER", 4)
        monkeypatch.setattr(demo, "POOR", Decimal("0.01"))  # does not even cover the first
        status = demo.main()
        printed = capsys.readouterr().out
        assert status == 0, printed
        assert "0 broken" in printed
        assert "were answered 402 with http://" in printed


class TestOrders:
    def test_are_the_same_for_the_same_seed(self) -> None:
        assert list(orders(seed=1, count=50)) == list(orders(seed=1, count=50)) != list(orders(seed=2, count=50))

    def test_have_something_endless_among_them(self) -> None:
        assert "time_limit" in {program.status for program in orders(seed=1, count=3)}


class TestNanos:
    @pytest.mark.parametrize("text", ["0", "0.000000001", "25.050000000", "123456789012.123456789"])
    def test_are_read_exactly(self, text: str) -> None:
        assert demo_report.nanos(demo_report.dollars(demo_report.nanos(text))) == demo_report.nanos(text)

    @pytest.mark.parametrize(("amount", "text"), [(-1, "-0.000000001"), (1_500_000_000, "1.500000000")])
    def test_are_written_exactly(self, amount: int, text: str) -> None:
        assert demo_report.dollars(amount) == text
