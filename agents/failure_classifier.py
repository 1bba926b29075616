"""The class of a failure, from a tool's output or a test log, with suggestions. A heuristic, never a verdict."""

import re
from dataclasses import dataclass
from enum import StrEnum

from baton.text.redaction import Redactor

_MAX_OUTPUT = 200_000
_MAX_LINE = 2_000
_MAX_SYMPTOMS = 3
_MAX_SYMPTOM = 300


class FailureClass(StrEnum):
    """The known classes of failures; error records and reports contain the value."""

    MIGRATION_CONFLICT = "migration conflict"
    ORM = "ORM or migration error"
    DATABASE = "database connection"
    API = "API dependency failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Diagnosis:
    """The class of a failure, the lines that indicate it (secrets masked), and suggestions."""

    kind: FailureClass
    symptoms: list[str]
    suggestions: list[str]


SUGGESTIONS: dict[FailureClass, list[str]] = {
    FailureClass.DATABASE: [
        "Check the form of the connection string (scheme, host, port, database name).",
        "Check that the database server runs and accepts connections from here.",
        "Check the credentials in `.env`.",
    ],
    FailureClass.ORM: [
        "Look for conflicting migrations.",
        "Compare the schema of the models with that of the database.",
        "Roll back the failed migration.",
        "In a development database: reset it, or write a new migration.",
    ],
    FailureClass.API: [
        "Set a time-out of 5 s on the call.",
        "Retry with backoff, after 2 s on HTTP 429.",
        "Put a circuit breaker around the call.",
        "Serve a cached answer while the service is unreachable.",
    ],
    FailureClass.MIGRATION_CONFLICT: [
        "Merge the two migrations.",
        "Make the migrations sequential.",
        "Write a compensating migration.",
    ],
    FailureClass.UNKNOWN: [],
}
"""Remedies by class: agents try them first, and reports suggest them afterwards."""

_DATABASE_WORDS = (
    r"(?:postgres\w*|psycopg\w*|asyncpg|mysql\w*|mariadb|mongo\w*|redis|database|sqlalchemy|prisma|\bdb\b)"
)
_DATABASE_PORTS = r"(?:5432|5433|3306|27017|6379|1433|26257)"

# The most specific class first: a conflict of migrations also looks like an ORM error, and a database that cannot be
# reached also looks like a failed call. Codes `P....` are Prisma's:
# https://www.prisma.io/docs/orm/reference/error-reference
_SYMPTOMS_OF: dict[FailureClass, tuple[str, ...]] = {
    FailureClass.MIGRATION_CONFLICT: (
        # Alembic
        r"multiple head revisions|multiple heads are present|overlaps with other requested",
        r"can't locate revision identified by",
        # Django
        r"conflicting migrations detected|multiple leaf nodes in the migration graph",
        r"InconsistentMigrationHistory|is applied before its dependency",
        # Prisma
        r"\bP300[589]\b|already recorded as applied|found failed migrations in the target database",
        # Rails, Flyway, Knex
        r"DuplicateMigration(?:Name|Version)Error|found more than one migration with version",
        r"migration directory is corrupt",
        r"\bmigration\b.{0,80}already (?:been )?applied|\bmigration\b.{0,80}rollback (?:is )?(?:needed|required)",
    ),
    FailureClass.DATABASE: (
        r"\bP10(?:00|01|02|03|08|10|11|17)\b",
        r"can't reach database server|authentication failed against (?:the )?database server",
        # PostgreSQL and its drivers
        r"(?:password|peer|ident|SCRAM) authentication failed|no pg_hba\.conf entry",
        r"connection to server (?:at|on) .{0,200}failed|could not connect to server",
        r"failed to resolve host '|could not translate host name",
        r"database [\"`][^\"`]{1,80}[\"`] does not exist|role \"[^\"]{1,80}\" does not exist",
        r"the database system is (?:starting up|shutting down)",
        r"too many clients already|remaining connection slots",
        r"(?:psycopg2?|asyncpg|sqlalchemy)\.\S{0,60}(?:Operational|Interface|ConnectionDoesNotExist)Error\b.{0,200}connect",
        r"psycopg2?\.\S{0,60}(?:ConnectionTimeout|PoolTimeout)\b|QueuePool limit of size",
        # MySQL, MongoDB, SQLite, PDO
        r"can't connect to (?:local )?(?:MySQL|MariaDB) server|lost connection to MySQL|access denied for user '",
        r"MongoServerSelectionError|ServerSelectionTimeoutError|MongoNetworkError",
        r"unable to open database file|SQLSTATE\[?(?:08\w{3}|28\w{3}|HY000\] \[(?:2002|1045))",
        rf"(?:ECONNREFUSED|connection refused|ETIMEDOUT).{{0,80}}:{_DATABASE_PORTS}\b",
        rf"connect call failed \(.{{0,80}}, {_DATABASE_PORTS}\b",
        rf":{_DATABASE_PORTS}\b.{{0,80}}\brefused|\bport {_DATABASE_PORTS}\b.{{0,80}}\b(?:refused|failed|timed out)",
        rf"{_DATABASE_WORDS}.{{0,80}}connection (?:refused|timed? ?out|reset)",
    ),
    FailureClass.ORM: (
        r"\bP(?:20(?:02|03|04|11|12|21|22)|30(?:0[0-467]|1[0-9]|2[0-4]))\b",
        r"\bmigrations? .{0,80}failed|failed to apply .{0,40}migration|error (?:running|applying) migration",
        r"drift detected|schema drift|schema mismatch|target database is not up to date",
        r"your database schema is not (?:up to date|in sync)|you have \d{1,5} unapplied migration",
        # Prisma without a code, as its schema engine prints it in WebAssembly
        r"migrations? ha(?:s|ve) not yet been applied|schema_connector::apply_migration",
        r"error querying the database: (?:db error: )?ERROR:",
        r"(?:relation|column|table|type) [\"`]?[\w.]{1,80}[\"`]? (?:of relation \S{1,80} )?"
        r"(?:does not exist|already exists)",
        r"no such (?:table|column)|unknown column '|PendingMigrationError|doesn't have a default value",
        r"violates (?:[\w-]+ ){0,3}constraint|duplicate entry '",
        r"(?:UNIQUE|FOREIGN KEY|NOT NULL|CHECK) constraint failed",
        r"\b(?:Undefined|Duplicate)(?:Table|Column)\b|\b(?:Unique|ForeignKey|NotNull|Check)Violation\b",
        r"\b(?:IntegrityError|ProgrammingError)\b",
    ),
    FailureClass.API: (
        r"\bToo Many Requests\b|rate limit(?:ed| exceeded| reached)",
        r"request failed with status code [345]\d\d|(?:client|server|redirect) (?:error|response) '[345]\d\d",
        r"\b[45]\d\d (?:client|server) error:|HTTP Error [345]\d\d",
        r"\b(?:requests|httpx2?|aiohttp|urllib3?)\.\S{0,60}(?:Timeout|Error|ErrorStatus)\b",
        r"\b(?:ReadTimeout|ConnectTimeout|PoolTimeout)\b|\b(?:NewConnection|MaxRetry|ReadTimeout|ConnectTimeout)Error\b",
        r"HTTPS?ConnectionPool\(|AxiosError\b|timeout of \d{1,7}ms exceeded|\bfetch failed\b|UND_ERR_\w{1,40}",
        r"HTTP(?:/\d(?:\.\d)?)? (?:401|403|408|429|5\d\d)\b|unexpected status(?: code)?:? [345]\d\d",
        # Exit codes of curl for faults of the server or network: https://curl.se/libcurl/c/libcurl-errors.html
        r"\bcurl: \((?:5|6|7|22|28|35|52|56|60)\)|\bConnectionRefusedError\b",
        r"\b(?:ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|getaddrinfo)\b|socket hang up",
        r"\b(?:401 Unauthorized|403 Forbidden|502 Bad Gateway|503 Service Unavailable|504 Gateway Time-?out)\b",
    ),
}
_PATTERNS = {
    kind: [re.compile(pattern, re.IGNORECASE) for pattern in patterns] for kind, patterns in _SYMPTOMS_OF.items()
}


def classify_failure(output: str) -> Diagnosis:
    """Classify the end of a tool's output or of a test log; `unknown` without a known symptom. Never raises."""
    # Logs may have very long lines; the patterns get pieces of bounded length.
    lines = [line[:_MAX_LINE] for line in output[-_MAX_OUTPUT:].splitlines()]
    redact = Redactor()
    for kind, patterns in _PATTERNS.items():
        hits = [line for line in lines if any(pattern.search(line) for pattern in patterns)]
        if hits:
            shown = dict.fromkeys(redact(" ".join(line.split()))[:_MAX_SYMPTOM] for line in hits)
            return Diagnosis(kind, list(shown)[-_MAX_SYMPTOMS:], list(SUGGESTIONS[kind]))
    return Diagnosis(FailureClass.UNKNOWN, [], [])
