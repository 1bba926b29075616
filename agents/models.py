"""Makes a model id of what an agent file, a setting or a person wrote. Whatever is not plain is said in a note."""

import re
from dataclasses import dataclass

from baton.errors import ConfigurationError
from baton.pricing import PriceList

_FULL_ID = re.compile(r"claude-[a-z0-9][a-z0-9.@:-]{0,120}")
_DATED = re.compile(r"(?P<id>.+?)[-@]\d{8}")
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class ResolvedModel:
    """The id that is asked for, and what a person should know about the choice (None: it is what was written)."""

    id: str
    note: str | None = None


def resolve_model(raw: str | None, prices: PriceList, default: str) -> ResolvedModel:
    """The model for what was written; raises ConfigurationError where `default` itself names no model.

    An alias gives its current model. `inherit` and nothing at all give the default. A retired id gives its
    successor. An unknown `claude-...` id is asked for as it is, for the API may know it before the price list does.
    Free text that names exactly one alias gives that model; any other text gives the default.
    """
    plain = _plain(default, prices)
    if plain is None:
        raise ConfigurationError(f"The default model {default[:80]!r} is neither an alias nor a model id.")
    written = " ".join((raw or "").split())[:200]
    if not written:
        return ResolvedModel(plain.id, _join(f"No model is named; {plain.id} is used.", plain.note))
    if written.lower() == "inherit":
        return ResolvedModel(plain.id, _join(f"The model is inherited: {plain.id}.", plain.note))
    named = _plain(written, prices)
    if named is not None:
        return named
    aliases = sorted(set(_WORD.findall(written.lower())) & set(prices.aliases))
    if len(aliases) == 1:
        model = prices.aliases[aliases[0]]
        return ResolvedModel(model, f"The model {written!r} is no id; it was read as `{aliases[0]}`, which is {model}.")
    why = f"names several models ({', '.join(aliases)})" if aliases else "names no known model"
    return ResolvedModel(plain.id, _join(f"The model {written!r} {why}; {plain.id} is used.", plain.note))


def _plain(written: str, prices: PriceList) -> ResolvedModel | None:
    """Alias or id; None for anything else."""
    if prices.knows(written):
        return ResolvedModel(written)
    name = written.strip().lower()
    if name in prices.aliases:
        return ResolvedModel(prices.aliases[name])
    if prices.knows(name):
        return ResolvedModel(name)
    dated = _DATED.fullmatch(name)
    for candidate in (name, dated["id"] if dated else name):
        if candidate in prices.retired:
            successor = prices.retired[candidate]
            successor = prices.aliases.get(successor, successor)
            return ResolvedModel(successor, f"{written} is retired; {successor} is used instead.")
    if _FULL_ID.fullmatch(name):
        note = f"{name} is not in the price list; its calls are counted at the dearest known prices."
        return ResolvedModel(name, note)
    return None


def _join(*notes: str | None) -> str:
    return " ".join(note for note in notes if note)
