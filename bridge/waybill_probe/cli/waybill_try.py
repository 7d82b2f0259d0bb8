"""``odoo --addons-path=/opt/waybill/bridge waybill_try``: this release on a database as it is, see job.json."""
import argparse
import sys

from odoo.cli.command import Command


class waybill_try(Command):
    """Try this release on a copy of a database, without updating it, as /etc/waybill/job.json says."""

    name = "waybill_try"

    def run(self, args):
        parser = argparse.ArgumentParser(prog=self.prog, description=self.__doc__)
        parser.add_argument("-c", "--config", help="configuration file of Odoo")
        options = parser.parse_args(args)

        from odoo.tools import config

        # As in waybill_update: the option served to find this command only.
        config._cli_options.pop("addons_path", None)
        config.parse_config(["-c", options.config or "/etc/waybill/odoo.conf", "--no-http", "--max-cron-threads=0"])

        from odoo.addons.waybill_probe.trial import job

        sys.exit(job.main())
