#!/bin/sh
# Installs ehr_jax with its test tools, checks style, and runs the tests.
#
#   launch/test.sh [pytest arguments]
#
# Tests on real data run where EHR_JAX_DATA names the data root, and say so where they are skipped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/launch/setup.sh"

prepare_venv "${EHR_JAX_VENV:-$root/.venv}" baselines test
export HF_HUB_OFFLINE=1
here=$(pwd)
cd "$root"
"$python" -m ruff check .
"$python" -m ruff format --check --quiet . || fail "formatting differs: run 'ruff format' in $root"
if [ $# -gt 0 ]; then cd "$here"; fi # so that paths among the arguments mean what they say
exec "$python" -m pytest --rootdir="$root" -c "$root/setup.cfg" "$@"
