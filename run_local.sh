#!/usr/bin/env bash
# ./run_local.sh                  draws a collection, runs every stage on it: output/demo/
# ./run_local.sh test [ARGS]      lint, types, tests (ARGS go to pytest)
# ./run_local.sh STAGE ARGS...    captionbeam STAGE ARGS..., see ./run_local.sh --help
#
# The first call makes the project's own .venv, a later one repairs it when it is incomplete or setup.py has changed.
# CAPTIONBEAM_VENV names another place for it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${CAPTIONBEAM_VENV:-$root/.venv}

find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3.10 python3; do
        # A version manager's stand-in for a version that is not installed fails here.
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "run_local.sh: needs Python 3.10, 3.11 or 3.12 on the PATH; install one and run this again" >&2
    exit 1
}

# install EXTRA: brings the environment to what setup.py says. The stamp is written last, so that an interrupted
# install is taken up again.
install() {
    local extra=$1 stamp wanted python
    stamp=$venv/captionbeam-installed$extra
    wanted=$(cksum <"$root/setup.py")
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
        return
    fi
    echo "Installing captionbeam$extra into $venv (a few minutes, about 2 GB) ..." >&2
    if [[ ! -x $venv/bin/python ]]; then
        python=$(find_python)
        "$python" -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root$extra"
    printf '%s\n' "$wanted" >"$stamp"
}

install_alone() {
    mkdir -p "$venv"
    if command -v flock >/dev/null; then
        # Two calls at once: the second waits and then finds everything done.
        (
            flock 9
            install "$1"
        ) 9>"$venv/.install-lock"
    else
        install "$1"
    fi
}

if [[ ${1-} == test ]]; then
    shift
    install_alone "[dev]"
    cd "$root"
    "$venv/bin/ruff" check .
    "$venv/bin/ruff" format --check .
    "$venv/bin/mypy"
    exec "$venv/bin/python" -m pytest -n "${CAPTIONBEAM_TEST_PROCESSES:-2}" "$@"
fi

install_alone ""
if [[ $# -eq 0 ]]; then
    cd "$root"
    set -- demo --output output/demo
fi
exec "$venv/bin/captionbeam" "$@"
