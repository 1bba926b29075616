#!/bin/sh
# Makes ./secrets with a file for each secret of docker-compose.yml, and fills those that only have to be secret.
# What is there already is left as it is.
set -eu
cd "$(dirname "$0")/.."
mkdir -p secrets
# The directory keeps others out; the files are read by the containers' own users.
chmod 0700 secrets

put() {
  [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"
  chmod 0644 "secrets/$1"
}

random() {
  head -c 24 /dev/urandom | base64 | tr '+/' '-_'
}

put postgres_password "$(random)"
put grafana_password "$(random)"
put baton_codec_token "$(random)"
put baton_github_webhook_secret "$(random)"
# Empty: not set. Keys are made with: echo "k1:$(openssl rand -base64 32)" > secrets/baton_encryption_keys
put baton_encryption_keys ""
# One of these two for GitHub, see docs/github.md.
put baton_github_token ""
put baton_github_private_key ""
put anthropic_api_key ""
[ -s secrets/anthropic_api_key ] || echo "Put your ANTHROPIC_API_KEY into secrets/anthropic_api_key."
