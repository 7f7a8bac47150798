"""Pure functions from an epoch (or step) to a learning rate."""
