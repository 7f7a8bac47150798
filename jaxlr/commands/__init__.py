"""The commands that look at a recipe without training by it: a module each, its flags and what it does."""
