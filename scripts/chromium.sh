#!/bin/sh
# Sees to it that Chromium is there, for the tests and screenshots of the Web UI. Installs it on Debian as root.
set -eu
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "baton: Chromium is missing. Install it (Debian: apt install chromium); tests of the Web UI are skipped without." >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
