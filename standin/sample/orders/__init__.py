"""A small orders service: repository, service and HTTP layer."""
