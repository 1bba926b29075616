"""The open network of a sandboxed command: a proxy with an allow-list, and its forwarder."""
