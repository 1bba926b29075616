"""The kernel: words and rules that every room shares. It knows no other, starts no process, opens no connection."""

__version__ = "0.1.0"
