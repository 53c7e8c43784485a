#!/usr/bin/env bash
# Runs captionbeam in a virtual environment of its own, which the first call makes.
#
#   ./run_local.sh                    the demo: every stage on a collection that it draws, into output/demo/
#   ./run_local.sh STAGE ARGS...      captionbeam STAGE ARGS...; `./run_local.sh --help` lists the stages
#   ./run_local.sh test [ARGS...]     lint, types and tests; ARGS go to pytest
#   ./run_local.sh docs               the documentation as a site, into output/site/
#   ./run_local.sh bench NAME ARGS... benchmarks/NAME.py
#
# CAPTIONBEAM_VENV names another directory for the environment (default: .venv beside this script).
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=${CAPTIONBEAM_VENV:-$root/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
python=$venv/bin/python
stamp=$venv/captionbeam.stamp           # what was installed; written last
unfinished=$venv/captionbeam.unfinished # there while an installation runs

say() { printf '%s\n' "run_local.sh: $*" >&2; }

fail() {
    say "$@"
    exit 1
}

# The newest Python that tensorflow-io has wheels for, else 3.13.
find_python() {
    local name
    for name in python3.12 python3.11 python3.10 python3 python python3.13; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    fail "no Python 3.10, 3.11, 3.12 or 3.13 found; install one (python3.12 is a good choice) and call this script again"
}

# The stamp of an environment that is up to date: this checkout's place (the install points to it) and its needs.
wanted() { printf '%s %s\n' "$root" "$(cksum <"$root/setup.py")"; }

is_installed() { [[ -x $python && ! -e $unfinished && -f $stamp && $(<"$stamp") == "$(wanted)" ]]; }

make_venv() {
    local base
    if [[ -e $venv && ! -f $venv/pyvenv.cfg && -n $(ls -A -- "$venv") ]]; then
        fail "$venv is not a virtual environment; remove it or name another place in CAPTIONBEAM_VENV"
    fi
    base=$(find_python)
    # --clear: nothing half-installed may survive.
    "$base" -m venv --clear "$venv" >&2 ||
        fail "$base cannot make a virtual environment in $venv; on Debian or Ubuntu install python3-venv"
}

install() {
    is_installed && return # another call did it while this one waited
    if [[ -e $unfinished ]]; then
        say "the last installation was interrupted; starting afresh"
    fi
    if [[ -e $unfinished ]] || ! "$python" -m pip --version >/dev/null 2>&1; then
        make_venv
    fi
    say "installing captionbeam and what it needs into $venv (TensorFlow and Beam: some minutes) ..."
    : >"$unfinished"
    "$python" -m pip install --quiet --disable-pip-version-check --editable "${root}[dev]" >&2 ||
        fail "the installation failed; pip's message is above. Call this script again to retry"
    wanted >"$stamp.new"
    mv -- "$stamp.new" "$stamp"
    rm -- "$unfinished"
    say "installed"
}

# One installation at a time, where the system has flock. The lock is this script itself: it ends with the subshell.
ensure_installed() {
    is_installed && return
    if command -v flock >/dev/null; then
        (
            flock --nonblock 9 || {
                say "waiting for another call that is installing ..."
                flock 9
            }
            install 9<&-
        ) 9<"$root/run_local.sh"
    else
        (install)
    fi
}

run_tests() {
    cd -- "$root"
    local pytest_args=("$@")
    # All tests at once: two processes, each file in one of them so that a file's models are built once, and in the
    # order of tests/conftest.py.
    ((${#pytest_args[@]})) || pytest_args=(--numprocesses 2 --dist loadfile --no-loadscope-reorder)
    "$python" -m ruff check .
    "$python" -m ruff format --check .
    "$python" -m mypy
    exec "$python" -m pytest "${pytest_args[@]}"
}

ensure_installed
case ${1:-} in
    "") exec "$venv/bin/captionbeam" demo --output "$root/output/demo" ;;
    test)
        shift
        run_tests "$@"
        ;;
    docs)
        "$python" -c 'import mkdocs, mkdocstrings, material' 2>/dev/null ||
            "$python" -m pip install --quiet --disable-pip-version-check --editable "${root}[dev,docs]" >&2
        cd -- "$root"
        exec "$python" -m mkdocs build --strict
        ;;
    bench)
        [[ -f $root/benchmarks/${2:-}.py ]] ||
            fail "bench ${2:-}: expected one of $(cd -- "$root/benchmarks" && ls -- *.py | sed 's/\.py$//' | paste -s -d ' ' -)"
        exec "$python" "$root/benchmarks/$2.py" "${@:3}"
        ;;
    *) exec "$venv/bin/captionbeam" "$@" ;;
esac
