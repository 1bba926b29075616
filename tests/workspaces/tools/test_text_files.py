"""Line ends and marks of files that tools change: any mixture of them, and files that are made to take long."""

import random
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.growth import assert_linear
from workspaces.tools.text_files import (
    NotText,
    TextFile,
    lenient_text,
    parse_text,
    replace_text,
    rewrite_text,
)

ENDS = st.sampled_from(["\n", "\r\n", "\r"])
LINES = st.lists(st.tuples(st.sampled_from(["", "a", "b", "long line", "ü"]), ENDS), max_size=12)


@given(LINES, LINES, st.sampled_from(["new", "new\nmore", "new\n\nmore\nand more", ""]))
def test_only_the_line_that_is_named_changes(
    before: list[tuple[str, str]], after: list[tuple[str, str]], new: str
) -> None:
    head = "".join(line + end for line, end in before)
    tail = "".join(line + end for line, end in after)
    # A line end of its own before what follows: else a CR and a LF that meet would be one.
    text, count = replace_text(TextFile(f"{head}only\t{tail}"), "only", new, everywhere=False)
    assert count == 1
    assert text.startswith(head)
    assert text.endswith(f"\t{tail}")
    assert text[len(head) : len(text) - len(tail) - 1].replace("\r\n", "\n").replace("\r", "\n") == new


@given(LINES, st.data())
def test_what_is_shown_can_be_named(before: list[tuple[str, str]], data: st.DataObject) -> None:
    # With a CR among other ends it is a character of a line, which the model sees.
    file = TextFile("".join(line + (end if end != "\r" else "\n") for line, end in before))
    lines = file.shown_lines
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, len(lines) - 1))
    old = "\n".join(lines[first : last + 1])
    if old:
        text, count = replace_text(file, old, old + "!", everywhere=True)
        assert count >= 1
        assert text.replace("\r\n", "\n").count("!") == count


@given(LINES, LINES)
def test_a_rewrite_has_the_content_and_no_end_that_was_not_there(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    file = TextFile("".join(line + end for line, end in before))
    content = "".join(f"{line}\n" for line, _ in after)
    text = rewrite_text(file, content)
    assert text.replace("\r\n", "\n").replace("\r", "\n") == content
    assert rewrite_text(file, file.text.replace("\r\n", "\n").replace("\r", "\n")) == file.text


@example([("", "\r")], [("", "\n")], [], [("", "\n"), ("", "\n")])
@given(LINES, LINES, LINES, LINES)
def test_an_edit_of_whole_lines_keeps_their_number(
    before: list[tuple[str, str]],
    named: list[tuple[str, str]],
    after: list[tuple[str, str]],
    new: list[tuple[str, str]],
) -> None:
    named = [(f"-{line}", end) for line, end in named]  # else a CR and the LF after it would be one line end
    head, middle, tail = ("".join(line + end for line, end in part) for part in (before, named, after))
    old = "begin\n" + "".join(f"{line}\n" for line, _ in named) + "end\n"
    content = "".join(f"{line}\n" for line, _ in new)
    text, count = replace_text(TextFile(f"{head}begin\n{middle}end\r{tail}"), old, content, everywhere=False)
    assert count == 1
    plain = [part.replace("\r\n", "\n").replace("\r", "\n") for part in (text, head, tail)]
    if not tail.startswith("\n"):  # which the CR before it would have taken
        assert plain[0] == plain[1] + content + plain[2]


def test_lines_that_stay_in_a_long_mixed_file_keep_their_ends() -> None:
    dice = random.Random(7)
    lines = [f"line {number}" for number in range(5_000)]
    ends = [dice.choice(["\n", "\r\n"]) for _ in lines]
    file = TextFile("".join(line + end for line, end in zip(lines, ends, strict=True)))
    kept = [number for number in range(5_000) if number % 7]
    content = "".join(f"line {number}\n" + ("new\n" if number % 11 == 0 else "") for number in kept)
    text = rewrite_text(file, content)
    for number in kept:
        assert f"line {number}{ends[number]}" in text


def blank(lines: int) -> None:
    rewrite_text(TextFile("\n\r\n" * lines), "x\n\n" * lines)


def alternating(lines: int) -> None:
    ends = random.Random(3).choices(["x\n", "x\r\n", "y\n", "y\r\n"], k=lines)
    rewrite_text(TextFile("".join(ends)), "y\nx\n" * (lines // 2))


def replaced_in_many_places(lines: int) -> None:
    ends = random.Random(5).choices(["\n", "\r\n"], k=4 * lines)
    file = TextFile("".join(f"a{end}" for end in ends))
    assert replace_text(file, "a\n" * 4, "c\nd\n", everywhere=True)[1] == lines


@pytest.mark.parametrize("work", [blank, alternating, replaced_in_many_places], ids=lambda work: work.__name__)
def test_time_grows_with_the_length(work: Callable[[int], None]) -> None:
    assert_linear(work, 2_000, 4_000, repeats=3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@given(text=st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not text.startswith("\ufeff")))
def test_bytes_come_back_as_they_were(encoding: str, text: str) -> None:
    data = text.encode(encoding)
    try:
        file = parse_text(data)
    except NotText:
        return
    assert file.encode_text(file.text) == data
    assert lenient_text(data) == file.text
