# Sourced by the scripts beside it: enters the project and installs into .venv what they need, once.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# install NAME PIP-ARGUMENTS...: run pip unless it did so, under that name, for this pyproject.toml.
install() {
    local name=$1 python=${PYTHON:-python3} stamp
    shift
    stamp="$(cat pyproject.toml; echo "$@")"
    [ "$(cat ".venv/installed-$name" 2>/dev/null)" = "$stamp" ] && return
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "jaxlr needs Python 3.11 or later, got $("$python" --version): set PYTHON to one" >&2
        exit 2
    }
    echo "installing into .venv: $*" >&2
    [ -x .venv/bin/pip ] || "$python" -m venv .venv
    .venv/bin/python -m pip install -qq --upgrade "pip>=25.1"
    .venv/bin/python -m pip install -qq "$@"
    echo "$stamp" >".venv/installed-$name"
}

# The extra that puts JAX on the GPU, where one answers.
cuda=""
if nvidia-smi -L >/dev/null 2>&1; then cuda=",cuda12"; fi
