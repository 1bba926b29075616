"""The verdicts on a request to the webhook, and the policy that decides them."""

from dataclasses import dataclass, field

from baton.errors import ConfigurationError
from baton.records.issue import Delivery, Repository
from baton.settings.core import Settings
from baton.text.key_masker import KeyMasker


@dataclass(frozen=True)
class StartRun:
    """A delivery that requests a run on an issue."""

    delivery: Delivery


@dataclass(frozen=True)
class SignalRun:
    """A delivery about an event that concerns a run, if there is one."""

    delivery: Delivery


@dataclass(frozen=True)
class IgnoreDelivery:
    """A signed delivery that concerns no run."""

    reason: str


@dataclass(frozen=True)
class RejectRequest:
    """A request that is not a signed delivery, or cannot be read."""

    status: int
    """The HTTP status to answer with."""
    reason: str


Verdict = StartRun | SignalRun | IgnoreDelivery | RejectRequest


@dataclass(frozen=True)
class WebhookPolicy:
    """The settings of the webhook's operator."""

    secrets: tuple[str, ...]
    label: str = "baton"
    bots: frozenset[str] = frozenset()
    """Logins in lower case."""
    served: frozenset[str] = frozenset()
    """`owner/name` or `owner/*` in lower case; empty: all."""
    app_id: int | None = None
    url: str = "https://github.com"
    masker: KeyMasker = field(default_factory=lambda: KeyMasker({}), repr=False, compare=False)
    """Masks secrets of the settings in text of others."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "WebhookPolicy":
        """Return the policy of the settings; raises ConfigurationError if there is no secret to trust a delivery by."""
        if not settings.github_webhook_secrets:
            raise ConfigurationError(
                "BATON_GITHUB_WEBHOOK_SECRET is not set: without it a delivery of GitHub cannot be distinguished"
                " from a forged one. Set it (or BATON_GITHUB_WEBHOOK_SECRET_FILE) to the secret of the webhook."
            )
        return cls(
            secrets=settings.github_webhook_secrets,
            label=settings.github_label,
            bots=settings.github_bot_logins,
            served=settings.github_served,
            app_id=settings.github_app_id,
            url=settings.github_url,
            masker=settings.make_masker(),
        )

    def serves_repository(self, repository: Repository) -> bool:
        """Whether runs may be made for this repository."""
        names = {repository.full_name.lower(), f"{repository.owner.lower()}/*"}
        return not self.served or not names.isdisjoint(self.served)
