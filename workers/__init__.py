"""The composition root: settings become clients, clients become workers; and the embedded Temporal server.

This room reads the settings once and passes values on: no room below reads an environment variable.
It may import every room but `interfaces`, and no other room but `interfaces` imports it.
A connection encrypts and masks payloads before they leave the process, also those of failures.
A worker serves the whole service (`baton worker`, `baton up`) or a single run (`run_queues`), and never GitHub's queues
without a credential for GitHub.
The embedded server of a home is started once, by its supervisor, and stops when no process uses it.
The supervisor and the private network import no third-party package, so that they start fast and stay small.
"""
