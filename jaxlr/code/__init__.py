"""Python text, read as values and never run."""
