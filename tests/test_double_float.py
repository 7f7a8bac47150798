"""Tests of double floats against exact rational arithmetic, with operands constant to XLA or not."""

import itertools
import operator
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlr._double_float import DoubleFloat, as_double_float


OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
compiled = {name: jax.jit(operation) for name, operation in OPERATIONS.items()}


def exact(value: DoubleFloat) -> Fraction:
    return Fraction(float(value.high)) + Fraction(float(value.low))


def assert_exact(result: DoubleFloat, operation, left: DoubleFloat, right: DoubleFloat) -> None:
    """Check a result to 2**-44 of the larger operand in sums, and of the exact result in products."""
    expected = operation(exact(left), exact(right))
    size = max(abs(exact(left)), abs(exact(right)))
    scale = size if operation in (operator.add, operator.sub) else abs(expected)
    assert abs(exact(result) - expected) <= scale * Fraction(2) ** -44


numbers = st.floats(1e-9, 1e9).flatmap(lambda x: st.sampled_from([x, -x]))


@given(left=numbers, right=numbers)
@settings(deadline=None, max_examples=200)
def test_every_operation_keeps_44_bits(left, right):
    left, right = as_double_float(left), as_double_float(right)
    for name, operation in OPERATIONS.items():
        assert_exact(compiled[name](left, right), operation, left, right)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("structure", ["left constant", "right constant", "both", "vmap", "scan", "chain"])
def test_no_digit_is_lost_if_an_operand_is_a_constant_to_xla(name, structure):
    operation = OPERATIONS[name]
    values = [1.3243905305862427, -1e-4, 1.0]
    for a, b in itertools.permutations(values, 2):
        left, right = as_double_float(a), as_double_float(b)
        match structure:
            case "left constant":
                result = jax.jit(lambda y, left=left: operation(left, y))(right)
            case "right constant":
                result = jax.jit(lambda x, right=right: operation(x, right))(left)
            case "both":
                result = jax.jit(lambda a=left, b=right: operation(a, b))()
            case "vmap":
                pairs = jax.tree.map(lambda x: x[None], right)
                batch = jax.jit(jax.vmap(lambda y, left=left: operation(left, y)))(pairs)
                result = jax.tree.map(lambda x: x[0], batch)
            case "scan":
                body = lambda carry, _, right=right: (operation(carry, right), None)  # noqa: E731
                result = jax.lax.scan(body, left, None, length=1)[0]
            case _:
                one = as_double_float(1.0)
                back = jax.jit(lambda x, b=right, one=one: operation(x * one, b))
                result = back(left)
        assert_exact(result, operation, left, right)


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
def test_infinities_and_nan_behave_as_in_float64(special):
    value = as_double_float(special)
    for other in (1.0, -2.5):
        for name, operation in OPERATIONS.items():
            result = compiled[name](value, as_double_float(other))
            np.testing.assert_equal(float(result.high), operation(special, other))
            assert float(result.low) == 0
        assert bool(value < as_double_float(other)) == (special < other)
        assert bool(value > as_double_float(other)) == (special > other)


def test_numbers_beyond_float32_overflow_without_a_warning():
    assert float(as_double_float(1e39).high) == np.inf
    assert float(as_double_float(1e39).low) == 0
    assert jnp.isnan(as_double_float(float("nan")).high)


def test_an_array_divided_by_a_constant_keeps_44_bits():
    divisor = as_double_float(1e6)
    highs, lows = jax.jit(lambda x: as_double_float(x) / divisor)(jnp.arange(1, 1000, dtype=np.float32))
    for number, quotient in enumerate(zip(highs.tolist(), lows.tolist(), strict=True), start=1):
        assert abs(sum(map(Fraction, quotient)) * 10**6 - number) <= number * Fraction(2) ** -44


def test_comparisons_and_abs_use_the_low_halves():
    small, large = as_double_float(-0.1 - 1e-12), as_double_float(-0.1)
    assert bool(small < large)
    assert bool(large > small)
    assert not bool(large < small)
    magnitude = abs(small)
    assert_close(np.float64(magnitude.high) + np.float64(magnitude.low), 0.1 + 1e-12, 2.0**-44)
