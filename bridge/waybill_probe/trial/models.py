"""Whether the tables are as this release's models need them.

A field whose column is gone makes every read of the model fail; a column that must be filled and
that this release does not know makes every creation fail; a column of another type gives values
that the code does not expect. A model that an update has taken off the database's list of models
keeps its table, but its access rights are gone with it: nobody but the superuser can use it.
"""
import psycopg2

# Types that a field bears in place of its own.
_ALIKE = (
    {"varchar", "text", "bpchar"},
    {"int2", "int4", "int8"},
    {"float4", "float8", "numeric"},
)


def check(cr, registry, _job):
    """(number of models, problems). Each problem is a Problem of protocol.go."""
    import odoo

    columns = _columns(cr)
    env = odoo.api.Environment(cr, odoo.SUPERUSER_ID, {"active_test": False})
    cr.execute("SELECT model FROM ir_model")
    listed = {row[0] for row in cr.fetchall()}
    count, problems = 0, []
    for name in sorted(registry.models):
        model = env[name]
        if model._abstract or not model._auto or getattr(model, "_table_query", None):
            continue
        count += 1
        found = _compare(model, columns.get(model._table))
        if not found and name not in listed:
            found = [_problem(model, "model %s is no longer listed in the database, and its access rights are gone" % name)]
        if not found and not model._transient:
            found = _read(cr, env, name)
        problems += found
    return count, problems


def _columns(cr):
    """By table, then by column: (type, whether it must be filled by whoever inserts)."""
    cr.execute(
        """SELECT c.relname, a.attname, t.typname,
                  a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
            WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
              AND a.attnum > 0 AND NOT a.attisdropped"""
    )
    found = {}
    for table, column, kind, needed in cr.fetchall():
        found.setdefault(table, {})[column] = (kind, needed)
    return found


def _problem(model, text, field="", statement=""):
    problem = {"kind": "model", "model": model._name, "name": field, "error": text}
    if statement:
        problem["statement"] = statement
    return problem


def _compare(model, columns):
    if columns is None:
        return [_problem(model, "table %s does not exist" % model._table)]
    stored = {name: field for name, field in model._fields.items() if field.store and field.column_type}
    problems = []
    for name in sorted(stored):
        wanted = stored[name].column_type[0]
        if name not in columns:
            text = "column %s.%s is gone" % (model._table, name)
            problems.append(_problem(model, text, name, 'SELECT "%s" FROM "%s"' % (name, model._table)))
        elif not _fits(wanted, columns[name][0]):
            text = "column %s.%s is %s; this release expects %s" % (model._table, name, columns[name][0], wanted)
            problems.append(_problem(model, text, name))
    for column in sorted(columns):
        if columns[column][1] and column not in stored and column != "id":
            text = "column %s.%s must be filled, has no default, and this release does not know it" % (model._table, column)
            problems.append(_problem(model, text, column, 'INSERT INTO "%s" without "%s"' % (model._table, column)))
    return problems


def _fits(wanted, present):
    return wanted == present or any(wanted in alike and present in alike for alike in _ALIKE)


def _read(cr, env, name):
    """Reads one row through the ORM, as a list or a form would."""
    try:
        with cr.savepoint(flush=False):
            record = env[name].search([], limit=1)
            names = [n for n, field in record._fields.items() if field.store and field.column_type]
            if record:
                record.read(names)
    except psycopg2.Error as error:
        text = " ".join(str(error).split())[:500]
        return [_problem(env[name], "a row cannot be read: %s" % text)]
    except Exception as error:
        return [_problem(env[name], "a row cannot be read: %s: %s" % (type(error).__name__, error))]
    finally:
        env.invalidate_all(flush=False)
    return []
