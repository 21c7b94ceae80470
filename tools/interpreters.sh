#!/bin/sh
# The Pythons here that rojak-ray is made for: a line "VERSION PATH" for each version, the oldest first.
#
# Looks at python3.N on PATH and into the folders of the usual version managers. One that doesn't start (a shim of a
# version manager) or can't make virtual environments is left out.
oldest_minor=11 newest_minor=14
home=${HOME:-/root}

for minor in $(seq "$oldest_minor" "$newest_minor"); do
    for candidate in \
        "$(command -v "python3.$minor")" \
        "${PYENV_ROOT:-$home/.pyenv}/versions/3.$minor".*/bin/python3 \
        "${UV_PYTHON_INSTALL_DIR:-$home/.local/share/uv/python}/cpython-3.$minor".*/bin/python3 \
        "${MISE_DATA_DIR:-$home/.local/share/mise}/installs/python/3.$minor".*/bin/python3 \
        "${ASDF_DATA_DIR:-$home/.asdf}/installs/python/3.$minor".*/bin/python3 \
        "${RUNNER_TOOL_CACHE:-/opt/hostedtoolcache}/Python/3.$minor".*/*/bin/python3 \
        "/opt/homebrew/opt/python@3.$minor/bin/python3.$minor" \
        "/opt/python/cp3$minor-cp3$minor/bin/python3"; do
        [ -x "$candidate" ] || continue
        if "$candidate" -c "import ensurepip, sys, venv
sys.exit(sys.version_info[:2] != (3, $minor) or sys.implementation.name != 'cpython')" 2>/dev/null; then
            echo "3.$minor $candidate"
            break
        fi
    done
done
