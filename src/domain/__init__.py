"""The rules of the contract, without DynamoDB, HTTP and Lambda."""
