"""A faithful local stand-in for the Messages API: demo, tests, benchmarks, fault injection."""

from standin.script.scenario import Call, Fault, Scenario, Step
from standin.script.scenario_file import load_scenario, parse_scenario, shipped_scenario, shipped_scenarios
from standin.server.app import StandIn
from standin.server.request_log import RequestRecord
from standin.server.server import run_forever, serve

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
