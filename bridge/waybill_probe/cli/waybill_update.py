"""``odoo --addons-path=/opt/waybill/bridge waybill_update``: one tenant's update, see job.json."""
import argparse
import sys

from odoo.cli.command import Command


class waybill_update(Command):
    """Update one database as /etc/waybill/job.json says, in one transaction."""

    name = "waybill_update"

    def run(self, args):
        parser = argparse.ArgumentParser(prog=self.prog, description=self.__doc__)
        parser.add_argument("-c", "--config", help="configuration file of Odoo")
        options = parser.parse_args(args)

        from odoo.tools import config

        # --addons-path served to find this command, and Odoo would keep it over the file's.
        config._cli_options.pop("addons_path", None)
        # Before any addon is imported: what they read from the configuration must be there.
        config.parse_config(["-c", options.config or "/etc/waybill/odoo.conf", "--no-http", "--max-cron-threads=0"])

        from odoo.addons.waybill_probe.update import job

        sys.exit(job.main())
