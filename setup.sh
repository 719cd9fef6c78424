#!/bin/sh
# Set up what the Makefile needs: bubblewrap, .venv/ and the locked packages.
# `setup.sh browser` installs the browser that `make test` opens pages with.
set -eu
umask 022 # the sandbox runs as another user and must be able to read .venv

# Install system packages where that is allowed; otherwise say in one line what to install.
install() {
    root=
    [ "$(id -u)" = 0 ] || root='sudo -n'
    if ! { $root apt-get update && $root apt-get install -y --no-install-recommends "$@"; } \
        >/dev/null 2>&1; then
        echo "setup: please install with 'sudo apt-get install $*', then run this again" >&2
        exit 1
    fi
}

if [ "${1:-}" = browser ]; then
    command -v chromium >/dev/null || command -v google-chrome >/dev/null || install chromium
    touch .venv/browser
    exit 0
fi

python=
# 3.11 first: graders/*/verified.json hold for it, so the first grading need not verify anything.
for candidate in /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13 python3.11 python3.12 \
    python3.13 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "setup: please install Python 3.11 or newer" >&2; exit 1; }

missing=
command -v bwrap >/dev/null || missing=bubblewrap
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    missing="$missing python3-venv"
fi
# shellcheck disable=SC2086 # $missing holds several words
[ -z "$missing" ] || install $missing

[ -x .venv/bin/python ] || "$python" -m venv .venv
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install -q --require-hashes -r requirements.lock
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
touch .venv/ready
