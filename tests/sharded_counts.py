"""The schedules with counts that are sharded over eight devices, as a program of its own.

`tests/test_sharded_counts.py` runs it, because the number of devices is fixed when JAX starts.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from cases import CASES
from helpers import DEVICE_RTOL, assert_close, fast_jit
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxlr


ALL = PartitionSpec(("rows", "columns"))
COUNTS = np.concatenate([np.arange(56), [99, 100, 10_000, 59_994, 10**6, 2**30 + 7, 2**31 - 2, 2**31 - 1]])
COUNTS = COUNTS.astype(np.int32)
GRID = PartitionSpec("rows", "columns")

# The rows that look up a table, and a few that do not.
NAMES = [
    "lambda",
    "multiplicative",
    "step, long",
    "multi step",
    "multi step, ten thousand",
    "exponential",
    "cosine",
    "warm restarts, 7 times 2",
    "cyclic, triangular2",
    "one cycle momentum",
    "sequential",
    "tabulated",
    "phases, repeated",
]
# These are called without jax.jit too. That compiles each operation, and follows the same rules.
CALLED = ["lambda", "multi step", "cosine", "sequential"]


def check(name: str, mesh: jax.sharding.Mesh) -> None:
    case, rates = CASES[name], np.asarray([0.1, 0.3] * (len(COUNTS) // 2), np.float32)
    schedule = case.build(0.1)
    expected = np.asarray(fast_jit(schedule)(COUNTS[:, None]))[:, 0]
    ensemble = jax.vmap(lambda lr, count: case.build(lr)(count))
    expected_of_ensemble = np.asarray(fast_jit(ensemble)(rates, COUNTS))

    @fast_jit
    def in_every_way(counts, grid, rates):
        in_rows = jax.shard_map(schedule, mesh=mesh, in_specs=GRID, out_specs=GRID)
        return {
            "array": schedule(counts),
            "grid": schedule(grid),
            "vmap": jax.vmap(schedule)(counts),
            "vmap of vmap": jax.vmap(jax.vmap(schedule))(grid),
            "vmap over columns": jax.vmap(schedule, in_axes=1, out_axes=1)(grid),
            "scan": jax.lax.scan(lambda carry, _: (carry, schedule(carry)), counts, length=2)[1][1],
            "shard_map": in_rows(grid),
            "ensemble": ensemble(rates, counts),
        }

    with jax.set_mesh(mesh):
        counts = jax.device_put(COUNTS, NamedSharding(mesh, ALL))
        grid = jax.device_put(COUNTS.reshape(8, 8), NamedSharding(mesh, GRID))
        found = in_every_way(counts, grid, jax.device_put(rates, NamedSharding(mesh, ALL)))
        if name in CALLED:
            found |= {"called": schedule(counts), "vmap, called": jax.vmap(schedule)(counts)}
        for way, actual in found.items():
            wanted = expected_of_ensemble if way == "ensemble" else expected
            assert_close(np.asarray(actual).ravel(), wanted, DEVICE_RTOL)
            is_explicit = AxisType.Explicit in mesh.axis_types
            if is_explicit and way in ("array", "vmap", "ensemble", "called"):
                assert jax.typeof(actual).sharding.spec == ALL, (name, way)
    # Counts may be sharded without jax.set_mesh too. There JAX 0.12 cannot divide one `where` by another.
    if jax.__version_info__ < (0, 12) or name not in ("cyclic, triangular2", "one cycle momentum"):
        assert_close(fast_jit(jax.vmap(schedule))(counts), expected, DEVICE_RTOL)


def check_pmapped_plateau() -> None:
    """Check that a plateau in a pmapped state takes a metric for each device, and refuses a single one."""
    tx = jaxlr.with_plateau(optax.sgd, 0.1, patience=0)
    params = np.ones((8, 2), np.float32)
    opt_state = jax.pmap(tx.init)(params)
    try:
        jaxlr.plateau_step(opt_state, 1.0)
    except ValueError as error:
        assert "such as jnp.full((8,), metric)" in str(error)
    else:
        raise AssertionError("a scalar metric was taken")
    for metric in (1.0, 1.0):
        opt_state = jaxlr.plateau_step(opt_state, jnp.full((8,), metric))
    assert_close(jaxlr.learning_rate(opt_state), np.full(8, 0.01), DEVICE_RTOL)
    opt_state = jax.pmap(jaxlr.plateau_step, in_axes=(0, None))(opt_state, 1.0)
    updates, _ = jax.pmap(tx.update)(params, opt_state, params)
    assert_close(updates, np.full((8, 2), -0.001), DEVICE_RTOL)


if __name__ == "__main__":
    check_pmapped_plateau()
    assert len(jax.devices()) == 8
    for axis_type in (AxisType.Explicit, AxisType.Auto):
        mesh = jax.make_mesh((4, 2), ("rows", "columns"), axis_types=(axis_type, axis_type))
        for name in NAMES if axis_type is AxisType.Explicit else NAMES[1:3]:
            try:
                check(name, mesh)
            except Exception as error:
                error.add_note(f"in the case {name!r}, on a mesh with {axis_type} axes")
                raise
    print("checked", len(NAMES))
