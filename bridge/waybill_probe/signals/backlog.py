"""What waits in a tenant's database: scheduled jobs, mails, OCA's queue. Read when the server asks.

All times are differences within the database's own clock.
"""
import psycopg2

_TIMEOUT = "2s"  # of each query
_JOBS = 20  # in an answer
_KEPT = 1000  # jobs that are looked at
_EVERY = {"minutes": 60, "hours": 3600, "days": 86400, "work_days": 86400, "weeks": 7 * 86400, "months": 30 * 86400}


def answer(registry, problems):
    """{"cron": …, "mail": …, "queue": …}; None where it does not apply, or a problem is added."""
    found = {"cron": None, "mail": None, "queue": None}
    for name, read in (("cron", _cron), ("mail", _mail), ("queue", _queue)):
        try:
            cr = registry.cursor()
            try:
                cr.execute("SET LOCAL statement_timeout = '%s'" % _TIMEOUT)
                found[name] = read(cr, registry)
            finally:
                cr.rollback()
                cr.close()
        except psycopg2.Error as error:
            problems.append("%s: %s" % (name, " ".join(str(error).split())[:200]))
    return found


def _rows(cr, query):
    cr.execute(query, log_exceptions=False)
    return cr.fetchall()


def _cron(cr, registry):
    fails = "failure_count" in registry["ir.cron"]._fields  # 18 and later
    triggers = "ir.cron.trigger" in registry
    rows = _rows(
        cr,
        """
        SELECT c.id, c.cron_name,
               GREATEST(0, EXTRACT(EPOCH FROM n.now - LEAST(c.nextcall, t.oldest))),
               %s, EXTRACT(EPOCH FROM n.now - c.lastcall), c.interval_number, c.interval_type
        FROM ir_cron c
        CROSS JOIN (SELECT now() AT TIME ZONE 'UTC' AS now) n
        %s
        WHERE c.active
        ORDER BY 3 DESC LIMIT %d
        """
        % (
            "c.failure_count, EXTRACT(EPOCH FROM n.now - c.first_failure_date)" if fails else "0, NULL",
            "LEFT JOIN LATERAL (SELECT min(call_at) AS oldest FROM ir_cron_trigger WHERE cron_id = c.id AND call_at <= n.now) t ON true"
            if triggers
            else "CROSS JOIN (SELECT NULL::timestamp AS oldest) t",
            _KEPT,
        ),
    )
    jobs = [
        {
            "id": job,
            "name": str(name or "")[:200],
            "late": round(float(late), 1),
            "failures": int(failures or 0),
            "failing_since": round(float(since or 0), 1),
            "last_run": round(float(last or 0), 1),
            "every": float((number or 0) * _EVERY.get(unit, 0)),
        }
        for job, name, late, failures, since, last, number, unit in rows
    ]
    due = [job for job in jobs if job["late"] > 0]
    failing = [job for job in jobs if job["failures"]]
    shown = {job["id"]: job for job in failing[: _JOBS // 2] + due}
    return {
        "active": len(jobs),
        "due": len(due),
        "late": due[0]["late"] if due else 0,
        "late_job": due[0]["name"] if due else "",
        "failing": len(failing),
        "failures": sum(job["failures"] for job in failing),
        "jobs": list(shown.values())[:_JOBS],
    }


def _mail(cr, registry):
    if "mail.mail" not in registry:
        return None
    later = " AND (m.scheduled_date IS NULL OR m.scheduled_date <= n.now)" if _is_time(registry, "mail.mail", "scheduled_date") else ""
    return _backlog(
        cr,
        "mail_mail m",
        "m.state = 'outgoing'" + later,
        "m.create_date",
        "m.state = 'exception'",
        "m.state IN ('outgoing', 'exception')",
    )


def _is_time(registry, model, field):
    described = registry[model]._fields.get(field)
    return described is not None and described.type == "datetime"  # a text before 17


def _queue(cr, _registry):
    if not _rows(cr, "SELECT to_regclass('queue_job') IS NOT NULL")[0][0]:
        return None
    return _backlog(
        cr,
        "queue_job q",
        "q.state IN ('pending', 'enqueued') AND (q.eta IS NULL OR q.eta <= n.now)",
        "q.date_created",
        "q.state = 'failed'",
        "q.state IN ('pending', 'enqueued', 'failed')",
    )


def _backlog(cr, table, waits, since, failed, either):
    waiting, oldest, given_up = _rows(
        cr,
        """
        SELECT count(*) FILTER (WHERE {waits}),
               COALESCE(GREATEST(0, max(EXTRACT(EPOCH FROM n.now - {since})) FILTER (WHERE {waits})), 0),
               count(*) FILTER (WHERE {failed})
        FROM {table} CROSS JOIN (SELECT now() AT TIME ZONE 'UTC' AS now) n
        WHERE {either}
        """.format(waits=waits, since=since, failed=failed, table=table, either=either),
    )[0]
    return {"waiting": waiting, "oldest": round(float(oldest), 1), "failed": given_up}
