"""Scopes: whose a path is by default, what a project may say instead, and the spellings that try to get around it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.records.run import ROLES
from system.path_patterns import invert_patterns, parse_pattern
from workspaces.project.baton_toml import ProjectConfig, parse_config
from workspaces.project.default_scopes import FRONTEND, PROTECTED, SHARED, TESTS
from workspaces.project.scopes import is_clean, is_protected, scope_for

BACKEND_ONLY = [
    "src/app.py",
    "orders/service.py",
    "api/routes.go",
    "cmd/server/main.go",
    "internal/web/handler.go",
    "web/handler.go",
    "frontend/server.py",
    "client/client.rs",
    "app/controllers/orders_controller.rb",
    "app/models/order.rb",
    "public/index.php",
    "src/main/java/Order.java",
    "migrations/0001_init.sql",
    "prisma/schema.prisma",
    "src/server.ts",
    "src/services/orders.ts",
    "pages/api/orders.ts",
    "src/app/api/orders/route.ts",
    "Dockerfile",
    "Makefile",
    "pyproject.toml",
    "requirements.txt",
    "go.mod",
    "Cargo.toml",
    "docker-compose.yml",
    "lib/Contest.java",
    "src/Latest.kt",
    "src/greatest.py",
    "src/attestation.go",
    "alembic/env.py",
    "proto/orders.proto",
    "spec/openapi.yaml",
    "src/components/serializer.py",
]
FRONTEND_ONLY = [
    "frontend/src/main.js",
    "src/App.tsx",
    "src/components/Button.js",
    "src/pages/index.js",
    "web/app.js",
    "web/index.html",
    "client/main.ts",
    "styles.css",
    "src/theme.scss",
    "src/views/Orders.vue",
    "App.svelte",
    "static/app.js",
    "public/favicon.ico",
    "assets/logo.svg",
    "templates/index.html",
    "app/views/orders/show.html.erb",
    "resources/views/a.blade.php",
    "vite.config.ts",
    "tailwind.config.js",
    "apps/web/src/util.ts",
    "packages/ui/index.ts",
    "src/hooks/useOrders.ts",
    "index.html",
]
TESTS_ONLY = [
    "tests/test_orders.py",
    "test/orders.js",
    "src/__tests__/a.tsx",
    "src/a.test.ts",
    "src/a.spec.tsx",
    "orders_test.go",
    "test_orders.py",
    "conftest.py",
    "app/tests.py",
    "spec/models/order_spec.rb",
    "src/test/java/OrderTest.java",
    "OrderTests.cs",
    "e2e/login.ts",
    "cypress/a.js",
    "pytest.ini",
    "jest.config.js",
    "Shop.Tests/Orders.cs",
    "Tests/Feature/OrderTest.php",
    "frontend/src/App.test.tsx",
    "web/tests/app.js",
    "playwright.config.ts",
    "tests/fixtures/page.html",
    "tests/conftest.py",
]
BOTH_MAKERS = [
    "README.md",
    "docs/api.md",
    "CHANGELOG.md",
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "tsconfig.json",
    ".gitignore",
]
NOBODYS = [
    ".git/config",
    ".git",
    "sub/.git/hooks/pre-commit",
    ".github/workflows/ci.yml",
    ".github/actions/x/action.yml",
    ".gitlab-ci.yml",
    "baton.toml",
    ".claude/agents/backend.md",
    ".claude/settings.json",
    "CLAUDE.md",
    "docs/CLAUDE.md",
    "AGENTS.md",
    ".mcp.json",
    ".gitmodules",
    "Jenkinsfile",
    ".cursor/rules/a.mdc",
    ".github/copilot-instructions.md",
    "tests/.git/config",
    "tests/CLAUDE.md",
]


def writers(path: str) -> list[str]:
    return [role for role in ROLES if scope_for(role).allows_path(path)]


@pytest.mark.parametrize(
    ("paths", "roles"),
    [
        (BACKEND_ONLY, ["backend"]),
        (FRONTEND_ONLY, ["frontend"]),
        (TESTS_ONLY, ["tester"]),
        (BOTH_MAKERS, ["backend", "frontend"]),
        (NOBODYS, []),
    ],
)
def test_whose_a_path_is(paths: list[str], roles: list[str]) -> None:
    assert {path: writers(path) for path in paths} == dict.fromkeys(paths, roles)


@pytest.mark.parametrize("role", ["orchestrator", "reviewer", "intruder", ""])
def test_roles_that_change_nothing(role: str) -> None:
    scope = scope_for(role)
    assert not scope.can_write
    assert scope.paths_outside([*BACKEND_ONLY, *TESTS_ONLY]) == [*BACKEND_ONLY, *TESTS_ONLY]
    assert "nothing" in scope.describe_scope()


@pytest.mark.parametrize(
    "path",
    [
        "Frontend/app.js", "FRONTEND/app.js", "src/App.TSX", "Web/app.js", "STATIC/a.js", "TESTS/test_a.py",
        "Test_a.py",
        "src/Components/a.js", "Package/../frontend/a.js", "./frontend/a.js", "frontend//a.js", "/frontend/a.js", "",
        "a/./b", "a/../b", "..", ".", "a/", "src/app.py/", "tests./a.py", "tests /a.py", "src/app.py ", "src/app.py.",
        "src\\..\\tests\\a.py", "src/a\0.py", "src/a\nb.py", "src/\x1b[2Ja.py", "src/\udcff.py",
        "a" * 256, "a/" * 2100 + "a",
        "src/App.t\u017fx",  # long s, which folds to s
    ],
)  # fmt: skip
def test_spellings_that_do_not_help_the_backend(path: str) -> None:
    assert not scope_for("backend").allows_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".GIT/config", ".Git/hooks/post-checkout", "a/.gIt/config", "git~1/config", "GIT~1/config", ".git./config",
        ".git /config", ".git::$INDEX_ALLOCATION/config", ".g\u200cit/config", ".gi\ufefft/config", ".\u200dgit",
        "\uff0egit/config", "BATON.TOML", "Baton.toml", "baton.toml::$DATA", ".GITHUB/WORKFLOWS/x.yml",
        ".github/Workflows/x.yml", "claude.md", ".Claude/agents/a.md", "jenkinsFILE",
    ],
)  # fmt: skip
def test_spellings_of_what_is_nobodys(path: str) -> None:
    assert is_protected(path)
    everything = parse_config(b'[scope]\nbackend = ["**"]\ntester = ["**"]')
    assert not scope_for("backend", everything).allows_path(path)
    assert not scope_for("tester", everything).allows_path(path)


def test_names_that_only_look_protected_are_not() -> None:
    for path in (
        ".gitignore",
        ".gitattributes",
        ".github/CODEOWNERS",
        "git/x",
        "src/gitlab.py",
        "my-baton.toml",
        "git~/a",
    ):
        assert not is_protected(path), path


def test_a_unicode_form_is_no_way_around() -> None:
    config = parse_config('[scope]\nbackend = ["**", "!caf\u00e9/**"]'.encode())
    scope = scope_for("backend", config)
    assert not scope.allows_path("caf\u00e9/a.py")
    assert not scope.allows_path(unicodedata.normalize("NFD", "caf\u00e9/a.py"))
    assert not scope.allows_path("CAF\u00c9/a.py")


def test_a_project_replaces_a_roles_patterns() -> None:
    config = parse_config(b'[scope]\nbackend = ["orders/**", "!orders/static/**"]\nfrontend = ["orders/static/**"]')
    backend, frontend, tester = (scope_for(role, config) for role in ("backend", "frontend", "tester"))
    assert backend.paths_outside(
        ["orders/a.py", "orders/static/a.js", "orders/Static/a.js", "Orders/a.py", "app.py"]
    ) == [
        "orders/static/a.js",
        "orders/Static/a.js",
        "Orders/a.py",
        "app.py",
    ]
    assert frontend.allows_path("orders/static/a.js")
    assert not frontend.allows_path("src/App.tsx")
    assert tester.allows_path("tests/test_a.py")
    assert "`orders/**`" in backend.describe_scope()
    assert "the frontend role" in backend.explain_refusal("orders/static/a.js")
    assert scope_for("backend", parse_config(b"[scope]\nbackend = []")).describe_scope() == "nothing"


def test_a_refusal_names_the_owner() -> None:
    backend = scope_for("backend")
    assert "belongs to the frontend role" in backend.explain_refusal("src/App.tsx")
    assert "belongs to the tester role" in backend.explain_refusal("tests/test_a.py")
    assert "nobody but a person" in backend.explain_refusal(".github/workflows/ci.yml")
    assert "the backend or the frontend role" in scope_for("tester").explain_refusal("README.md")
    assert "\x1b" not in backend.explain_refusal("\x1b[2J")
    assert len(backend.explain_refusal("a" * 100_000)) < 1_000


def test_the_data_holds_no_pattern_that_is_none() -> None:
    for pattern in [*PROTECTED, *TESTS, *FRONTEND, *SHARED, *invert_patterns(FRONTEND)]:
        parse_pattern(pattern)


@given(st.text(max_size=60), st.sampled_from(ROLES))
def test_whatever_the_path_an_answer_comes_and_never_for_what_is_unclean(path: str, role: str) -> None:
    allowed = scope_for(role, ProjectConfig()).allows_path(path)
    assert not allowed or (is_clean(path) and not is_protected(path))


@given(
    st.lists(st.sampled_from(["src", "Web", "tests", ".GIT", "..", ".", "", "a.tsx", "x.py", "frontend"]), max_size=5)
)
def test_no_path_has_two_owners_but_the_shared_ones(names: list[str]) -> None:
    assert len(writers("/".join(names))) <= 1
