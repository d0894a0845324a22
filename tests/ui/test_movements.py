"""The words for movements of a balance."""

import pytest

from ui import movements


@pytest.mark.parametrize(
    ("kind", "amount", "words"),
    [
        ("usage", -5, "Use and fees"),
        ("usage", 5, "Given back"),
        ("top_up_received", 5, "Top-up"),
        ("something_new", -5, "Something new"),
    ],
)
def test_words_say_which_way_money_went(kind: str, amount: int, words: str) -> None:
    assert movements.words(kind, amount) == words
