# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# What scripts/tk_ansible and scripts/test share: places, messages, the Python environment. Sourced, never run.

checkout=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME=$home
cache=${XDG_CACHE_HOME:-$home/.cache}/thinkube-chroma
# shellcheck disable=SC2034 # for who sources this
cluster=$cache/cluster

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    say "ERROR: $*"
    exit 2
}

# Print a Python ≥ 3.11, which ansible-core 2.19 demands of a controller.
find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11 or newer was not found. On Debian 12: apt-get install python3 python3-venv"
}

# Sets $environment: one for each content of the requirements and each Python.
name_environment() { # requirements file, python
    local version key
    version=$("$2" -c 'import sys; print(sys.base_prefix, *sys.version_info[:3])')
    key=$(cd "$checkout" && { echo "$version $1" && cat requirements.txt requirements-data.txt "$1" constraints.txt; } | sha256sum | cut -c1-12)
    environment=$cache/venv-$key
}

# The mark is written last; the second test notices a Python that was removed under the environment.
environment_works() { [[ -e $environment/.complete ]] && "$environment/bin/python" -c '' 2>/dev/null; }

# Install a requirements file into an environment of its own, unless it is there, and put that first in PATH.
use_python() { # requirements file
    local python uv
    python=$(find_python) || exit
    name_environment "$1" "$python"
    if ! environment_works; then
        mkdir -p "$cache"
        "$python" -c 'import ensurepip' 2>/dev/null \
            || die "$python can't make virtual environments. On Debian 12: apt-get install python3-venv"
        uv=$(grep '^uv==' "$checkout/constraints.txt")
        (
            flock --nonblock 9 || { say "another process prepares the Python environment; waiting for it" && flock 9; }
            ! environment_works || exit 0
            say "preparing the Python environment $environment (once; about a minute)"
            rm -rf "$environment"
            "$python" -m venv "$environment" \
                && "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$uv" \
                && cd "$checkout" && "$environment/bin/uv" pip install --compile-bytecode --python "$environment/bin/python" --requirement "$1" \
                && touch "$environment/.complete"
        ) 9>"$cache/python.lock" || die "the Python environment could not be prepared; the reason is above. Started again, it begins afresh."
    fi
    export PATH=$environment/bin:$PATH VIRTUAL_ENV=$environment
}

# Make thinkube.chroma.* resolve to this checkout, wherever the caller stands.
use_checkout() {
    export ANSIBLE_COLLECTIONS_PATH=$checkout/playbooks/collections${ANSIBLE_COLLECTIONS_PATH:+:$ANSIBLE_COLLECTIONS_PATH}
}
