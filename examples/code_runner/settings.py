"""What the seller is told by its environment, and what it offers."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from .sandbox import Limits

TIERS: dict[str, Limits] = {
    "basic": Limits(cpu_seconds=2, wall_seconds=4, memory_bytes=128 << 20),
    "premium": Limits(cpu_seconds=10, wall_seconds=20, memory_bytes=512 << 20),
}


class CannotStart(Exception):
    """Something about the installation is wrong; the message says what."""


class Buyer(msgspec.Struct, frozen=True, rename="camel"):
    """A customer of ours, by the names Farthing gave."""

    customer_id: str
    subscription_id: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs from one installation to the next."""

    farthing_url: str
    farthing_api_key: str
    merchant_id: str
    tier_metrics: Mapping[str, str]  # tier → id of the metric that counts its submissions
    milliseconds_metric: str
    buyers: Mapping[str, Buyer]  # SHA-256 of the token → who it belongs to
    data_directory: Path
    workers: int  # programs that run at the same time
    weak_sandbox: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """This will read the settings; raises CannotStart when one is missing or wrong."""
        try:
            tokens = msgspec.json.decode(Path(environment["RUNNER_CUSTOMERS"]).read_bytes(), type=dict[str, Buyer])
            return cls(
                farthing_url=environment["FARTHING_URL"],
                farthing_api_key=environment["FARTHING_API_KEY"],
                merchant_id=environment["FARTHING_MERCHANT_ID"],
                tier_metrics={tier: environment[f"RUNNER_METRIC_{tier.upper()}"] for tier in TIERS},
                milliseconds_metric=environment["RUNNER_METRIC_MILLISECONDS"],
                buyers={digest(token): buyer for token, buyer in tokens.items()},
                data_directory=Path(environment.get("RUNNER_DATA_DIR", ".runner")).absolute(),
                workers=int(environment.get("RUNNER_WORKERS", os.cpu_count() or 1)),
                weak_sandbox=environment.get("RUNNER_WEAK_SANDBOX", "") == "1",
            )
        except KeyError as error:
            raise CannotStart(f"{error.args[0]} is not set; README.md lists what the code runner needs") from None
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
            raise CannotStart(f"the settings cannot be read: {error}") from None

    def limits(self, tier: str) -> Limits:
        """This will say what a run of a tier may use."""
        return dataclasses.replace(TIERS[tier], weak_allowed=self.weak_sandbox)


def port(environment: Mapping[str, str]) -> int:
    """This will say where to listen."""
    return int(environment.get("RUNNER_PORT", 8100))


def digest(token: str) -> str:
    """This will turn a token into the form it is kept in, so that a look-up takes the same time for any guess."""
    return hashlib.sha256(token.encode()).hexdigest()
