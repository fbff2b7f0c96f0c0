"""Commands that run from a checkout against a deployed stack, or make a file of the repository."""
