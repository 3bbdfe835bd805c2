#!/bin/sh
# Starts one role of the image: a service, the gateway, `up` for all in one process, or any other command.
set -eu
role="${1:-up}"
[ $# -eq 0 ] || shift
case "$role" in
  connector | trainer | generator | qa | gateway) exec python -m "simulacra_$role" "$@" ;;
  up | demo | synthesize) exec simulacra "$role" "$@" ;;
  *) exec "$role" "$@" ;;
esac
