"""Agent files as people write them: nothing is skipped silently, and nothing but AgentFileError is raised."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.roles.loader import builtin_agent, builtin_agents, load_directory, parse_agent
from baton.errors import AgentFileError
from baton.identifiers import content_hash
from baton.records.run import ROLES
from baton.tool_inputs import TOOL_NAMES

PLAIN = "---\nname: backend\ndescription: Builds services\nmodel: sonnet\ntools: Read, Grep\n---\nYou build.\n"


def tools(text: str) -> list[str]:
    return [str(grant) for grant in parse_agent(text, "x.md").definition.tools]


def with_fields(*lines: str) -> str:
    return "\n".join(["---", "name: a", "description: d", *lines, "---", "Prompt."])


def test_a_claude_code_file_loads_unchanged() -> None:
    agent = parse_agent(PLAIN, "agents/backend.md")
    assert agent.warnings == []
    definition = agent.definition
    assert (definition.name, definition.description, definition.model) == ("backend", "Builds services", "sonnet")
    assert [grant.name for grant in definition.tools] == ["Read", "Grep"]
    assert definition.prompt == "You build."
    assert definition.source == "agents/backend.md"
    assert definition.digest == content_hash(PLAIN)


@pytest.mark.parametrize("text", ["\ufeff" + PLAIN, PLAIN.replace("\n", "\r\n"), PLAIN.replace("\n", "\r")])
def test_byte_order_mark_and_line_ends_do_not_matter(text: str) -> None:
    agent = parse_agent(text, "x.md")
    assert agent.warnings == []
    assert agent.definition.prompt == "You build."
    assert agent.definition.description == "Builds services"
    assert agent.definition.digest == content_hash(text)


def test_a_colon_in_a_plain_description_is_taken_as_text_and_told() -> None:
    agent = parse_agent(
        with_fields("color: red").replace("description: d", "description: Use when: asked # often"), "x"
    )
    assert agent.definition.description == "Use when: asked # often"
    assert any("not valid YAML" in warning for warning in agent.warnings)


def test_a_star_that_is_no_yaml_grants_all_tools() -> None:
    assert tools(with_fields("tools: *")) == list(TOOL_NAMES)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tools: Read, Write", ["Read", "Write"]),
        ("tools: [Read, Write]", ["Read", "Write"]),
        ("tools:\n  - Read\n  - Bash(pytest:*)", ["Read", "Bash(pytest:*)"]),
        ('tools: ["Read", "Bash(npm run build, test)"]', ["Read", "Bash(npm run build, test)"]),
        ("tools: Bash(a, b), Read", ["Bash(a, b)", "Read"]),
        ("tools: Bash(git log:*), Bash(pytest:*)", ["Bash(git log:*)", "Bash(pytest:*)"]),
        ('tools: "Read, Bash(*)"', ["Read", "Bash"]),
        ("tools: Read,Read , Grep,", ["Read", "Grep"]),
        ("color: red", list(TOOL_NAMES)),
        ("tools:", list(TOOL_NAMES)),
        ("tools: '*'", list(TOOL_NAMES)),
        ("disallowedTools: Write, Edit, Bash", ["Read", "Glob", "Grep"]),
        ("disallowedTools: Bash(rm:*)", ["Read", "Write", "Edit", "Glob", "Grep"]),
    ],
)
def test_tools_in_every_spelling(line: str, expected: list[str]) -> None:
    assert tools(with_fields(line)) == expected


def test_unknown_and_foreign_tools_are_left_out_and_told() -> None:
    agent = parse_agent(with_fields("tools: Read, WebFetch, mcp__jira__search, Reed, grep"), "x.md")
    assert [grant.name for grant in agent.definition.tools] == ["Read", "Grep"]
    told = "\n".join(agent.warnings)
    for expected in ("`WebFetch` is not offered", "`mcp__jira__search` is not offered", "`Reed` is unknown", "`grep`"):
        assert expected in told


def test_a_restriction_that_cannot_be_enforced_is_not_widened() -> None:
    agent = parse_agent(with_fields("tools: Read, Edit(docs/**), Bash(pytest"), "x.md")
    assert [str(grant) for grant in agent.definition.tools] == ["Read"]
    assert len(agent.warnings) == 2


@pytest.mark.parametrize("line", ["tools: WebFetch, Reed", "tools: []", "tools: {a: b}", 'tools: ""',
                                  "disallowedTools: '*'"])  # fmt: skip
def test_no_tool_left_is_an_error(line: str) -> None:
    with pytest.raises(AgentFileError, match=r"x\.md"):
        parse_agent(with_fields(line), "x.md")


@pytest.mark.parametrize("line", ["disallowedTools: Write, Edit", "disallowedTools: '*'"])
def test_what_is_disallowed_is_never_granted(line: str) -> None:
    with pytest.raises(AgentFileError, match="disallowedTools"):
        parse_agent(with_fields("tools: Write", line), "x.md")


def test_patterns_of_one_tool_add_up() -> None:
    definition = parse_agent(with_fields("tools: Bash(git log:*), Read, Bash(pytest:*)"), "x").definition
    assert definition.patterns_by_tool() == {"Read": None, "Bash": ["git log:*", "pytest:*"]}
    whole = parse_agent(with_fields("tools: Bash(git log:*), Bash"), "x").definition
    assert whole.patterns_by_tool() == {"Bash": None}


def test_what_even_requoting_cannot_mend_is_read_line_by_line() -> None:
    text = (
        "---\nname: a\ndescription: 'it's broken: <example>\n  user: do: this\n</example>\ntools:\n- Read\n- Grep\n"
        "model: opus\n---\nBody"
    )
    agent = parse_agent(text, "x.md")
    assert agent.definition.name == "a"
    assert "user: do: this" in agent.definition.description
    assert [grant.name for grant in agent.definition.tools] == ["Read", "Grep"]
    assert agent.definition.model == "opus"
    assert any("line by line" in warning for warning in agent.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Readme\n\nNo frontmatter.",
        "---\nname: a\nno end",
        "---\n- a\n- b\n---\nx",
        "--- \n" + "[" * 5_000 + "\n---\n",
        "x" * 600_000,
        "---\nname: \ud800\n---\nx",
        "---\nname: " + "n" * 200 + "\n---\nx",
    ],
)
def test_what_is_no_agent_file_is_named(text: str) -> None:
    with pytest.raises(AgentFileError, match=r"some/file\.md"):
        parse_agent(text, "some/file.md")


def test_yaml_aliases_cannot_grow() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    agent = parse_agent(f"---\nname: a\n{bomb}---\nx", "x.md")
    assert agent.definition.name == "a"
    assert len(str(agent)) < 20_000


def test_odd_values_are_told_and_left_out() -> None:
    agent = parse_agent(
        with_fields("maxTurns: many", "effort: heroic", "model: [a]", "hooks: {Stop: rm}", "naem: x", "tools: Read",
                    "tools: Grep"), "x.md"
    )  # fmt: skip
    definition = agent.definition
    assert (definition.max_turns, definition.effort, definition.model) == (None, None, None)
    assert definition.fields == {"hooks": {"Stop": "rm"}}
    told = "\n".join(agent.warnings)
    for expected in (
        "`maxTurns`",
        "`effort`",
        "`model`",
        "`hooks` has no effect",
        "`naem` is unknown",
        "more than once",
    ):
        assert expected in told


def test_documented_fields_are_kept() -> None:
    agent = parse_agent(with_fields("maxTurns: 12", "effort: high", "color: no", "skills:\n  - a"), "x.md")
    assert (agent.definition.max_turns, agent.definition.effort) == (12, "high")
    assert agent.definition.fields == {"color": "no", "skills": ["a"]}


def test_a_missing_name_is_that_of_the_file() -> None:
    agent = parse_agent("---\ndescription: d\n---\nx", "agents/tester.md")
    assert agent.definition.name == "tester"
    assert any("no `name`" in warning for warning in agent.warnings)


def test_a_directory_reports_everything(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(PLAIN)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text(PLAIN)
    (tmp_path / "README.md").write_text("# Hello")
    (tmp_path / "latin.md").write_bytes(b"---\nname: caf\xe9\n---\n")
    (tmp_path / "notes.txt").write_text("x")
    outside = tmp_path.parent / f"{tmp_path.name}-secret.md"
    outside.write_text(PLAIN.replace("backend", "secret"))
    (tmp_path / "link.md").symlink_to(outside)
    (tmp_path / "loop.md").symlink_to(tmp_path / "loop.md")
    os.mkfifo(tmp_path / "pipe.md")
    directory = load_directory(tmp_path)
    assert list(directory.agents) == ["backend"]
    assert directory.agents["backend"].definition.source == str(tmp_path / "a.md")
    problems = {Path(problem.source).name: problem.message for problem in directory.problems}
    assert set(problems) == {"b.md", "README.md", "latin.md", "link.md", "loop.md", "pipe.md"}
    assert "taken by" in problems["b.md"]
    assert "UTF-8" in problems["latin.md"]
    assert directory.ignored == [str(tmp_path / "notes.txt")]


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AgentFileError, match="not a directory"):
        load_directory(tmp_path / "none")


def test_the_roles_that_come_with_baton() -> None:
    agents = builtin_agents()
    assert tuple(agents) == ROLES
    granted = {role: [str(grant) for grant in agent.definition.tools] for role, agent in agents.items()}
    assert granted["orchestrator"] == ["Read", "Glob", "Grep"]
    assert granted["reviewer"] == ["Read", "Glob", "Grep", "Bash"]
    assert all(granted[role] == list(TOOL_NAMES) for role in ("backend", "frontend", "tester"))
    models = {role: agent.definition.model for role, agent in agents.items()}
    assert models == {"orchestrator": "opus", "backend": "sonnet", "frontend": "sonnet", "tester": "sonnet",
                      "reviewer": "opus"}  # fmt: skip
    assert all(agent.warnings == [] and agent.definition.name == role for role, agent in agents.items())
    with pytest.raises(AgentFileError, match="no role `janitor`"):
        builtin_agent("janitor")


_PIECES = st.sampled_from(
    ["---\n", "name: ", "description: ", "tools: ", "model: ", "\n", "\r\n", "*", "&a ", "*a", "!!python/object ", "- ",
     "[", "]", "{", "}", "'", '"', "\\U", "|\n", ">\n", "\t", ": ", "# ", "Read", "Bash(x", "(", ")", ",", "\x00",
     "\ufeff", "\u2028", "2020-99-99", "%YAML 9.9\n", "? "]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(), st.lists(_PIECES | st.text(max_size=5)).map("".join).map(lambda text: f"---\n{text}")))
def test_parsing_raises_nothing_but_agent_file_errors(text: str) -> None:
    for candidate in (text, f"{text}\n---\nbody"):
        with contextlib.suppress(AgentFileError):
            agent = parse_agent(candidate, "x.md")
            assert agent.definition.tools
            assert "\n" not in agent.definition.name


def test_long_lines_take_no_longer_than_they_should() -> None:
    parse_agent(with_fields("model: a:" + " " * 60_000 + "b"), "x.md")
    parse_agent(with_fields("tools: Read, " + "(" * 60_000), "x.md")
