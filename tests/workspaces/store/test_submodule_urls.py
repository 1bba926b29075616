"""From where submodules may be fetched: the URL is a stranger's, and only a person's list opens a way."""

from pathlib import Path

import pytest

from workspaces.store.submodule_urls import is_allowed, parse_allowed, protocol_of, read_url, resolve_url


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://github.com/acme/lib.git", "github.com"),
        ("https://GitHub.com/acme/lib.git", "github.com"),
        ("git@github.com:acme/lib.git", "github.com"),
        ("ssh://git@github.com/acme/lib", "other.org, github.com"),
        ("https://github.com/acme/lib", "https://github.com/acme"),
        ("https://github.com/acme/lib", "https://github.com/acme/"),
        ("https://github.com/acme/lib", "https://github.com"),
        ("https://git.example.org:8443/lib", "git.example.org:8443"),
        ("http://git.example.org/lib", "http://git.example.org"),
        ("git@github.com:acme/lib", "git@github.com:acme"),
    ],
)
def test_what_the_list_has_is_allowed(url: str, allowed: str) -> None:
    assert is_allowed(url, parse_allowed(allowed))


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch canary'",
        "ext::sh%20-c%20touch%20canary",
        "fd::17",
        "-uhttps://github.com/acme/lib",
        "--upload-pack=touch canary",
        "-oProxyCommand=touch canary",
        "ssh://-oProxyCommand=touch/acme/lib",
        "ssh://git@-oProxyCommand=x/acme/lib",
        "git@-oProxyCommand=x:acme/lib",
        "git@github.com:-oProxyCommand/x",
        "ssh://github.com/-x",
        "https://github.com.evil.org/acme/lib",
        "https://github.com@evil.org/acme/lib",
        "https://user:word@github.com/acme/lib",
        "https://token@github.com/acme/lib",
        "https://evil.org/github.com/acme/lib",
        "https://github.com/acme/../evil/lib",
        "https://github.com/acme/%2e%2e/evil/lib",
        "https://github.com/acme/%252e%252e/evil/lib",
        "https://github.com/acme/..%2fevil",
        "https://github.com\\@evil.org/acme/lib",
        "https://github.com/acme/lib?x=1",
        "https://github.com/acme/lib#x",
        "https://github.com:99999/acme/lib",
        "https://github.com:8443/acme/lib",
        "http://github.com/acme/lib",
        "git://github.com/acme/lib",
        "file:///srv/secret",
        "file://github.com/acme/lib",
        "/etc",
        "/srv/secret",
        "C:/secret",
        "lib",
        "",
        " https://github.com/acme/lib",
        "https://github.com/acme/lib\n--upload-pack=x",
        "https://github.com/",
        "https://git\u0456hub.com/acme/lib",
        "HTTPS+ext://github.com/acme/lib",
        "https://[::1]/acme/lib",
        "https://github.com/" + "x" * 3_000,
    ],
)
def test_anything_else_is_not(url: str) -> None:
    assert not is_allowed(url, ("github.com", "https://github.com/acme"))
    assert not is_allowed(url, ())


def test_a_beginning_ends_at_a_name() -> None:
    assert not is_allowed("https://github.com/acme-evil/lib", ("https://github.com/acme",))
    assert not is_allowed("https://github.com/acme", ("https://github.com/acme",))
    assert not is_allowed("ssh://git@github.com/acme/lib", ("https://github.com/acme",))


def test_a_path_is_allowed_below_a_path_that_is(tmp_path: Path) -> None:
    (tmp_path / "mirrors/lib").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "mirrors/way").symlink_to(tmp_path / "secret")
    allowed = (str(tmp_path / "mirrors"),)
    assert is_allowed(str(tmp_path / "mirrors/lib"), allowed)
    assert is_allowed(f"file://{tmp_path}/mirrors/lib", allowed)
    assert not is_allowed(str(tmp_path / "mirrors/way"), allowed)
    assert not is_allowed(str(tmp_path / "mirrors/../secret"), allowed)
    assert not is_allowed(str(tmp_path / "mirrors"), allowed)
    assert not is_allowed(str(tmp_path / "secret"), allowed)


@pytest.mark.parametrize(
    ("url", "base", "resolved"),
    [
        ("../lib.git", "https://github.com/acme/shop.git", "https://github.com/acme/lib.git"),
        ("../../other/lib", "https://github.com/acme/shop", "https://github.com/other/lib"),
        ("./lib", "https://github.com/acme/shop/", "https://github.com/acme/shop/lib"),
        ("../lib", "git@github.com:acme/shop", "git@github.com:acme/lib"),
        ("../lib", "/srv/git/shop", "/srv/git/lib"),
        ("../../lib", "https://github.com/acme/shop", "https://github.com/lib"),
        ("https://a.org/x", "/srv/git/shop", "https://a.org/x"),
    ],
)
def test_a_relative_url_is_resolved_against_the_repository_above(url: str, base: str, resolved: str) -> None:
    assert resolve_url(url, base) == resolved


@pytest.mark.parametrize("url", ["../../../lib", "../../../../evil.org/x", "../../../../../x", "./../../../../../x"])
def test_a_relative_url_never_leaves_its_host(url: str) -> None:
    found = resolve_url(url, "https://github.com/acme/shop")
    assert found == "" or found.startswith("https://github.com/")
    assert "evil.org" not in found.split("/")[2] if found else True


def test_git_may_use_the_one_protocol_only() -> None:
    assert protocol_of("https://github.com/a/b") == "https"
    assert protocol_of("git@github.com:a/b") == "ssh"
    assert protocol_of("/srv/a") == "file"
    assert protocol_of("ext::sh") == "none"
    assert read_url("ext::sh") is None
