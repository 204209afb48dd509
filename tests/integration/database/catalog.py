"""A database's structure as PostgreSQL itself describes it, for comparing two databases whole."""

from __future__ import annotations

from sqlalchemy import Connection, text

_COLUMNS = """
SELECT n.nspname || '.' || c.relname, a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
    || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || CASE WHEN a.attidentity <> '' THEN ' IDENTITY ' || a.attidentity::text ELSE '' END
    || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname = ANY(:schemas)
"""

_CONSTRAINTS = """
SELECT n.nspname || '.' || c.relname, k.conname || ' ' || pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas) AND k.contype <> 't'
"""

_INDEXES = """
SELECT schemaname || '.' || tablename, indexdef FROM pg_indexes WHERE schemaname = ANY(:schemas)
"""

_TRIGGERS = """
SELECT n.nspname || '.' || c.relname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas) AND NOT t.tgisinternal
"""

_FUNCTIONS = """
SELECT n.nspname, pg_get_functiondef(p.oid)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY(:schemas)
"""

_GRANTS = """
SELECT n.nspname || '.' || c.relname, 'GRANTED ' || coalesce(c.relacl::text, '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(:schemas) AND c.relkind IN ('r', 'p', 'S')
"""


def tables(connection: Connection, schemas: tuple[str, ...]) -> set[tuple[str, str]]:
    """Columns, constraints and indexes, each as (table, definition)."""
    return _ask(connection, schemas, _COLUMNS, _CONSTRAINTS, _INDEXES)


def everything(connection: Connection, schemas: tuple[str, ...]) -> set[tuple[str, str]]:
    """Tables, triggers, functions and grants."""
    return tables(connection, schemas) | _ask(connection, schemas, _TRIGGERS, _FUNCTIONS, _GRANTS)


def _ask(connection: Connection, schemas: tuple[str, ...], *queries: str) -> set[tuple[str, str]]:
    return {
        (where, what)
        for query in queries
        for where, what in connection.execute(text(query), {"schemas": list(schemas)})
        if "alembic_version" not in where
    }
