from event_api_client.cli import main

main()
