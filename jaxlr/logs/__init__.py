"""The logs of finished runs: read their rates, compare them with a recipe, or find their schedule."""

from jaxlr.logs.candidates import Candidate
from jaxlr.logs.fitting import Fit, fit
from jaxlr.logs.verification import Verification, verify


__all__ = ["Candidate", "Fit", "Verification", "fit", "verify"]
