"""GitHub's webhook: a pure core that reads a request and says what it means, and a thin HTTP server around it."""
