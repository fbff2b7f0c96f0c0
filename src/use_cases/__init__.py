"""The use cases: one function for each route or scheduled job."""
