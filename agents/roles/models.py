"""Model ids from the names in agent files, settings and requests, with a note for each assumption."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from baton.budget.pricing import PriceList
from baton.errors import ConfigurationError
from baton.records.run import ROLES
from baton.settings.core import Settings

DEFAULT_MODEL = "sonnet"

_FULL_ID = re.compile(r"claude-[a-z0-9][a-z0-9.@:-]{0,120}")
_DATED = re.compile(r"(?P<id>.+?)[-@]\d{8}")
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class ResolvedModel:
    """The id of a model, and a note about the choice (None if the name was a plain alias or id)."""

    id: str
    note: str | None = None


def model_of(
    role: str, own: str | None, path: str, asked: Mapping[str, str], settings: Settings, prices: PriceList
) -> ResolvedModel:
    """Return the model of a role by precedence: the run's request, the settings, the role's file (`own`, at `path`).

    Raises ConfigurationError with the source of the name for a model that cannot be used.
    """
    places = (
        (f"the model that was asked for as {role}", asked.get(role)),
        (f"BATON_{role.upper()}_MODEL", settings.model_of_role(role)),
    )
    where, wanted = next((place for place in places if place[1]), (path, own))
    try:
        return resolve_model(wanted, prices, DEFAULT_MODEL, exact=where != path)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where[:1].upper()}{where[1:]} is invalid. {error}") from error


def check_models(asked: Mapping[str, str], settings: Settings, prices: PriceList) -> None:
    """Raise ConfigurationError if an option or a setting names a model that cannot be used."""
    for role in ROLES:
        model_of(role, None, "", asked, settings, prices)


def resolve_model(raw: str | None, prices: PriceList, default: str, *, exact: bool = False) -> ResolvedModel:
    """Return the model for a written name. Raises ConfigurationError for an id without a price or a bad `default`.

    An alias gives its current model, `inherit` and an empty name the default, a retired id its successor. Free text
    that names exactly one alias gives that model. Any other text gives the default; with `exact`, for a name that a
    person chose, it raises ConfigurationError.
    """
    plain = _resolve_plain(default, prices)
    if plain is None:
        raise ConfigurationError(f"The default model {default[:80]!r} is neither an alias nor a model id.")
    written = " ".join((raw or "").split())[:200]
    if not written:
        return ResolvedModel(plain.id, _join_notes(f"No model is named; {plain.id} is used.", plain.note))
    if written.lower() == "inherit":
        return ResolvedModel(plain.id, _join_notes(f"The model is inherited: {plain.id}.", plain.note))
    named = _resolve_plain(written, prices)
    if named is not None:
        return named
    aliases = sorted(set(_WORD.findall(written.lower())) & set(prices.aliases))
    if len(aliases) == 1:
        model = prices.aliases[aliases[0]]
        return ResolvedModel(model, f"The model {written!r} is no id; it was read as `{aliases[0]}`, which is {model}.")
    if exact:
        known = ", ".join(prices.aliases)
        raise ConfigurationError(
            f"{written[:80]!r} is no model: write an alias ({known}), or the id of a model that has a price."
        )
    why = f"names several models ({', '.join(aliases)})" if aliases else "names no known model"
    return ResolvedModel(plain.id, _join_notes(f"The model {written!r} {why}; {plain.id} is used.", plain.note))


def _resolve_plain(written: str, prices: PriceList) -> ResolvedModel | None:
    """Return the model of an alias or id, None for other text. Raises ConfigurationError for an id without a price."""
    name = written.strip().lower()
    if name in prices.aliases:
        prices.require_price(prices.aliases[name])
        return ResolvedModel(prices.aliases[name])
    dated = _DATED.fullmatch(name)
    for candidate in (name, dated["id"] if dated else name):
        if candidate in prices.retired:
            successor = prices.retired[candidate]
            successor = prices.aliases.get(successor, successor)
            prices.require_price(successor)
            return ResolvedModel(successor, f"{written} is retired; {successor} is used instead.")
    for known in (written.strip(), name):
        if prices.has_model(known):
            return ResolvedModel(known)
    if _FULL_ID.fullmatch(name):
        prices.require_price(name)
    return None


def _join_notes(*notes: str | None) -> str:
    return " ".join(note for note in notes if note)
