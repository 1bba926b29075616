"""Small target repositories for pipeline tests: real git, and a test command that takes milliseconds."""

import subprocess
from pathlib import Path

CHECK = """\
# The project's tests: every *.expect file under tests/ names a file and a text that it must hold.
status=0
for expectation in tests/*.expect; do
  [ -e "$expectation" ] || continue
  read -r file text < "$expectation"
  if grep -qF -- "$text" "$file" 2>/dev/null; then
    echo "ok      $expectation"
  else
    echo "FAILED  $expectation: $file does not hold: $text"
    status=1
  fi
done
exit $status
"""

CONFIG = """\
[gate]
test = "sh check.sh"
timeout = 60

[scope]
backend = ["src/**", "README.md"]
frontend = ["web/**"]
tester = ["tests/**"]
"""


def git(repo: Path, *arguments: str) -> str:
    """Run git in a repository and return what it prints."""
    command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(repo), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make_repository(path: Path, files: dict[str, str] | None = None) -> Path:
    """A repository on branch `main` with one commit."""
    contents = {
        "README.md": "# Shop\n",
        "check.sh": CHECK,
        "baton.toml": CONFIG,
        "src/orders.txt": "list orders\n",
        "web/index.html": "<h1>Shop</h1>\n",
        "tests/base.expect": "src/orders.txt list orders\n",
        **(files or {}),
    }
    path.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    for name, text in contents.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(path, "add", "-A")
    git(path, "commit", "-qm", "Base")
    return path
