"""The composition root: settings become clients, clients become a worker. Also the embedded server."""
