"""Run the command: python -m event_api_client."""

from event_api_client.cli import main

main()
