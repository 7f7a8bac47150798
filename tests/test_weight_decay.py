"""The mask of docs/optimizers.md decays the parameters that torch's frameworks decay.

`scripts/recording/checkpoints.py` recorded what transformers and timm decay, in a model of such modules.
"""

import doctest
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import jaxlr


TESTS = Path(__file__).parent
SECTION = (
    (TESTS.parent / "docs/optimizers.md").read_text().split("\n## Weight decay of some parameters\n")[1]
)
DECAYED = json.loads((TESTS / "checkpoints/decayed.json").read_text())
FLAX = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def mask(params: Any, *, names: str = "", by_shape: bool = True) -> Any:
    """Call the mask of the page, with the changes that its table states."""
    code = "".join(
        example.source for example in doctest.DocTestParser().get_examples(SECTION.split("\n## ")[0])
    )
    code = code.replace('{"bias", "scale"}', '{"bias", "scale", ' + names + "}")
    code = code if by_shape else code.replace("leaf.ndim > 1 and", "")
    scope: dict[str, Any] = {"jnp": jnp, "jaxlr": jaxlr}
    exec(code, scope)
    return scope["mask"](params)


def linen() -> Any:
    nn: Any = pytest.importorskip("flax.linen")

    class Modules(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = x + nn.Embed(5, 4, name="embed")(jnp.zeros((1, 3, 3), int))
            x = nn.BatchNorm(use_running_average=True, name="bn")(nn.Conv(4, (3, 3), name="conv")(x))
            x = nn.LayerNorm(name="norm")(x)
            self.param("gamma", nn.initializers.ones, (4,))
            self.param("pos_embed", nn.initializers.zeros, (1, 3, 4))
            return nn.Dense(2, name="head")(nn.DenseGeneral((2, 2), name="query")(x).reshape(1, 3, 3, 4))

    return jax.eval_shape(Modules().init, jax.random.key(0), jnp.ones((1, 3, 3, 4)))["params"]


def nnx() -> Any:
    nn: Any = pytest.importorskip("flax.nnx")

    def modules() -> Any:
        rngs = nn.Rngs(0)
        model = nn.Dict(
            embed=nn.Embed(5, 4, rngs=rngs),
            conv=nn.Conv(4, 4, (3, 3), rngs=rngs),
            norm=nn.LayerNorm(4, rngs=rngs),
            bn=nn.BatchNorm(4, rngs=rngs),
            query=nn.LinearGeneral(4, (2, 2), rngs=rngs),
            head=nn.Linear(4, 2, rngs=rngs),
            gamma=nn.Param(jnp.ones(4)),
            pos_embed=nn.Param(jnp.zeros((1, 3, 4))),
        )
        return nn.state(model, nn.Param)

    return jax.eval_shape(modules)


def equinox() -> Any:
    eqx: Any = pytest.importorskip("equinox")
    nn = eqx.nn

    def modules(key: Any) -> Any:
        model = {
            "embed": nn.Embedding(5, 4, key=key),
            "conv": nn.Conv2d(4, 4, 3, key=key),
            "norm": nn.LayerNorm(4),
            "bn": nn.GroupNorm(2, 4),
            "query": nn.Linear(4, 4, key=key),
            "head": nn.Linear(4, 2, key=key),
            "gamma": jnp.ones(4),
            "pos_embed": jnp.zeros((1, 3, 4)),
        }
        return eqx.filter(model, eqx.is_array)

    return jax.eval_shape(modules, jax.random.key(0))


def decayed(found: Any) -> set[str]:
    """Return torch's names of the parameters that a mask decays."""
    names = set()
    for path, decays in jax.tree_util.tree_leaves_with_path(found):
        words = jax.tree_util.keystr(path).replace("]", "").replace("'", "").replace(".", "[").split("[")
        words = [word for word in words if word and word != "value"]
        if decays:
            names.add(".".join([*words[:-1], FLAX.get(words[-1], words[-1])]))
    return names


@pytest.mark.parametrize("params", [linen, nnx, equinox])
def test_the_mask_decays_what_timm_and_nanogpt_decay(params):
    params = params()
    assert decayed(mask(params, names='"pos_embed"')) == {*DECAYED["timm"]}
    assert decayed(mask(params)) == {*DECAYED["timm"], "pos_embed"}  # nanoGPT goes by the axes alone


@pytest.mark.parametrize("params", [linen, nnx])
def test_the_mask_decays_what_the_trainer_decays(params):
    """The Trainer decays the weight of a BatchNorm with the name bn, as the page says."""
    found = decayed(mask(params(), by_shape=False))
    assert found == {*DECAYED["huggingface"]} - {"bn.weight"}
