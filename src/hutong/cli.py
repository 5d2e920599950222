"""The command line: `hutong serve`, `doctor`, `region`, `account`, `audit`."""

import click

from hutong import __version__
from hutong.commands.account import account
from hutong.commands.audit import audit
from hutong.commands.doctor import doctor
from hutong.commands.region import region
from hutong.commands.serve import serve

EPILOG = """\b
Start here:
  hutong serve             three regions on http://localhost:8008, until Ctrl-C
  hutong doctor            what is wrong with this installation
  hutong audit residency   proof of where every byte is
Exit status: 0 all is well, 1 there are findings, 2 it could not be done.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="hutong %(version)s")
def main() -> None:
    """A self-hosted messaging super-app on the Matrix Client-Server API, with every word at rest at home."""


for command in (serve, doctor, region, account, audit):
    main.add_command(command)
