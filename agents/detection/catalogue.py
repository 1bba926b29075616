"""Well-known packages by ecosystem, and the frameworks, databases and test runners that they indicate."""

from collections.abc import Collection, Mapping
from typing import Literal

Kind = Literal["framework", "database", "orm", "validation", "authentication", "tests"]


class Catalogue:
    """Package names of one ecosystem with their labels, by kind; an earlier entry takes precedence."""

    def __init__(self, kinds: Mapping[Kind, Mapping[str, str]]) -> None:
        self._kinds = kinds

    def find(self, kind: Kind, names: Collection[str]) -> list[str]:
        """Return the labels of the packages, each once. A key that ends with `*` matches names by prefix."""
        found: dict[str, None] = {}
        for package, label in self._kinds.get(kind, {}).items():
            prefix = package.removesuffix("*")
            if package in names or (prefix != package and any(name.startswith(prefix) for name in names)):
                found[label] = None
        return list(found)


DATABASE_IMAGES = {
    "postgres": "PostgreSQL",
    "postgresql": "PostgreSQL",
    "postgis": "PostgreSQL",
    "pgvector": "PostgreSQL",
    "mysql": "MySQL",
    "mariadb": "MariaDB",
    "sqlite": "SQLite",
    "sqlserver": "SQL Server",
    "mongo": "MongoDB",
    "mongodb": "MongoDB",
    "redis": "Redis",
    "valkey": "Redis",
    "cockroachdb": "CockroachDB",
    "cockroach": "CockroachDB",
}
"""Names of container images and of Prisma's providers."""

PYTHON = Catalogue(
    {
        "framework": {
            "fastapi": "FastAPI",
            "django": "Django",
            "flask": "Flask",
            "litestar": "Litestar",
            "tornado": "Tornado",
            "aiohttp": "aiohttp",
            "starlette": "Starlette",
        },
        "database": {
            "psycopg*": "PostgreSQL",
            "asyncpg": "PostgreSQL",
            "pymysql": "MySQL",
            "mysqlclient": "MySQL",
            "aiomysql": "MySQL",
            "aiosqlite": "SQLite",
            "pymongo": "MongoDB",
            "motor": "MongoDB",
            "redis": "Redis",
        },
        "orm": {
            "sqlmodel": "SQLModel",
            "sqlalchemy": "SQLAlchemy",
            "flask-sqlalchemy": "SQLAlchemy",
            "django": "Django ORM",
            "tortoise-orm": "Tortoise ORM",
            "peewee": "Peewee",
            "beanie": "Beanie",
        },
        "validation": {
            "pydantic": "pydantic",
            "fastapi": "pydantic",
            "djangorestframework": "Django REST serializers",
            "marshmallow": "marshmallow",
            "msgspec": "msgspec",
            "jsonschema": "jsonschema",
        },
        "authentication": {
            "fastapi-users": "fastapi-users",
            "django-allauth": "django-allauth",
            "djangorestframework-simplejwt": "Simple JWT",
            "flask-login": "Flask-Login",
            "flask-jwt-extended": "Flask-JWT-Extended",
            "authlib": "Authlib",
            "pyjwt": "PyJWT",
            "python-jose": "python-jose",
            "passlib": "passlib",
            "argon2-cffi": "argon2",
            "bcrypt": "bcrypt",
        },
    }
)

NODE = Catalogue(
    {
        "framework": {
            "next": "Next.js",
            "nuxt": "Nuxt",
            "@nestjs/core": "NestJS",
            "fastify": "Fastify",
            "express": "Express",
            "hono": "Hono",
            "@angular/core": "Angular",
            "@sveltejs/kit": "SvelteKit",
            "svelte": "Svelte",
            "vue": "Vue",
            "react": "React",
        },
        "database": {
            "pg": "PostgreSQL",
            "postgres": "PostgreSQL",
            "mysql": "MySQL",
            "mysql2": "MySQL",
            "sqlite3": "SQLite",
            "better-sqlite3": "SQLite",
            "mongodb": "MongoDB",
            "mongoose": "MongoDB",
            "redis": "Redis",
            "ioredis": "Redis",
        },
        "orm": {
            "@prisma/client": "Prisma",
            "prisma": "Prisma",
            "drizzle-orm": "Drizzle",
            "typeorm": "TypeORM",
            "sequelize": "Sequelize",
            "@mikro-orm/core": "MikroORM",
            "mongoose": "Mongoose",
            "knex": "Knex",
            "kysely": "Kysely",
        },
        "validation": {
            "zod": "zod",
            "joi": "Joi",
            "valibot": "Valibot",
            "class-validator": "class-validator",
            "ajv": "Ajv",
            "express-validator": "express-validator",
        },
        "authentication": {
            "next-auth": "NextAuth",
            "better-auth": "Better Auth",
            "passport": "Passport",
            "jsonwebtoken": "jsonwebtoken",
            "jose": "jose",
            "@auth0/*": "Auth0",
            "@clerk/*": "Clerk",
            "express-session": "express-session",
            "bcrypt": "bcrypt",
            "argon2": "argon2",
        },
        "tests": {
            "vitest": "vitest",
            "jest": "jest",
            "mocha": "mocha",
            "@playwright/test": "Playwright",
            "cypress": "Cypress",
        },
    }
)

GO = Catalogue(
    {
        "framework": {
            "github.com/gin-gonic/gin": "Gin",
            "github.com/labstack/echo*": "Echo",
            "github.com/gofiber/fiber*": "Fiber",
            "github.com/go-chi/chi*": "chi",
            "github.com/gorilla/mux": "gorilla/mux",
        },
        "database": {
            "github.com/jackc/pgx*": "PostgreSQL",
            "github.com/lib/pq": "PostgreSQL",
            "github.com/go-sql-driver/mysql": "MySQL",
            "github.com/mattn/go-sqlite3": "SQLite",
            "modernc.org/sqlite": "SQLite",
            "go.mongodb.org/mongo-driver*": "MongoDB",
            "github.com/redis/go-redis*": "Redis",
        },
        "orm": {
            "gorm.io/gorm": "GORM",
            "entgo.io/ent": "ent",
            "github.com/uptrace/bun": "Bun",
            "github.com/jmoiron/sqlx": "sqlx",
            "github.com/masterminds/squirrel": "squirrel",
        },
        "validation": {"github.com/go-playground/validator*": "validator"},
        "authentication": {"github.com/golang-jwt/jwt*": "golang-jwt", "golang.org/x/oauth2": "oauth2"},
    }
)

RUST = Catalogue(
    {
        "framework": {"axum": "axum", "actix-web": "Actix Web", "rocket": "Rocket", "warp": "warp"},
        "database": {"tokio-postgres": "PostgreSQL", "rusqlite": "SQLite", "mongodb": "MongoDB", "redis": "Redis"},
        "orm": {"diesel": "Diesel", "sea-orm": "SeaORM", "sqlx": "SQLx"},
        "validation": {"validator": "validator", "garde": "garde"},
        "authentication": {"jsonwebtoken": "jsonwebtoken", "oauth2": "oauth2", "argon2": "argon2"},
    }
)

JAVA = Catalogue(
    {
        "framework": {
            "spring-boot*": "Spring Boot",
            "org.springframework.boot": "Spring Boot",
            "quarkus*": "Quarkus",
            "io.quarkus": "Quarkus",
            "micronaut*": "Micronaut",
            "io.micronaut.application": "Micronaut",
            "ktor-server*": "Ktor",
        },
        "database": {
            "postgresql": "PostgreSQL",
            "mysql-connector-j": "MySQL",
            "mysql-connector-java": "MySQL",
            "mariadb-java-client": "MariaDB",
            "h2": "H2",
            "sqlite-jdbc": "SQLite",
            "mongodb-driver*": "MongoDB",
        },
        "orm": {
            "spring-boot-starter-data-jpa": "Spring Data JPA",
            "hibernate-core": "Hibernate",
            "jooq": "jOOQ",
            "mybatis*": "MyBatis",
            "exposed*": "Exposed",
        },
        "validation": {"spring-boot-starter-validation": "Bean Validation", "hibernate-validator": "Bean Validation"},
        "authentication": {
            "spring-boot-starter-security": "Spring Security",
            "spring-boot-starter-oauth2*": "Spring OAuth2",
            "jjwt*": "JJWT",
            "java-jwt": "java-jwt",
        },
        "tests": {"testng": "TestNG", "kotest*": "Kotest", "spock-core": "Spock", "junit*": "JUnit"},
    }
)

RUBY = Catalogue(
    {
        "framework": {"rails": "Rails", "hanami": "Hanami", "sinatra": "Sinatra"},
        "database": {
            "pg": "PostgreSQL",
            "mysql2": "MySQL",
            "sqlite3": "SQLite",
            "mongoid": "MongoDB",
            "redis": "Redis",
        },
        "orm": {"rails": "Active Record", "activerecord": "Active Record", "sequel": "Sequel", "mongoid": "Mongoid"},
        "validation": {"dry-validation": "dry-validation", "rails": "Active Model"},
        "authentication": {"devise": "Devise", "jwt": "jwt", "omniauth": "OmniAuth", "bcrypt": "bcrypt"},
    }
)

PHP = Catalogue(
    {
        "framework": {
            "laravel/framework": "Laravel",
            "symfony/framework-bundle": "Symfony",
            "slim/slim": "Slim",
        },
        "database": {"ext-pdo_pgsql": "PostgreSQL", "ext-pgsql": "PostgreSQL", "ext-pdo_mysql": "MySQL"},
        "orm": {"laravel/framework": "Eloquent", "doctrine/orm": "Doctrine"},
        "validation": {"laravel/framework": "Laravel validation", "symfony/validator": "Symfony Validator"},
        "authentication": {
            "laravel/sanctum": "Sanctum",
            "laravel/passport": "Passport",
            "symfony/security-bundle": "Symfony Security",
            "firebase/php-jwt": "php-jwt",
        },
        "tests": {"pestphp/pest": "Pest", "phpunit/phpunit": "PHPUnit"},
    }
)

DOTNET = Catalogue(
    {
        "framework": {"microsoft.aspnetcore*": "ASP.NET Core"},
        "database": {
            "npgsql*": "PostgreSQL",
            "mysqlconnector": "MySQL",
            "microsoft.data.sqlclient": "SQL Server",
            "microsoft.entityframeworkcore.sqlserver": "SQL Server",
            "microsoft.entityframeworkcore.sqlite": "SQLite",
            "mongodb.driver": "MongoDB",
        },
        "orm": {"microsoft.entityframeworkcore*": "Entity Framework Core", "dapper": "Dapper"},
        "validation": {"fluentvalidation*": "FluentValidation"},
        "authentication": {
            "microsoft.aspnetcore.authentication*": "ASP.NET Core authentication",
            "microsoft.aspnetcore.identity*": "ASP.NET Core Identity",
        },
        "tests": {"xunit*": "xUnit", "nunit*": "NUnit", "mstest*": "MSTest", "microsoft.net.test.sdk": "dotnet test"},
    }
)
