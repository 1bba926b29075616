"""The records that people and programs see: requests, run documents, decisions, evidence, deliveries of GitHub."""
