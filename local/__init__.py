"""Runs the stack on this machine: `make run`, `make key`, and the HTTP tests."""
