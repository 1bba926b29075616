"""Text files for the editing tools: their characters, and the conventions that a change must keep. Pure.

The conventions are the encoding, the byte order mark, the line ends and a missing last line end. A model is shown lines
and writes bare line feeds; in the file these become the line ends that its lines have.
"""

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32-le"),  # before UTF-16, whose mark it begins with
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_END = re.compile("\r\n|\r|\n")
_MAX_COMPARED = 10_000
"""Maximum of line pairs that are compared between two anchor lines."""


class NotText(ValueError):
    """The bytes are no text in a recognisable encoding; the message is the rest of a sentence."""


@dataclass(frozen=True)
class TextFile:
    """The characters of a file, with its encoding."""

    text: str
    """The characters without the byte order mark, with the line ends of the file."""
    encoding: str = "utf-8"
    mark: bytes = b""

    def encode_text(self, text: str) -> bytes:
        """Return the bytes of a text in this file's encoding, after its byte order mark."""
        return self.mark + text.encode(self.encoding)

    @property
    def shown_lines(self) -> list[str]:
        """The lines as a model is shown them; the last one is empty if the file ends with a line end."""
        if "\r" in self.text and "\n" not in self.text:
            return self.text.split("\r")
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    def describe_format(self) -> str:
        """Return the conventions of the file for an answer; empty for UTF-8 with line feeds and without a mark."""
        ends = set(_END.findall(self.text))
        parts = []
        if len(ends) > 1:
            parts.append("mixed line ends")
        elif ends - {"\n"}:
            parts.append("CR line ends" if "\r" in ends else "CRLF line ends")
        if self.encoding != "utf-8":
            parts.append(self.encoding.upper())
        if self.mark:
            parts.append("byte order mark")
        return ", ".join(parts)


def lenient_text(data: bytes) -> str:
    """Return the text in bytes for reading only, by its mark, else as UTF-8; invalid bytes are replaced."""
    mark, encoding = _detect_mark(data)
    return data[len(mark) :].decode(encoding, "replace")


def parse_text(data: bytes) -> TextFile:
    """Return the text in a file's bytes. Raises NotText if writing it back would change other bytes."""
    mark, encoding = _detect_mark(data)
    try:
        return TextFile(data[len(mark) :].decode(encoding), encoding, mark)
    except UnicodeDecodeError as error:
        if mark and encoding != "utf-8":
            raise NotText(f"begins with a mark of {encoding.upper()} and is not valid {encoding.upper()}") from error
        raise NotText("is not valid UTF-8 text") from error


def replace_text(file: TextFile, old: str, new: str, *, everywhere: bool) -> tuple[str, int]:
    """Return the text with `old` replaced, and the number of its occurrences.

    The text is unchanged if `old` occurs never, or several times without `everywhere`. A bare line feed in `old`
    matches any line end. Unchanged lines of `new` keep their ends; others take the end of the lines that they replace,
    or the file's most frequent one. A carriage return in `new` is kept.
    """
    text = file.text
    if file.mark:
        old, new = old.removeprefix("\ufeff"), new.removeprefix("\ufeff")
    places, literal = _find_places(text, old)
    if not places and old.endswith("\n") and not text.endswith(("\n", "\r")):
        # The last line has no end, which a model cannot see.
        places = [place for place in _find_places(text, re.sub("\r?\n\\Z", "", old))[0] if place[1] == len(text)]
        new = re.sub("\r?\n\\Z", "", new) if places else new
    if not places or (len(places) > 1 and not everywhere):
        return text, len(places)
    if _plain_ends(old) == _plain_ends(new):
        literal = True  # the line ends are the change
    elif literal:
        literal = "\n" not in new or "\r" in new or "\r" not in text
    meant, usual = _intended_text(new, text), _usual_ends(text)
    parts, at = [], 0
    known: dict[tuple[str, str], str] = {}
    for begin, end in places:
        region, ending = text[begin:end], _nearest_end(text, begin, usual)
        if literal:
            replaced = new
        elif (region, ending) in known:
            replaced = known[region, ending]
        else:
            replaced = known[region, ending] = _with_ends(region, meant, ending)
        if not literal:
            replaced = _keep_apart(text[begin - 1 : begin], replaced, text[end : end + 1])
        parts += [text[at:begin], replaced]
        at = end
    return "".join([*parts, text[at:]]), len(places)


def rewrite_text(file: TextFile, content: str) -> str:
    """Return new content with the line ends of this file, unless the content itself has CRLF."""
    if file.mark:
        content = content.removeprefix("\ufeff")
    if "\r" not in file.text or "\r\n" in content:
        return content
    if "\r" in content and not set(_END.findall(file.text)) - {"\r"}:
        return content
    return _with_ends(file.text, content, _nearest_end(file.text, 0, _usual_ends(file.text)))


def _detect_mark(data: bytes) -> tuple[bytes, str]:
    return next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))


def _find_places(text: str, old: str) -> tuple[list[tuple[int, int]], bool]:
    """Return the places of `old` in the text, and whether they match it character by character."""
    if "\r" not in text or "\r" in old:
        places = _find_all(text, old)
        if places or "\r" not in old:
            return places, True
    old = _plain_ends(old)
    plain = _plain_ends(text)
    # In the plain text each CRLF before a place counts one character less.
    ends = [found.start() - number for number, found in enumerate(re.finditer("\r\n", text))]
    places = [(a + bisect_left(ends, a), b + bisect_left(ends, b)) for a, b in _find_all(plain, old)]
    return places, False


def _find_all(text: str, old: str) -> list[tuple[int, int]]:
    places, at = [], text.find(old) if old else -1
    while at >= 0:
        places.append((at, at + len(old)))
        at = text.find(old, at + len(old))
    return places


def _plain_ends(text: str) -> str:
    return _END.sub("\n", text)


def _intended_text(new: str, text: str) -> str:
    """Return the new text with bare line feeds; a single carriage return stays unless the file's lines end with it."""
    return _plain_ends(new) if "\n" not in text else new.replace("\r\n", "\n")


def _usual_ends(text: str) -> list[str]:
    """Return the most frequent line end, or several that are equally frequent."""
    ends: list[str] = _END.findall(text)
    counts = Counter(ends)
    return [end for end, count in counts.items() if count == max(counts.values())] or ["\n"]


def _nearest_end(text: str, at: int, usual: list[str]) -> str:
    """Return the end of the line at a place if it is among the usual ones, else the first of them."""
    near = _END.search(text, at) if len(usual) > 1 else None
    return near.group() if near is not None and near.group() in usual else usual[0]


def _with_ends(region: str, new: str, usual: str) -> str:
    """Return a text with bare line feeds for the place of a region; lines of the region that stay keep their ends."""
    kinds = set(_END.findall(region))
    if len(kinds) <= 1:
        return new.replace("\n", kinds.pop() if kinds else usual)
    before, ends = _END.split(region), _END.findall(region)
    after = new.split("\n")
    from_old = dict(_pair_lines(before, after))
    parts: list[str] = []
    for number, line in enumerate(after):
        old = from_old.get(number)
        end = ends[old] if old is not None and old < len(ends) else usual
        if end == "\n" and not line and parts and parts[-1] == "\r":
            end = "\r"  # the two would be one line end
        parts += [line, end if number + 1 < len(after) else ""]
    return "".join(parts)


def _keep_apart(before: str, text: str, behind: str) -> str:
    """Return a text for the place between two characters, so that no CR and LF of two lines become one line end."""
    if before == "\r":
        rest = text.lstrip("\n")
        text = "\r" * (len(text) - len(rest)) + rest
    if behind == "\n":
        rest = text.rstrip("\r")
        text = rest + "\n" * (len(text) - len(rest))
    return text


def _pair_lines(before: list[str], after: list[str]) -> list[tuple[int, int]]:
    """Return pairs (new line, old line) for lines that stay or replace others."""
    pairs: list[tuple[int, int]] = []
    at, there = 0, 0
    for old, new in [*_anchor_lines(before, after), (len(before), len(after))]:
        pairs += [(there + b, at + a) for b, a in _pair_gap(before[at:old], after[there:new])]
        pairs.append((new, old))
        at, there = old + 1, new + 1
    return pairs


def _anchor_lines(before: list[str], after: list[str]) -> list[tuple[int, int]]:
    """Return pairs (old line, new line) of the common head and tail, and of lines that occur once in both texts."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    old, new = range(head, len(before) - tail), range(head, len(after) - tail)
    here, there = Counter(before[number] for number in old), Counter(after[number] for number in new)
    places = {after[number]: number for number in new}
    single = [(number, places[before[number]]) for number in old if here[before[number]] == there[before[number]] == 1]
    ends = [(len(before) - number, len(after) - number) for number in range(tail, 0, -1)]
    return [*((number, number) for number in range(head)), *_longest_ascending(single), *ends]


def _longest_ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest subsequence of the pairs with ascending second numbers (patience sorting)."""
    piles: list[int] = []
    tops: list[int] = []
    below: list[int | None] = []
    for number, (_, place) in enumerate(pairs):
        pile = bisect_left(piles, place)
        below.append(tops[pile - 1] if pile else None)
        piles[pile : pile + 1] = [place]
        tops[pile : pile + 1] = [number]
    found: list[tuple[int, int]] = []
    at = tops[-1] if tops else None
    while at is not None:
        found.append(pairs[at])
        at = below[at]
    return found[::-1]


def _pair_gap(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """Return the pairs between two anchors: few lines are compared, many are paired in order."""
    if not old or not new:
        return []
    if len(old) * len(new) > _MAX_COMPARED:
        return [(number, number) for number in range(min(len(old), len(new)))]
    pairs: list[tuple[int, int]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind in ("equal", "replace"):
            pairs += list(zip(range(c, d), range(a, b), strict=False))
    return pairs
