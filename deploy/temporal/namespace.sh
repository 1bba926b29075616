#!/bin/sh
# Makes the namespace with its retention, and the search attributes that Baton needs; may be run again.
# In temporalio/admin-tools. Takes TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and RETENTION.
set -eu

for attempt in $(seq 1 60); do
  temporal operator cluster health >/dev/null 2>&1 && break
  if [ "$attempt" -eq 60 ]; then
    echo "The Temporal server at $TEMPORAL_ADDRESS does not become healthy." >&2
    exit 1
  fi
  sleep 2
done

if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
  temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
else
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
fi

# The server takes a moment until a new namespace is known to all of it.
for attempt in $(seq 1 30); do
  known=$(temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE" 2>/dev/null) && break
  [ "$attempt" -eq 30 ] && exit 1
  sleep 2
done
# One that exists with another type is an error that the worker names.
for attribute in BatonRepo:Keyword BatonStatus:Keyword BatonPendingDecisions:Int BatonCostUsd:Double; do
  case "$known" in
    *"${attribute%%:*} "*) ;;
    *)
      temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" \
        --name "${attribute%%:*}" --type "${attribute##*:}"
      ;;
  esac
done
echo "The namespace $TEMPORAL_NAMESPACE is ready."
