#!/bin/sh
# Makes the virtual environment named by the first argument and installs the locked packages and Baton into it.
set -eu
venv=$1

command -v git >/dev/null 2>&1 || { echo "baton: git is missing. Install it (Debian: apt install git) and run make again." >&2; exit 1; }

python=""
for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "baton: Python 3.11 or newer is missing. Install it, or name it: make PYTHON=/path/to/python3 ..." >&2
  exit 1
fi

if [ ! -x "$venv/bin/pip" ]; then
  echo "Making $venv with $("$python" --version)"
  rm -rf "$venv"
  "$python" -m venv "$venv" || {
    echo "baton: $python cannot make virtual environments. On Debian: apt install python3-venv" >&2
    exit 1
  }
fi
echo "Installing the packages of requirements.lock into $venv (once)"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.lock || {
  echo "baton: the packages could not be installed. Is the package index reachable (pip config list)?" >&2
  exit 1
}
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --editable . || exit 1
