"""The devices, processes and signals of a run."""
