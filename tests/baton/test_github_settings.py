"""Settings of the GitHub side: secrets in files, several secrets, and what is refused."""

from pathlib import Path

import pytest

from baton.errors import ConfigurationError
from baton.settings.core import read_settings
from baton.text.redaction import Redactor

KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "canarykey" * 7 + "\nshort=\n-----END RSA PRIVATE KEY-----\n"


def test_each_secret_may_lie_in_a_file_and_all_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (
        ("webhook_secret", "canary-old, canary-new\n"),
        ("private_key", KEY),
        ("token", " canary-token\n"),
    ):
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(f"BATON_GITHUB_{name.upper()}_FILE", str(tmp_path / name))
    settings = read_settings()
    assert settings.github_webhook_secrets == ("canary-old", "canary-new")
    assert settings.github_private_key is not None
    assert settings.github_private_key.get_secret_value() == KEY
    assert settings.github_token is not None
    assert settings.github_token.get_secret_value() == "canary-token"
    assert "canary" not in repr(settings)
    masked = Redactor(settings.list_secrets())(f"canary-old canary-new canary-token {'canarykey' * 7} {KEY}")
    assert "canary" not in masked


def test_a_key_with_written_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_GITHUB_PRIVATE_KEY", KEY.strip().replace("\n", "\\n"))
    key = read_settings().github_private_key
    assert key is not None
    assert key.get_secret_value() == KEY


def test_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATON_GITHUB_BOTS", "Renovate[bot],x ,")
    monkeypatch.setenv("BATON_GITHUB_REPOSITORIES", "Acme/*, other/shop")
    settings = read_settings()
    assert settings.github_bot_logins == {"renovate[bot]", "x"}
    assert settings.github_served == {"acme/*", "other/shop"}
    assert read_settings(github_bots="").github_bot_logins == frozenset()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("BATON_GITHUB_WEBHOOK_SECRET", "long-enough,short", "at least 8 characters"),
        ("BATON_GITHUB_WEBHOOK_SECRET_FILE", "/no/such/file", "BATON_GITHUB_WEBHOOK_SECRET_FILE names /no/such/file"),
        ("BATON_GITHUB_TOKEN_FILE", "/", "cannot be read"),
        ("BATON_GITHUB_TOKEN_FILE", "/dev/null", "which is empty"),
        ("BATON_GITHUB_PRIVATE_KEY", "canary", "PEM"),
        ("BATON_GITHUB_APP_ID", "shop", "BATON_GITHUB_APP_ID"),
        ("BATON_GITHUB_URL", "git@github.com:acme", "BATON_GITHUB_URL is invalid: it must be"),
        ("BATON_GITHUB_API_URL", "https://user:canary@api.example.org", "without credentials"),
        ("BATON_GITHUB_WEBHOOK_PORT", "70000", "BATON_GITHUB_WEBHOOK_PORT"),
        ("BATON_GITHUB_WRITES_PER_SECOND", "0", "BATON_GITHUB_WRITES_PER_SECOND"),
        ("BATON_GITHUB_LABEL", "x" * 51, "BATON_GITHUB_LABEL"),
    ],
)
def test_what_does_not_fit(variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        read_settings()
    assert words in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_secret_and_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("from-the-file")
    monkeypatch.setenv("BATON_GITHUB_TOKEN", "from-the-variable")
    monkeypatch.setenv("BATON_GITHUB_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(ConfigurationError, match="are both set"):
        read_settings()
