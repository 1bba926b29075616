"""A local stand-in for the Messages API, for the demo, tests, benchmarks and fault injection.

It holds the models of a scenario (`script`), the API's rules (`api`), and the HTTP server that plays one (`server`). It
may import `baton` and `system`, and no other package of Baton: the cost of a request is computed independently of the
engine's ledger. It checks requests by the API's rules, and refuses them with the API's statuses and messages. The same
request of the same caller gets the same answer with the same ids, and each run uses up the steps of a scenario for
itself. A fault breaks the connection itself, so that the SDK sees real resets, stalls and cut streams. The request log
masks credentials.
"""

from standin.script.scenario import Fault, Scenario, ScriptedCall, ScriptedStep
from standin.script.scenario_file import load_scenario, parse_scenario, shipped_scenario, shipped_scenarios
from standin.server.app import StandIn
from standin.server.request_log import RequestRecord
from standin.server.server import run_forever, serve_scenario

__all__ = [
    "Fault",
    "RequestRecord",
    "Scenario",
    "ScriptedCall",
    "ScriptedStep",
    "StandIn",
    "load_scenario",
    "parse_scenario",
    "run_forever",
    "serve_scenario",
    "shipped_scenario",
    "shipped_scenarios",
]
