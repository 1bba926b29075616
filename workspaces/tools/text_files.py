"""A text file as the editing tools see it: its characters, and the conventions that a change of it must keep. Pure.

Conventions are the encoding, the byte order mark, the line ends and a missing last line end. A model is shown lines and
writes bare line feeds; in a file these stand for whatever its lines end with.
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
_MOST_COMPARED = 10_000
"""Pairs of lines that are compared at most to find those that stay, between two that stay for certain."""


class NotText(ValueError):
    """Bytes that are no text in an encoding that can be told; the message is the rest of a sentence."""


@dataclass(frozen=True)
class TextFile:
    """Characters of a file, and how they are written."""

    text: str
    """Without the mark, line ends as they are."""
    encoding: str = "utf-8"
    mark: bytes = b""

    def dump(self, text: str) -> bytes:
        """The bytes of a text in this file's encoding, behind its mark."""
        return self.mark + text.encode(self.encoding)

    @property
    def lines(self) -> list[str]:
        """The lines as a model is shown them; an empty last one where the last line has its end."""
        if "\r" in self.text and "\n" not in self.text:
            return self.text.split("\r")
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    def about(self) -> str:
        """What was kept, for the answer of a tool; empty for UTF-8 without a mark and with line feeds."""
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
    """The text in bytes that are only read, cut ones too: by its mark, else as UTF-8, with faults replaced."""
    mark, encoding = _marked(data)
    return data[len(mark) :].decode(encoding, "replace")


def parse_text(data: bytes) -> TextFile:
    """The text in a file's bytes; raises NotText where a change could not be written back without other changes."""
    mark, encoding = _marked(data)
    try:
        return TextFile(data[len(mark) :].decode(encoding), encoding, mark)
    except UnicodeDecodeError as error:
        if mark and encoding != "utf-8":
            raise NotText(f"begins with a mark of {encoding.upper()} and is not valid {encoding.upper()}") from error
        raise NotText("is not valid UTF-8 text") from error


def replace_text(file: TextFile, old: str, new: str, *, everywhere: bool) -> tuple[str, int]:
    """The text with `old` replaced, once or everywhere, and how often `old` stands in it; unchanged where not once.

    A bare line feed in `old` is found as any line end. Lines of `new` that stay keep their ends, others take that of
    the lines they replace, or the file's most frequent one. A carriage return that is written is meant.
    """
    text = file.text
    if file.mark:
        old, new = old.removeprefix("\ufeff"), new.removeprefix("\ufeff")
    places, literal = _find(text, old)
    if not places and old.endswith("\n") and not text.endswith(("\n", "\r")):
        # The last line has no end, which a model is not shown.
        places = [place for place in _find(text, re.sub("\r?\n\\Z", "", old))[0] if place[1] == len(text)]
        new = re.sub("\r?\n\\Z", "", new) if places else new
    if not places or (len(places) > 1 and not everywhere):
        return text, len(places)
    if _plain(old) == _plain(new):
        literal = True  # the line ends are the change
    elif literal:
        literal = "\n" not in new or "\r" in new or "\r" not in text
    meant, usual = _meant(new, text), _usual_ends(text)
    parts, at = [], 0
    known: dict[tuple[str, str], str] = {}
    for begin, end in places:
        region, ending = text[begin:end], _near(text, begin, usual)
        if literal:
            replaced = new
        elif (region, ending) in known:
            replaced = known[region, ending]
        else:
            replaced = known[region, ending] = _with_ends(region, meant, ending)
        if not literal:
            replaced = _apart(text[begin - 1 : begin], replaced, text[end : end + 1])
        parts += [text[at:begin], replaced]
        at = end
    return "".join([*parts, text[at:]]), len(places)


def rewrite_text(file: TextFile, content: str) -> str:
    """A new content as this file would have it: with its line ends, unless the content brings CRLF itself."""
    if file.mark:
        content = content.removeprefix("\ufeff")
    if "\r" not in file.text or "\r\n" in content:
        return content
    if "\r" in content and not set(_END.findall(file.text)) - {"\r"}:
        return content
    return _with_ends(file.text, content, _near(file.text, 0, _usual_ends(file.text)))


def _marked(data: bytes) -> tuple[bytes, str]:
    return next(((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", "utf-8"))


def _find(text: str, old: str) -> tuple[list[tuple[int, int]], bool]:
    """Where `old` stands in the text, and whether that is character by character."""
    if "\r" not in text or "\r" in old:
        places = _all(text, old)
        if places or "\r" not in old:
            return places, True
    old = _plain(old)
    plain = _plain(text)
    # In the plain text each CRLF before a place counts one character less.
    ends = [found.start() - number for number, found in enumerate(re.finditer("\r\n", text))]
    places = [(a + bisect_left(ends, a), b + bisect_left(ends, b)) for a, b in _all(plain, old)]
    return places, False


def _all(text: str, old: str) -> list[tuple[int, int]]:
    places, at = [], text.find(old) if old else -1
    while at >= 0:
        places.append((at, at + len(old)))
        at = text.find(old, at + len(old))
    return places


def _plain(text: str) -> str:
    return _END.sub("\n", text)


def _meant(new: str, text: str) -> str:
    """The new text with bare line feeds; a single carriage return stays, unless it is how lines end here."""
    return _plain(new) if "\n" not in text else new.replace("\r\n", "\n")


def _usual_ends(text: str) -> list[str]:
    """The most frequent line end, or several that are equally frequent."""
    ends: list[str] = _END.findall(text)
    counts = Counter(ends)
    return [end for end, count in counts.items() if count == max(counts.values())] or ["\n"]


def _near(text: str, at: int, usual: list[str]) -> str:
    """Of equally frequent line ends that of the line at a place, else the first."""
    near = _END.search(text, at) if len(usual) > 1 else None
    return near.group() if near is not None and near.group() in usual else usual[0]


def _with_ends(region: str, new: str, usual: str) -> str:
    """A text with bare line feeds as it takes the place of a region: what stays of its lines keeps its end."""
    kinds = set(_END.findall(region))
    if len(kinds) <= 1:
        return new.replace("\n", kinds.pop() if kinds else usual)
    before, ends = _END.split(region), _END.findall(region)
    after = new.split("\n")
    from_old = dict(_pairs(before, after))
    parts: list[str] = []
    for number, line in enumerate(after):
        old = from_old.get(number)
        end = ends[old] if old is not None and old < len(ends) else usual
        if end == "\n" and not line and parts and parts[-1] == "\r":
            end = "\r"  # the two would be one line end
        parts += [line, end if number + 1 < len(after) else ""]
    return "".join(parts)


def _apart(before: str, text: str, behind: str) -> str:
    """A text that stands between two characters: no CR of one and LF of the other become one line end."""
    if before == "\r" and text.startswith("\n"):
        text = "\r" + text[1:]
    if text.endswith("\r") and behind == "\n":
        text = text[:-1] + "\n"
    return text


def _pairs(before: list[str], after: list[str]) -> list[tuple[int, int]]:
    """Lines of the new text with the lines they were before: those that stay, and those that replace others."""
    pairs: list[tuple[int, int]] = []
    at, there = 0, 0
    for old, new in [*_anchors(before, after), (len(before), len(after))]:
        pairs += [(there + b, at + a) for b, a in _gap(before[at:old], after[there:new])]
        pairs.append((new, old))
        at, there = old + 1, new + 1
    return pairs


def _anchors(before: list[str], after: list[str]) -> list[tuple[int, int]]:
    """Lines that stand once in both texts, as many as keep their order, and all that stay at both ends."""
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
    return [*((number, number) for number in range(head)), *_ascending(single), *ends]


def _ascending(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of the pairs in which the second numbers ascend as the first do (patience sorting)."""
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


def _gap(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """The same between two lines that stay: few lines are compared, many are paired as they come."""
    if not old or not new:
        return []
    if len(old) * len(new) > _MOST_COMPARED:
        return [(number, number) for number in range(min(len(old), len(new)))]
    pairs: list[tuple[int, int]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind in ("equal", "replace"):
            pairs += list(zip(range(c, d), range(a, b), strict=False))
    return pairs
