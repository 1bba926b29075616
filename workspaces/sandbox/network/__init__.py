"""The open network of a command: a proxy outside the sandbox, a forwarder inside, and the allowed destinations."""
