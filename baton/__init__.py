"""The kernel: words and rules that every room shares. It knows no other room and does no I/O."""

__version__ = "0.1.0"
