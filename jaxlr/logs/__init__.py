"""The logs of finished runs: read their rates, compare them with a recipe, or find their schedule."""

from jaxlr.logs.fit import Fit, fit
from jaxlr.logs.verify import Verification, verify


__all__ = ["Fit", "Verification", "fit", "verify"]
