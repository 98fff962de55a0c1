#!/bin/sh
# Installs ehr_jax with its test tools, checks style, and runs the tests.
#
#   launch/test.sh [pytest arguments]          paths among them start in the repository; the tests
#                                              marked slow are run by -m slow
#   launch/test.sh oracle [pytest arguments]   the suite that compares with PyTorch, in .venv-oracle
#   launch/test.sh mutants [arguments]         plants small faults, which the tests must notice
#
# Tests on real data run where EHR_JAX_DATA names the data root, and say so where they are skipped.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/launch/setup.sh"
export HF_HUB_OFFLINE=1

if [ "${1-}" = oracle ]; then
    shift
    prepare_venv "${EHR_JAX_VENV:-$root/.venv-oracle}" baselines test oracle
    cd "$root"
    exec "$python" -m pytest tests/oracle "$@"
fi
prepare_venv "${EHR_JAX_VENV:-$root/.venv}" aces baselines test
cd "$root"
if [ "${1-}" = mutants ]; then
    shift
    exec "$python" tests/mutants/plant.py "$@"
fi
"$python" -m ruff check --quiet .
"$python" -m ruff format --check --quiet . || fail "formatting differs: run 'ruff format' in $root"
# A process a core, whole files each; -n 0 runs all in one.
exec "$python" -m pytest -n auto --maxprocesses=4 --dist loadfile "$@"
