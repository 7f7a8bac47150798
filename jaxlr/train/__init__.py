"""Train a classifier under a schedule: the tutorial's run as a program."""
