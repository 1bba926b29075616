"""A faithful local stand-in for the Messages API: demo, tests, benchmarks, fault injection."""

from standin.app import StandIn
from standin.loading import load_scenario, parse_scenario, shipped_scenario, shipped_scenarios
from standin.records import RequestRecord
from standin.scenario import Call, Fault, Scenario, Step
from standin.server import run_forever, serve

__all__ = [
    "Call",
    "Fault",
    "RequestRecord",
    "Scenario",
    "StandIn",
    "Step",
    "load_scenario",
    "parse_scenario",
    "run_forever",
    "serve",
    "shipped_scenario",
    "shipped_scenarios",
]
