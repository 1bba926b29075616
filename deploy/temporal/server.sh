#!/bin/sh
# Starts the Temporal server with the database's password from a file. In temporalio/server.
set -eu
POSTGRES_PWD=$(cat /run/secrets/postgres_password)
export POSTGRES_PWD
exec /etc/temporal/entrypoint.sh
