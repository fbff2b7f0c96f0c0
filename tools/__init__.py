"""What runs from a checkout against a deployed stack, or makes a file of the repository."""
