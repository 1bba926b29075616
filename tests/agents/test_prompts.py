"""Every fact of the owner's specification stands in the prompts; each row names what must be findable."""

import pytest

from agents.reports import REPORTS, EscalationInput
from agents.roles.definition import DOCUMENTED_FIELDS
from agents.roles.loader import builtin_agents

FACTS = """\
routes: API routes and controllers | HTTP and RPC handlers
service layer: service layer | business logic | use cases | orchestration
repository layer: repository layer | data access | external services
database: schemas | migrations | seeders | configuration of the ORM
authentication: tokens | sessions | OAuth | authorization | permissions
validation: validation and sanitising | error handling
caching: caching | invalidation | TTL
files and queues: file handling and storage | transactions | message queues | background jobs | WebSockets |
    push
not in scope: UI components | frontend build tools belong to `frontend` | tests belong to `tester` | code review
    belongs to `reviewer`
enforced: The engine enforces this | with any tool | is put back
retries: two more attempts | two after the first try, after 1 s and then 2 s | logged with its full context and
    escalated
step 1: `state.json` under `errors`
step 2: blocking decision in `decisions.json` | architectural | database choice that does not fit
step 3: error type, what was attempted and suggested solutions | orchestrator gets a report
step 4: work that is not blocked goes on | other features and other endpoints
error record: `timestamp` | `agent` | `task` | `error` | `context` | file, operation | `recovery_attempted` |
    `resolution` | Mask credentials
database connection: database connection | cannot connect | connection timeout | authentication failed | `P1001`
    | form of the connection string | server runs | credentials in `.env`
ORM: ORM or migration error | migration failed | schema mismatch | constraint violation | schema drift | look
    for conflicting migrations | compare schema and database | roll back | development database may be reset |
    new migration
API dependency: API dependency failure | timeout | HTTP 429 | authentication error | non-2xx | timeout of 5 s |
    backoff after 2 s on 429 | circuit breaker | cached answer
migration conflict: migration conflict | already applied migration | rollback needed | merge the two |
    sequential | compensating migration
categories: 400 validation | 401 authentication | 403 authorization | 404 not found | 409 conflict | 429 rate
    limit | 500 server
response: one shape | code for programs | message for people | request id | nothing sensitive
logs: structured JSON | user, request id, correlation id | right level | never hold secrets
repositories: Repository | cache-aside | pagination | soft delete | query builders | batch operations | indexes
    | N+1 | pooling | versioned migrations | raw data | no business rules
services: Service | business rules | unit of work | transactions | specification | strategy | observer | command
    patterns | mail and audit | idempotent | optimistic or pessimistic locking | circuit breakers | timeouts
controllers: Controller | thin | validation, authentication, authorization, rate limiting, formatting |
    middleware | content negotiation | versioning | status codes | pagination | security headers | request size
injection: dependencies to constructors | custom error types map to HTTP codes
security: allow-lists to block-lists | strong, salted | rate of logins | lock out | random, expire | refreshed |
    permissions on every protected operation | least privilege | role-based | attribute-based | log denials
protection: TLS | encryption or hashing at rest | retention, export and deletion | CORS | security headers |
    CSRF | sign requests | keys rotatable
performance: read often and changes rarely | TTL by volatility | invalidate on update | layers and warming |
    indexes | eager loading | read replicas | denormalising | pooling | query plans
transport: compression | HTTP/2 or HTTP/3 | batching | asynchronous handling of long work | optimistic
    concurrency
queues: idempotent handlers | dead-letter queue | monitoring of depth | priorities | webhooks for results
detection: Technology detection comes first | language, framework, database, ORM or query builder, validation
    library, authentication and test framework | follow existing patterns
always: 1. follow existing patterns | 2. give proper errors and status codes | 3. validate every input | 4. keep
    repository -> service -> controller | 5. check authentication and authorization | 6. use transactions for
    multi-step operations | 7. cache | 8. log important operations for audit | 9. rate limit public endpoints
never: 10. trust client input | 11. expose sensitive data in errors or logs | 12. leave TODO comments | document
    the blocker | 13. modify frontend code (components, pages, styles) | 14. skip security
report: files created or modified | what was implemented | dependencies_added | architecture_decisions |
    security_considerations | performance_optimizations | needs_testing | api_documentation_updates
kinds of tests: unit tests (services alone) | integration tests (endpoints with a test database) | contract
    tests (request and response schemas) | performance tests (load on critical endpoints) | security tests
    (authentication, authorization, input validation)
"""
# One row per line: its name, then facts between bars; indented lines go on with the row before.
ROWS = dict(row.split(": ", 1) for row in FACTS.replace("\n    ", " ").splitlines())


def flat(text: str) -> str:
    return " ".join(text.replace("**", "").lower().split())


@pytest.mark.parametrize("row", list(ROWS))
def test_the_backend_knows_every_row(row: str) -> None:
    prompt = flat(builtin_agents()["backend"].definition.prompt)
    missing = [fact for fact in ROWS[row].split(" | ") if flat(fact) not in prompt]
    assert missing == []


def test_the_backend_describes_itself() -> None:
    description = builtin_agents()["backend"].definition.description
    for word in (
        "services",
        "repositories",
        "controllers",
        "APIs",
        "schemas",
        "authentication",
        "Never modifies frontend",
    ):
        assert word in description


@pytest.mark.parametrize("role", list(REPORTS))
def test_every_role_knows_its_tools_scope_gate_and_evidence(role: str) -> None:
    agent = builtin_agents()[role].definition
    prompt = flat(agent.prompt)
    for field in REPORTS[role].model_fields:
        assert f"`{field}`" in agent.prompt
    for field in set(EscalationInput.model_fields) - {"architectural"}:
        assert f"`{field}`" in agent.prompt
    for fact in (
        "`hand_off` once, alone",
        "`escalate`",
        "`architectural: ",
        "the engine",
        "evidence",
        "put back|change nothing",
    ):
        assert any(flat(choice) in prompt for choice in fact.split("|")), fact
    assert "runs the project's" in prompt or "ran the tests itself" in prompt
    assert agent.description
    assert set(agent.fields) <= set(DOCUMENTED_FIELDS)


def test_reviewers_and_testers_know_what_their_verdicts_mean() -> None:
    reviewer = flat(builtin_agents()["reviewer"].definition.prompt)
    assert "`request_changes` exactly when at least one finding is blocking" in reviewer
    assert "without evidence there is no finding" in reviewer
    tester = flat(builtin_agents()["tester"].definition.prompt)
    for kind in ("unit", "integration", "contract", "performance", "security"):
        assert f"- {kind}:" in tester
