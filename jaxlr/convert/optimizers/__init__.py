"""Converters of torch's optimizers to Optax, with the update rules of torch."""
