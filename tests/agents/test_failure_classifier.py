"""Failures as tools really print them, and the class each belongs to."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.failure_classifier import SUGGESTIONS, FailureClass, classify_failure
from baton.text.redaction import MASK
from tests.support.growth import assert_linear

PSYCOPG = """\
Traceback (most recent call last):
  File "/workspace/orders/db.py", line 14, in connect
    return psycopg.connect(settings.database_url)
psycopg.OperationalError: connection failed: connection to server at "127.0.0.1", port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?
"""
PSYCOPG_AUTH = """\
sqlalchemy.exc.OperationalError: (psycopg2.OperationalError) connection to server at "db" (10.0.0.2), port 5432 \
failed: FATAL:  password authentication failed for user "app"
(Background on this error at: https://sqlalche.me/e/20/e3q8)
"""
PRISMA_P1001 = """\
Error: P1001: Can't reach database server at `localhost:5432`

Please make sure your database server is running at `localhost:5432`.
"""
PRISMA_CLIENT = """\
PrismaClientInitializationError: Authentication failed against database server, the provided database credentials for
`app` are not valid.
"""
PRISMA_PASSWORD = """\
Authentication failed against the database server, the provided database credentials for `app` are not valid
"""
PRISMA_NO_DATABASE = "Database `nowhere` does not exist on the database server"
NODE_PG = (
    "Error: connect ECONNREFUSED 127.0.0.1:5432\n    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16)"
)
MYSQL = (
    "(pymysql.err.OperationalError) (2003, \"Can't connect to MySQL server on 'db' ([Errno 111] Connection refused)\")"
)
MONGO = "MongoServerSelectionError: connect ECONNREFUSED ::1:27017"
REDIS = "redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused."
DJANGO_DATABASE = (
    'django.db.utils.OperationalError: connection to server on socket "/run/x" failed: No such file or directory'
)
ASYNCPG = 'asyncpg.exceptions.InvalidPasswordError: password authentication failed for user "app"'
PRISMA_P3018 = """\
Error: P3018

A migration failed to apply. New migrations cannot be applied before the error is recovered from.
Migration name: 20261101_orders
Database error code: 42703
"""
PRISMA_DRIFT = "Drift detected: Your database schema is not in sync with your migration history."
PRISMA_UNIQUE = "Unique constraint failed on the fields: (`email`)\n  code: 'P2002',"
PRISMA_NO_TABLE = "The table `public.Order` does not exist in the current database."
PRISMA_NO_COLUMN = "The column `Order.page` does not exist in the current database."
UNDEFINED = """\
sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "orders" does not exist
LINE 1: SELECT orders.id FROM orders
"""
UNIQUE = 'django.db.utils.IntegrityError: duplicate key value violates unique constraint "orders_number_key"'
SQLITE = "sqlite3.OperationalError: no such column: orders.page"
DJANGO_UNAPPLIED = (
    "You have 3 unapplied migration(s). Your project may not work properly until you apply the migrations"
)
ALEMBIC_BEHIND = "ERROR [alembic.util.messaging] Target database is not up to date."
ALEMBIC_HEADS = """\
ERROR [alembic.util.messaging] Multiple head revisions are present for given argument 'head'; please specify a specific
target revision, '<branchname>@head' to narrow to a specific head, or 'heads' for all heads
"""
ALEMBIC_LOST = "alembic.util.exc.CommandError: Can't locate revision identified by 'a1b2c3'"
DJANGO_LEAVES = """\
CommandError: Conflicting migrations detected; multiple leaf nodes in the migration graph: (0004_a, 0004_b in orders).
To fix them run 'python manage.py makemigrations --merge'
"""
DJANGO_HISTORY = """\
django.db.migrations.exceptions.InconsistentMigrationHistory: Migration admin.0001_initial is applied before its
dependency users.0001_initial on database 'default'.
"""
PRISMA_P3008 = "Error: P3008\nThe migration `2026_a` is already recorded as applied in the database."
PRISMA_P3009 = (
    "Error: P3009\nmigrate found failed migrations in the target database, new migrations will not be applied."
)
KNEX = "Error: The migration directory is corrupt, the following files are missing: 2026_orders.js"
REQUESTS = """\
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.example.org', port=443): Max retries exceeded with \
url: /v1/rates (Caused by NewConnectionError(': Failed to establish a new connection: [Errno 111] Connection refused'))
"""
REQUESTS_429 = "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://api.example.org/v1"
HTTPX_TIMEOUT = "httpx.ReadTimeout: The read operation timed out"
HTTPX_STATUS = "httpx.HTTPStatusError: Server error '503 Service Unavailable' for url 'https://api.example.org/'"
HTTPX_AUTH = "httpx.HTTPStatusError: Client error '401 Unauthorized' for url 'https://api.example.org/'"
AXIOS = "AxiosError: Request failed with status code 502\n    at settle (node_modules/axios/lib/core/settle.js:19:12)"
AXIOS_TIMEOUT = "AxiosError: timeout of 5000ms exceeded"
AXIOS_REFUSED = "AxiosError: connect ECONNREFUSED 127.0.0.1:8080"
FETCH = "TypeError: fetch failed\n  [cause]: Error: getaddrinfo ENOTFOUND api.example.org"
ASSERTION = """\
    def test_last_page() -> None:
>       assert page(3) == [7]
E       assert [] == [7]
FAILED tests/test_pagination.py::test_last_page - assert [] == [7]
1 failed, 12 passed in 0.34s
"""
SYNTAX = "SyntaxError: invalid syntax (api.py, line 3)"
NPM = 'npm error Missing script: "test"'

CASES = {
    FailureClass.DATABASE: [PSYCOPG, PSYCOPG_AUTH, PRISMA_P1001, PRISMA_CLIENT, NODE_PG, MYSQL, MONGO, REDIS,
                            DJANGO_DATABASE, ASYNCPG, PRISMA_PASSWORD, PRISMA_NO_DATABASE],
    FailureClass.ORM: [PRISMA_P3018, PRISMA_DRIFT, PRISMA_UNIQUE, UNDEFINED, UNIQUE, SQLITE, DJANGO_UNAPPLIED,
                       ALEMBIC_BEHIND, PRISMA_NO_TABLE, PRISMA_NO_COLUMN],
    FailureClass.MIGRATION_CONFLICT: [ALEMBIC_HEADS, ALEMBIC_LOST, DJANGO_LEAVES, DJANGO_HISTORY, PRISMA_P3008,
                                      PRISMA_P3009, KNEX],
    FailureClass.API: [REQUESTS, REQUESTS_429, HTTPX_TIMEOUT, HTTPX_STATUS, HTTPX_AUTH, AXIOS, AXIOS_TIMEOUT,
                       AXIOS_REFUSED, FETCH],
    FailureClass.UNKNOWN: [ASSERTION, SYNTAX, NPM, "", "12 passed in 0.1s", "HTTP/1.1 200 OK"],
}  # fmt: skip


OUTPUTS = {
    "database-connection": FailureClass.DATABASE,
    "orm-or-migration": FailureClass.ORM,
    "migration-conflict": FailureClass.MIGRATION_CONFLICT,
    "api-dependency": FailureClass.API,
}
CAPTURED = sorted(Path(__file__).parent.glob("outputs/*/*.txt"))
"""Whole outputs, captured from PostgreSQL 15, psycopg 3.3, asyncpg 0.32, SQLAlchemy 2.1, Alembic 1.20, Django 5.2,
PyMySQL 1.2, redis 8.1, PyMongo 4.20, requests 2.34, httpx 0.28, aiohttp 3.14, curl 7.88, Node.js 20, the client of
Prisma 7.10, and the command line of Prisma 6.19 with its schema engine in WebAssembly, which prints some errors without
their code. Paths were made neutral, ports of databases the usual ones, and the lines of code between the frames left
out."""


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_captured_outputs_are_classified(path: Path) -> None:
    diagnosis = classify_failure(path.read_text())
    assert diagnosis.kind is OUTPUTS[path.parent.name]
    assert diagnosis.symptoms
    assert {found.parent.name for found in CAPTURED} == OUTPUTS.keys()


@pytest.mark.parametrize(("kind", "output"), [(kind, output) for kind, outputs in CASES.items() for output in outputs])
def test_real_outputs_are_classified(kind: FailureClass, output: str) -> None:
    diagnosis = classify_failure(output)
    assert diagnosis.kind == kind
    assert diagnosis.suggestions == SUGGESTIONS[kind]
    assert bool(diagnosis.symptoms) == (kind is not FailureClass.UNKNOWN)


def test_the_names_are_those_of_the_specification() -> None:
    assert {kind.value for kind in FailureClass} == {
        "database connection",
        "ORM or migration error",
        "API dependency failure",
        "migration conflict",
        "unknown",
    }


def test_the_suggestions_carry_the_figures() -> None:
    text = " ".join(SUGGESTIONS[FailureClass.API])
    assert "5 s" in text
    assert "2 s on HTTP 429" in text
    assert "`.env`" in " ".join(SUGGESTIONS[FailureClass.DATABASE])


def test_symptoms_are_masked_bounded_and_few() -> None:
    line = (
        'psycopg.OperationalError: connection to server at "db" failed: postgres://app:hunter22@db/orders '
        + "x" * 9_000
    )
    diagnosis = classify_failure("\n".join(f"{number} {line}" for number in range(50)))
    assert len(diagnosis.symptoms) == 3
    assert all(len(symptom) <= 300 and MASK in symptom for symptom in diagnosis.symptoms)
    assert "hunter22" not in str(diagnosis)


def test_a_migration_conflict_wins_over_what_follows_from_it() -> None:
    assert classify_failure(UNDEFINED + DJANGO_LEAVES + REQUESTS).kind == FailureClass.MIGRATION_CONFLICT
    assert classify_failure(REQUESTS + PSYCOPG).kind == FailureClass.DATABASE


@pytest.mark.parametrize(
    "piece", ["migration ", "postgres ", 'database "', "connection to server at ", ":5432 ", "psycopg.a"]
)
def test_the_time_for_long_outputs_grows_with_their_length(piece: str) -> None:
    assert_linear(lambda words: classify_failure((piece * words + "\n") * 20), 300, 600)
    assert_linear(lambda lines: classify_failure((piece * 30 + "\n") * lines), 100, 200)


@settings(deadline=None)
@given(st.text(alphabet=st.characters()))
def test_nothing_raises(output: str) -> None:
    classify_failure(output)
