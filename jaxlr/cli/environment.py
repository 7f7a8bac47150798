"""The environment of the command: the variables that JAX and XLA read, and the limit of memory."""

import os
import re
import sys
import traceback

from jaxlr.cli.errors import refuse


# The least memory in MiB with which training has worked, on one core with small stacks, was 1760.
_TOO_LITTLE_TO_TRAIN = 1600


def import_jax(to_train: bool) -> None:
    """Import JAX. If the environment does not let it work, the process ends with one line on stderr."""
    if "jax" in sys.modules:
        return
    if to_train:
        _check_folder()
        _check_memory()
        _check_xla_flags()
    try:
        import jax  # noqa: F401
    except ImportError:
        raise
    except Exception as error:
        refuse(_message_of(error))


def _check_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - Path.cwd() is the same call
    except FileNotFoundError:
        refuse("the current folder no longer exists: change to another one")


def _check_memory() -> None:
    """Refuse to train with so little memory that XLA would abort or hang."""
    import resource  # here, because Windows has none

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _TOO_LITTLE_TO_TRAIN * 2**20:
        refuse(
            f"training needs about 2.2 GiB of address space, and the limit of this process is "
            f"{limit >> 20} MiB: raise it with ulimit -v"
        )


def _check_xla_flags() -> None:
    """Refuse XLA_FLAGS that XLA cannot read. It ends the process then, so a child reads them first."""
    if not os.environ.get("XLA_FLAGS"):
        return
    from jaxlib import xla_client

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writer, 2)
        xla_client.CompileOptions()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, errors="backslashreplace") as output:
        lines = output.read().splitlines()
    if os.waitpid(child, 0)[1] != 0:
        reason = lines[0].partition("] ")[2] or lines[0] if lines else "XLA does not say why"
        refuse(f"XLA_FLAGS cannot be read: {reason.rstrip('.')}: correct them, or unset XLA_FLAGS")


def _message_of(error: Exception) -> str:
    """Return the error of an import of JAX. It names the variable that is wrong, if there is one."""
    message = str(error)
    ours = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    text = message.replace("jax.", "jax_")  # some messages write jax.default_device
    named = [name for name in ours if re.search(rf"\b{name}\b", text, re.IGNORECASE)]
    quoted = [name for name, value in ours.items() if repr(value) in message]
    if not (variables := named or quoted):
        variables = [f"the variables {', '.join(ours)}"] if ours else []
        hint = f"check {variables[0]}" if variables else "it may need more memory, or to be installed again"
        return f"JAX cannot be imported: {message or repr(error)}; {hint}"
    name = variables[0]
    accepted = _accepted(error)
    problem = f"must be {accepted}, got {ours[name]!r}" if accepted else f"is wrong: {message}"
    return f"{name} {problem}: correct it, or unset {name}"


def _accepted(error: Exception) -> str | None:
    """Return the values of a variable that JAX accepts, as far as its error tells."""
    message = str(error)
    if "truth value" in message:
        return "true or false"
    # JAX's message does not list the values, but the function that raised it has them as an argument.
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in frames:
        if values := frame.f_locals.get("enum_values"):
            return f"one of {', '.join(values)}"
        if members := frame.f_locals.get("enum_class"):
            return f"one of {', '.join(str(member.value) for member in members)}"
    if re.match(r"Invalid value|invalid literal", message):
        is_whole = any(frame.f_code.co_name in ("int_state", "int_env") for frame in frames)
        return "a whole number" if is_whole else "a number"
    return None
