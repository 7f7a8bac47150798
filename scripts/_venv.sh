# Sourced by the other scripts: enter the project, and install into $venv what they need, once.
CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."

venv=.venv
python=${PYTHON:-python3}
unset PYTHONDONTWRITEBYTECODE # without bytecode, each process compiles all of JAX: 4 seconds

# install NAME PIP-ARGUMENTS...: run pip, unless it has already run under that name, here, with these arguments
# and this pyproject.toml.
install() {
    local name=$1 stamp
    shift
    stamp="$(cat pyproject.toml && echo "$PWD $*")"
    [ "$(cat "$venv/installed-$name" 2>/dev/null)" = "$stamp" ] && return
    check_python
    echo "installing into $venv: $*" >&2
    if ! "$python" -m venv "$venv"; then
        echo "cannot make $venv: on Debian and Ubuntu, install the package python3-venv" >&2
        exit 2
    fi
    "$venv/bin/python" -m pip install -qq --upgrade "pip>=25.1"
    # Without bytecode: a minute of one core for 15,000 files, and Python compiles those that it imports.
    "$venv/bin/python" -m pip install -qq --no-compile "$@"
    echo "$stamp" >"$venv/installed-$name"
}

check_python() {
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "jaxlr needs Python 3.11 or later, but '$python' is older or missing: set PYTHON to the path of a newer one" >&2
        exit 2
    fi
}

# The extra that installs JAX for the GPU, if there is one.
cuda=""
if nvidia-smi -L >/dev/null 2>&1; then cuda=",cuda12"; fi
