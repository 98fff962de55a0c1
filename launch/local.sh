#!/bin/sh
# Installs ehr_jax in its own virtual environment and runs it, on this machine.
#
#   launch/local.sh                          the quick start: a synthetic hospital, a result, a report
#   launch/local.sh --config=configs/NAME.py[:variant] [--workdir=RUN] [--mode=MODE] ...
#   EHR_JAX_EXTRA=cuda12 launch/local.sh     with an accelerator (cuda12, cuda13, tpu)
#
# The first call installs (some minutes), later ones start at once. See setup.sh for the settings.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/launch/setup.sh"

prepare_venv "${EHR_JAX_VENV:-$root/.venv}" baselines
export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}" # nothing is fetched from a hub while running
if [ $# -eq 0 ]; then set -- --config=configs/quickstart.py; fi
exec "$python" -m ehr_jax.main "$@"
