#!/bin/sh
# Makes the virtual environment of the Makefile: set_up.sh PYTHON FOLDER demo|all
#
# demo: what the demo needs. all: what tests and checks need as well; a package that only some tests need and that
# this Python or system has no build of is said, and those tests are skipped.
# Whatever is in the way ends in one line on standard error that says what to do. It may be stopped and run again:
# the Makefile's stamp is written only after the last line of this.
set -u
cd "$(dirname "$0")/.." || exit 1
python=$1 folder=$2 what=$3
oldest=3.11

fail() {
    echo "$1" >&2
    exit 1
}

# Whether less is free than the smallest step takes. A step that starts another one may hide that one's words.
is_full() {
    for place in "$folder" . "${TMPDIR:-/tmp}"; do
        free=$(df -Pk "$place" 2>/dev/null | awk 'NR == 2 { print $4 }')
        [ "${free:-999999}" -lt 20000 ] && return 0
    done
    return 1
}

no_index() {
    fail "The package index can't be reached: look at the network, the proxy (HTTPS_PROXY) or the index that is set (pip config list), then run make again."
}

# One line for what a failed step printed. $1: what it printed; $2: the step.
explain() {
    said=$1
    is_full && said="No space left on device"
    case $said in
    *"No space left on device"* | *"Errno 28"* | *"Disk quota exceeded"* | *"Errno 122"*)
        fail "The disk is full: a demo takes 0.5 GB and the tests 2 GB, in $folder and in ${TMPDIR:-/tmp} (df -h shows both). Free some, then run make again."
        ;;
    *"Permission denied"* | *"Read-only file system"* | *"Operation not permitted"*)
        fail "$folder can't be written ($(last_line "$1")). Make it yours, or choose another place: make VENV=/a/folder/of/yours demo"
        ;;
    *"ensurepip is not available"* | *"No module named venv"* | *"No module named ensurepip"*)
        fail "$python can't make virtual environments: install its venv module (on Debian and Ubuntu: apt-get install python$version-venv), then run make again."
        ;;
    *"connection broken by"* | *"Failed to establish a new connection"* | *"Could not fetch URL"* | *"Read timed out"* | \
        *ConnectionError* | *ConnectTimeout* | *ReadTimeout* | *ProxyError* | *"certificate verify failed"*)
        no_index
        ;;
    *"No matching distribution found for ray"*)
        fail "There is no Ray for Python $version on this system ($(uname -sm)): use another Python, as in make PYTHON=python$oldest demo"
        ;;
    *"from versions: none"*) # what pip says of an index that it doesn't ask twice
        no_index
        ;;
    *)
        fail "$2 failed: $(last_line "$1")"
        ;;
    esac
}

# The last line that tells something, its ERROR lines first.
last_line() {
    lines=$(printf '%s\n' "$1" | grep -v -e '^ *$' -e '\[notice\]' -e '^WARNING' | tr -d '\r')
    errors=$(printf '%s\n' "$lines" | grep -i '^ *error' | grep -v subprocess-exited-with-error)
    printf '%s\n' "${errors:-${lines:-it said nothing}}" | tail -n 1
}

# Where a Python that would do is, as an argument of make; or which one to install.
another() {
    found=$(tools/interpreters.sh | tail -n 1)
    if [ -n "$found" ]; then
        echo "run make PYTHON=${found#* } with the same target"
    else
        echo "install it (on Debian and Ubuntu: apt-get install python3 python3-venv), then run make again"
    fi
}

pip_install() {
    "$folder/bin/python" -m pip install -q --disable-pip-version-check --no-input -c constraints.txt "$@" 2>&1
}

is_usable() {
    "$folder/bin/python" -c "import sys, pip; sys.exit(sys.version_info < (${oldest%.*}, ${oldest#*.}))" 2>/dev/null
}

if ! is_usable; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        fail "rojak-ray needs Python $oldest or newer, and there is no $python here that runs: $(another)."
    "$python" -c "import sys; sys.exit(sys.version_info < (${oldest%.*}, ${oldest#*.}))" ||
        fail "rojak-ray needs Python $oldest or newer, and $python is $version: $(another)."
    echo "Setting up $folder for Python $version (once; half a minute, the tests' part a minute or two) ..."
    said=$("$python" -m venv --clear "$folder" 2>&1) || {
        (explain "$said" "$python -m venv $folder")
        rm -rf "$folder"
        exit 1
    }
fi
version=$("$folder/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

if [ "$what" = demo ]; then
    said=$(pip_install -e '.[openai,anthropic]') || explain "$said" "pip install"
    exit 0
fi

echo "Installing what tests and checks need ..."
said=$(pip_install --upgrade 'pip>=25.1') || explain "$said" "pip install --upgrade pip"
said=$(pip_install --group dev -e '.[all]') || explain "$said" "pip install"
if ! pip_install --only-binary :all: --group test-optional >/dev/null; then
    "$folder/bin/python" tools/pins.py --group test-optional | while IFS= read -r requirement; do
        pip_install --only-binary :all: "$requirement" >/dev/null ||
            echo "Not installed, so the tests that need it are skipped: $requirement"
    done
fi
