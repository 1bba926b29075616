"""A faithful local stand-in for the Messages API: demo, tests, benchmarks, fault injection."""
