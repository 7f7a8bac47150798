"""Patches of other libraries. Each says what it does, why, and when it can be removed."""

import contextlib
import copy
import functools
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jax


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Silence the log messages of Orbax in the block.

    Orbax logs every checkpoint, and every failure with a traceback. Failures are also raised, so nothing is
    lost. Orbax has no option to turn the messages off. They come from three loggers:

    - the root logger, where only Orbax's own messages are dropped,
    - absl,
    - asyncio, which logs the failures of tasks that Orbax did not await.

    See https://github.com/google/orbax/issues/1951. Remove when Orbax logs to a separate logger, and
    awaits all tasks when one of them fails.
    """
    _ignore_replies_to_closed_loops()
    root = logging.getLogger()
    loggers = [logging.getLogger("absl"), logging.getLogger("asyncio")]
    levels = [logger.level for logger in loggers]

    def is_not_by_orbax(record: logging.LogRecord) -> bool:
        return f"{os.sep}orbax{os.sep}" not in record.pathname

    root.addFilter(is_not_by_orbax)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        root.removeFilter(is_not_by_orbax)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def single_process_orbax() -> Iterator[None]:
    """Let this process use Orbax alone in the block. By default Orbax would wait for the other processes.

    In a run of several processes, only process 0 reads and writes checkpoints. Orbax has an option for
    that, `active_processes`. With it, `CheckpointManager` refuses to create its folder, and the
    `Checkpointer` of the v1 API always asks it to. The caller creates the folder, so this step is left out.

    See `_create_root_directory` in orbax-checkpoint 0.12.8:
    https://github.com/google/orbax/blob/main/checkpoint/orbax/checkpoint/checkpoint_manager.py. Remove the
    patch when the v1 `Checkpointer` accepts `active_processes`.
    """
    if jax.process_count() == 1:
        yield
        return
    from orbax.checkpoint import checkpoint_manager, v1

    this = jax.process_index()
    options = v1.options.MultiprocessingOptions(primary_host=this, active_processes={this})
    with (
        v1.Context(multiprocessing_options=options),
        _replaced(checkpoint_manager, "_create_root_directory", lambda *args, **kwargs: None),
    ):
        yield


def discard_damaged_programs(folder: Path) -> None:
    """Delete a program from JAX's cache in `folder` when JAX warns that it cannot read or write it.

    JAX writes a program straight to its final file, and never replaces a file that exists. A process that
    is killed while writing leaves half a program. Every later run would fail to read it, and warn. Where
    JAX cannot write, such as on a full disk, this warns once instead of once per program.

    JAX compiles at any time until the process ends, so `warnings.showwarning` stays replaced until then.

    See `LRUCache.put` in JAX 0.10: https://github.com/jax-ml/jax/blob/main/jax/_src/lru_cache.py. The
    warnings are those of https://github.com/jax-ml/jax/pull/12594. Remove when JAX writes to a temporary
    file and renames it.
    """
    show = warnings.showwarning
    pattern = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(\w+)': (.*)")
    has_warned = False

    def show_or_discard(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        nonlocal has_warned
        match = pattern.match(str(message))
        if match is None:
            show(message, *args, **kwargs)
            return
        action, name, reason = match.groups()
        for path in folder.glob(f"{name}-*-cache"):
            path.unlink(missing_ok=True)
        if action == "writing" and not has_warned:
            has_warned = True
            show(UserWarning(f"compiled programs are not kept: {reason}"), *args, **kwargs)

    warnings.showwarning = show_or_discard


def compress_with_checksums() -> None:
    """Make JAX compress the programs of its cache with zlib, which detects a flipped bit.

    Where zstandard is installed, and from Python 3.14 on, JAX uses zstd without a checksum. A damaged
    program then runs, and gives wrong numbers. JAX reads a program of the other format as a damaged one.

    See `compress_executable` in JAX 0.10 to 0.12:
    https://github.com/jax-ml/jax/blob/main/jax/_src/compilation_cache.py. Remove when JAX writes a
    checksum.
    """
    from jax._src import compilation_cache  # pyright: ignore[reportPrivateImportUsage]

    for name in ("zstd", "zstandard"):
        setattr(compilation_cache, name, None)


@contextlib.contextmanager
def replaced_program_cache(cache: Any) -> Iterator[Any]:
    """Make JAX use `cache` for all compiled programs in the block. Yield JAX's own cache, or None.

    `cache` needs the methods `get(key)` and `put(key, program)`. JAX has a setting for one folder, but none
    for two of them, or for another kind of cache.

    See `_get_cache` in JAX 0.10 to 0.12:
    https://github.com/jax-ml/jax/blob/main/jax/_src/compilation_cache.py. Remove when JAX accepts an object
    as its cache.
    """
    from jax._src import compilation_cache  # pyright: ignore[reportPrivateImportUsage]

    config: Any = jax.config
    name = "jax_persistent_cache_min_compile_time_secs"
    shortest = config.jax_persistent_cache_min_compile_time_secs
    try:
        if compilation_cache._cache is None:
            compilation_cache._initialize_cache()
    except OSError as error:
        warnings.warn(f"compiled programs are not kept for other runs: {error}", stacklevel=2)
    jax.config.update(name, 0.0)
    try:
        own = compilation_cache._cache
        with _replaced(compilation_cache, "_cache", cache), _keys_without_paths():
            yield own
    finally:
        jax.config.update(name, shortest)


@contextlib.contextmanager
def _keys_without_paths() -> Iterator[None]:
    """Leave the folder of XLA's autotuning cache out of the keys of programs in the block.

    JAX puts that folder into its program cache, whose path depends on the user. With the path in the key,
    another user or another cache folder could not find the program of a run. JAX 0.12 leaves it out itself.

    See `_hash_serialized_compile_options` in
    https://github.com/jax-ml/jax/blob/main/jax/_src/cache_key.py. Remove when JAX 0.12 is the lowest
    version that is supported.
    """
    from jax._src import cache_key  # pyright: ignore[reportPrivateImportUsage]

    original = cache_key._hash_serialized_compile_options

    def hash_without_path(hash_object: Any, options: Any, *args: Any, **kwargs: Any) -> None:
        options = copy.deepcopy(options)
        options.executable_build_options.debug_options.xla_gpu_per_fusion_autotune_cache_dir = ""
        original(hash_object, options, *args, **kwargs)

    with _replaced(cache_key, "_hash_serialized_compile_options", hash_without_path):
        yield


@functools.cache  # the hook is set once per process
def _ignore_replies_to_closed_loops() -> None:
    """Ignore the replies of TensorStore to an asyncio loop that Orbax has closed.

    When one array of a checkpoint cannot be read, Orbax closes its loop while TensorStore still reads the
    others. TensorStore then replies to the closed loop from its own threads. Python reports each reply as
    an exception that nobody can handle. A reply can come at any later time, so the hook stays for good.

    See `get_await_result` and `RunCallbacks` in TensorStore 0.1.86:
    https://github.com/google/tensorstore/blob/master/python/tensorstore/future.cc. Remove when Orbax awaits
    all reads when one of them fails.
    """
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = report_others


@contextlib.contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, original)
