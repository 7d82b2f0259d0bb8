"""Which of Odoo's background processes run in this container, and for which databases."""
import logging

from . import paths, pool

_logger = logging.getLogger(__name__)


def cron_databases():
    """Databases whose cron runs in this process now."""
    if paths.ROLE not in ("cron", ""):
        return []
    config = pool.current()
    return [tenant.database for tenant in config.tenants if tenant.cron] if config else []


def install():
    from odoo.service import server

    from odoo.addons.base.models.ir_cron import IrCron

    server.cron_database_list = cron_databases

    # Odoo keeps its list for up to a minute, and a batch of jobs for longer: look again before
    # each batch and before each job.
    stock_process, stock_acquire = IrCron._process_jobs, IrCron._acquire_one_job

    def _process_jobs(db_name):
        if db_name in cron_databases():
            stock_process(db_name)

    def _acquire_one_job(cr, job_id, **options):
        # include_not_ready: a person pressed "run manually", which is no business of the scheduler
        if not options.get("include_not_ready") and cr.dbname not in cron_databases():
            return None
        return stock_acquire(cr, job_id, **options)

    IrCron._process_jobs = staticmethod(_process_jobs)
    IrCron._acquire_one_job = staticmethod(_acquire_one_job)

    if paths.ROLE in ("web", "cron"):
        # WebSockets have a container of their own.
        server.PreforkServer.long_polling_spawn = lambda self: None
