"""`make smoke`."""
