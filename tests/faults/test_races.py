"""Many processes reserve on one wallet at once: it grants exactly what it holds."""

from tests.faults.farthing import Farthing
from tests.faults.races import race, served_naively


class TestRacingReservations:
    def test_are_granted_exactly_as_far_as_the_funds_go(self, farthing: Farthing, seed: int) -> None:
        outcome = race(farthing, reservations=2_000, funded=1_200, seed=seed)
        assert outcome.verdict.is_green, str(outcome)
        assert (outcome.granted, outcome.refused) == (1_200, 800), str(outcome)
        assert outcome.wallet == (1_200, 1_200)

    def test_would_be_granted_too_often_without_the_lock(self, farthing: Farthing, seed: int) -> None:
        with served_naively(farthing) as port:
            outcome = race(farthing, reservations=600, funded=300, seed=seed, port=port)
        assert outcome.granted > 300, str(outcome)
        assert outcome.verdict.count("wallets that do not add up"), str(outcome)
        assert outcome.verdict.count("rules broken"), str(outcome)
