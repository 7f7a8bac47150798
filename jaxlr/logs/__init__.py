"""The logs of finished runs: read their learning rates, and compare them with a recipe."""

from jaxlr.logs.verify import Verification, verify


__all__ = ["Verification", "verify"]
