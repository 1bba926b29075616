"""Helpers without a domain that every room may import: file system durability, waiting, locks."""
