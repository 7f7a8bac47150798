"""Gradient clipping with torch's digits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_value


_EPS = 1e-6  # torch adds it to the norm


def clip_grad_norm(max_norm: ArrayLike, norm_type: float = 2.0) -> optax.GradientTransformation:
    r"""Clip the norm of all gradients together, as torch's `clip_grad_norm_`.

    $$g \leftarrow g \, \min\left(1, \frac{c}{\lVert g \rVert_p + 10^{-6}}\right)$$

    with $c$ = `max_norm`, $p$ = `norm_type` and $\lVert g \rVert_p$
    the norm of all gradients as one vector.

    Chain it before the optimizer. `optax.clip_by_global_norm` lacks the 1e-6, and its result is larger by
    that part of the norm. Torch's `clip_grad_value_(params, value)` is `optax.clip(value)`.

    The norm is computed in float32 or wider. If it is NaN, all gradients become NaN, as in torch. An
    infinite norm turns finite gradients into 0 and infinite ones into NaN.

    Args:
        max_norm: largest norm of the gradients, a finite number >= 0; may be traced.
        norm_type: order of the norm, above 0, or `float("inf")` for the largest absolute value.

    Returns:
        A transformation without a state.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of its range.

    Example:
        >>> tx = optax.chain(clip_grad_norm(1.0), optax.sgd(0.1))
        >>> gradients = {"kernel": jnp.array([3.0, 0.0]), "bias": jnp.array([4.0])}
        >>> updates, _ = tx.update(gradients, tx.init(gradients))
        >>> print(updates["kernel"], updates["bias"])
        [-0.05999999 -0.        ] [-0.07999998]

    Reference: `torch.nn.utils.clip_grad_norm_`.
    """
    max_norm = check_value("max_norm", max_norm)
    order = np.inf if norm_type == np.inf else check_value("norm_type", norm_type, positive=True)

    def clip(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        leaves = [jnp.ravel(_widened(leaf)) for leaf in jax.tree.leaves(updates)]
        # A norm of norms needs no copy of all gradients.
        norms = jnp.stack([jnp.linalg.norm(leaf, order) for leaf in leaves if leaf.size] or [jnp.zeros(())])
        factor = jnp.minimum(max_norm / (jnp.linalg.norm(norms, order) + _EPS), 1.0)
        return jax.tree.map(lambda leaf: (_widened(leaf) * factor).astype(leaf.dtype), updates)

    return optax.stateless(clip)


def _widened(leaf: jax.Array) -> jax.Array:
    return leaf.astype(jnp.promote_types(leaf.dtype, np.float32))
