"""GitHub's webhook: a pure core that reads a request and judges it, and a thin HTTP server around the core.

The core (`parse_request`, `events`, `payloads`) has no input or output, and no request makes it raise.
A request without a valid signature costs no memory and learns only that it is not signed.
Text of others is cut, cleaned and frozen here, once; later edits on GitHub change no run.
A delivery starts one workflow by its own id, so that a redelivery is a no-op and the webhook keeps no state.
The room may import `workflows`, `baton` and `system`, and never `activities`: a delivery is carried out by a worker.
The repository's address and the permissions of a sender come from the settings and from GitHub, never from a payload.
"""
