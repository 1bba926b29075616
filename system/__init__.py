"""Helpers without a domain that every room may import: durability, directory walks, waits, ports, patterns.

1. It imports the standard library only, never another room of Baton.
2. A helper exists here once: a room that needs a variant extends it instead of copying it.
3. Files survive a power cut: a function that promises durability returns after the disk has confirmed the write.
4. Walks and matches take linear time and bounded memory, because trees, paths and patterns come from strangers.
5. Links are never followed, and a directory that was moved meanwhile is an error instead of another directory.
6. Work that cannot be stopped runs to its end before its waiter goes on, cancelled or not.
"""
