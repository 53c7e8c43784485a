#!/usr/bin/env bash
# Runs captionbeam in a virtual environment of its own, which the first call makes.
#
#   ./run_local.sh                    the demo: every stage on a collection that it draws, into output/demo/
#   ./run_local.sh STAGE ARGS...      captionbeam STAGE ARGS...; `./run_local.sh --help` lists the stages
#   ./run_local.sh test [ARGS...]     lint, types, import rules and tests; ARGS go to pytest
#   ./run_local.sh docs               the documentation as a site, into output/site/
#   ./run_local.sh bench NAME ARGS... benchmarks/NAME.py
#
# Demo and stages install what captioning and training need (a plain install); test and bench add the extra dev,
# docs the extra docs.
#
# CAPTIONBEAM_VENV names another directory for the environment (default: .venv beside this script).
# CAPTIONBEAM_PYTHON names the Python to make it with (default: python3, or a python3.N where that does not fit).
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=${CAPTIONBEAM_VENV:-$root/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
python=$venv/bin/python
unfinished=$venv/captionbeam.unfinished # there while an installation runs

say() { printf '%s\n' "run_local.sh: $*" >&2; }

fail() {
    say "$@"
    exit 1
}

is_python() { "$1" -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $2))" 2>/dev/null; }

# The user's Python, else one that tensorflow-io has wheels for, else 3.13.
find_python() {
    local newest name
    if [[ -n ${CAPTIONBEAM_PYTHON:-} ]]; then
        is_python "$CAPTIONBEAM_PYTHON" 13 || fail "CAPTIONBEAM_PYTHON: $CAPTIONBEAM_PYTHON is no Python 3.10 to 3.13"
        printf '%s\n' "$CAPTIONBEAM_PYTHON"
        return
    fi
    for newest in 12 13; do
        for name in python3 python3.12 python3.11 python3.10 python3.13 python; do
            if is_python "$name" "$newest"; then
                printf '%s\n' "$name"
                return
            fi
        done
    done
    fail "no Python 3.10 to 3.13 found; install one (3.12 is a good choice), or name one in CAPTIONBEAM_PYTHON"
}

# An extra ("" for a plain install) -> the file that says what was installed with it; written last.
stamp() { printf '%s\n' "$venv/captionbeam${1:+-$1}.stamp"; }

# What stands in the stamps of an environment that is up to date: this checkout's place (the install points to it) and
# its needs.
wanted() { printf '%s %s\n' "$root" "$(cat -- "$root/setup.py" "$root/requirements/"*.txt | cksum)"; }

is_installed() {
    local stamp
    stamp=$(stamp "$1")
    [[ -x $python && ! -e $unfinished && -f $stamp && $(<"$stamp") == "$(wanted)" ]]
}

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

pip_install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }

install() {
    local extra=$1 level
    is_installed "$extra" && return # another call did it while this one waited
    if [[ -e $unfinished ]]; then
        say "the last installation was interrupted; starting afresh"
    fi
    if [[ -e $unfinished ]] || ! "$python" -m pip --version >/dev/null 2>&1; then
        make_venv
    fi
    say "installing captionbeam and what it needs${extra:+, with the extra $extra,} into $venv (some minutes) ..."
    : >"$unfinished"
    # Everything that is downloaded must have a hash of requirements/. The package itself is this checkout.
    {
        pip_install --require-hashes --requirement "$root/requirements/installers.txt" &&
            pip_install --no-build-isolation --no-deps --editable "$root" &&
            pip_install --no-build-isolation --require-hashes --constraint "$root/requirements/constraints.txt" \
                "captionbeam${extra:+[$extra]}"
    } >&2 || fail "the installation failed; pip's message is above. Call this script again to retry"
    for level in "" "$extra"; do
        wanted >"$(stamp "$level")"
    done
    rm -- "$unfinished"
    say "installed"
}

# One installation at a time, where the system has flock. The lock is this script itself: it ends with the subshell.
ensure_installed() {
    is_installed "$1" && return
    if command -v flock >/dev/null; then
        (
            flock --nonblock 9 || {
                say "waiting for another call that is installing ..."
                flock 9
            }
            install "$1" 9<&-
        ) 9<"$root/run_local.sh"
    else
        (install "$1")
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
    "$venv/bin/lint-imports" --no-logo --no-cache
    exec "$python" -m pytest "${pytest_args[@]}"
}

case ${1:-} in
    "")
        ensure_installed ""
        exec "$venv/bin/captionbeam" demo --output "$root/output/demo"
        ;;
    test)
        ensure_installed dev
        shift
        run_tests "$@"
        ;;
    docs)
        ensure_installed docs
        cd -- "$root"
        exec "$python" -m mkdocs build --strict
        ;;
    bench)
        [[ -f $root/benchmarks/${2:-}.py ]] ||
            fail "bench ${2:-}: expected one of $(cd -- "$root/benchmarks" && ls -- *.py | sed 's/\.py$//' | paste -s -d ' ' -)"
        ensure_installed dev
        exec "$python" "$root/benchmarks/$2.py" "${@:3}"
        ;;
    *)
        ensure_installed ""
        exec "$venv/bin/captionbeam" "$@"
        ;;
esac
