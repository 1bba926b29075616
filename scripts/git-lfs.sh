#!/bin/sh
# Sees to it that git-lfs is there, for the tests of uploads. Installs it on Debian as root.
set -eu
command -v git-lfs >/dev/null 2>&1 && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "baton: git-lfs is missing. Install it (Debian: apt install git-lfs); tests of uploads are skipped without." >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends git-lfs >/dev/null
