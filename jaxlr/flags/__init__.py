"""The recipes and the errors of flags, for the commands and for the training."""
