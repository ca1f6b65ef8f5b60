"""The operating system: release, packages, clock, cron, sshd, logrotate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fabfile.remote.command import script
from fabfile.services.templates import render
from fabfile.steps.server import engine
from fabfile.steps.server.check import Check, waiting

if TYPE_CHECKING:
    from fabfile.steps.server.facts import ServerFacts

SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04", "26.04")}
ARCHITECTURES = ("amd64", "arm64")
PACKAGES = (
    "rsync", "curl", "ca-certificates", "cron", "logrotate", "iproute2", "procps", "gnupg", "util-linux", "coreutils",
)  # fmt: skip

CLOCK_SECONDS = 60  # certificates, logs and locks of two machines are compared by people
ALIVE_INTERVAL_SECONDS = 15
ALIVE_COUNT = 4
SESSIONS = 20
LOG_DAYS = 14

OPERATING_SYSTEM, PACKAGE_CHECK = "operating system", "packages"
SSHD_FILE = "/etc/ssh/sshd_config.d/10-slipway.conf"
LOGROTATE_FILE = "/etc/logrotate.d/slipway"


def operating_system(facts: ServerFacts) -> Check:
    """Return whether the server runs a release we know."""
    known = facts.os_version in SUPPORTED.get(facts.os_id, ()) and facts.architecture in ARCHITECTURES
    return Check(
        OPERATING_SYSTEM,
        known,
        f"{facts.os_name or 'unknown'} on {facts.architecture or 'an unknown architecture'}",
        "Debian 12 or 13, Ubuntu 22.04, 24.04 or 26.04, on amd64 or arm64",
        by_hand="install the server anew with a supported release",
    )


def packages(facts: ServerFacts) -> Check:
    """Return whether the programs are there that our commands use."""
    missing = tuple(name for name in PACKAGES if name not in facts.packages)
    lists_due = facts.lists == 0 and not engine.complete(facts)
    does = f"installs {', '.join(missing)}" if missing else "fetches the package lists (apt-get update)"
    found = f"missing: {', '.join(missing)}" if missing else "there are no package lists to install Docker from"
    right = not missing and not lists_due
    return Check(
        PACKAGE_CHECK,
        right,
        "all there" if right else found,
        ", ".join(PACKAGES),
        cure=(script("bootstrap_packages", *missing, deadline=900, stream=True),),
        does=does,
    )


def clock(facts: ServerFacts) -> Check:
    """Return whether the server's clock agrees with ours."""
    offset = round(facts.clock_offset)
    ahead = f"{abs(offset)} s {'ahead of' if offset > 0 else 'behind'} this machine's"
    near = abs(offset) <= CLOCK_SECONDS
    return Check(
        "clock",
        near,
        f"{'agrees with this machine' if near else ahead}, time zone {facts.zone or 'unknown'}",
        f"within {CLOCK_SECONDS} s of this machine's",
        by_hand="see which of the two clocks is wrong; on a server: timedatectl set-ntp true",
        warning=True,
    )


def cron(facts: ServerFacts) -> Check:
    """Return whether cron runs: backups and certificate renewal rest on it."""
    wanted = "running, starts at boot"
    if "cron" not in facts.packages:
        return waiting("cron", wanted=wanted, after=PACKAGE_CHECK)
    service = facts.service("cron")
    return Check(
        "cron",
        service.running and service.enabled,
        f"{'running' if service.running else 'not running'}, "
        f"{'starts' if service.enabled else 'does not start'} at boot",
        wanted,
        cure=(script("bootstrap_service", "cron"),),
        does="starts cron, now and at boot",
    )


def sshd_file() -> str:
    """Return our settings of sshd."""
    return render(
        "server/etc/ssh/sshd_config.d/10-slipway.conf",
        alive_interval=ALIVE_INTERVAL_SECONDS,
        alive_count=ALIVE_COUNT,
        sessions=SESSIONS,
    )


def sshd(facts: ServerFacts) -> Check:
    """Return whether sshd notices dead clients and allows enough sessions on a connection."""
    text = sshd_file()
    settings = {
        "clientaliveinterval": ALIVE_INTERVAL_SECONDS,
        "clientalivecountmax": ALIVE_COUNT,
        "maxsessions": SESSIONS,
    }
    wanted = f"{SSHD_FILE} with ClientAliveInterval {ALIVE_INTERVAL_SECONDS}, ClientAliveCountMax {ALIVE_COUNT}, "
    wanted += f"MaxSessions {SESSIONS}"
    if not facts.sshd_include:
        return Check(
            "sshd",
            False,
            "skipped: /etc/ssh/sshd_config does not include sshd_config.d/*.conf",
            wanted,
            by_hand="add as its first line: Include /etc/ssh/sshd_config.d/*.conf",
            warning=True,
        )
    if facts.digests.get(SSHD_FILE) != digest(text):
        return Check(
            "sshd",
            False,
            f"{SSHD_FILE} {'differs' if SSHD_FILE in facts.digests else 'is missing'}",
            wanted,
            cure=(script("bootstrap_sshd", stdin=text.encode()),),
            does="writes the file and reloads sshd once `sshd -t` accepts it; open connections stay",
        )
    # Only root may ask sshd what is in force.
    other = [f"{key} {found}" for key, found in facts.sshd.items() if found != str(settings.get(key, found))]
    if other:
        return Check(
            "sshd",
            False,
            f"in force: {', '.join(other)}",
            wanted,
            by_hand=f"another file sets this before {SSHD_FILE}: grep -ri {other[0].split()[0]} /etc/ssh",
            warning=True,
        )
    return Check("sshd", True, "keepalive and sessions are set", wanted)


def logrotate_file() -> str:
    """Return how nginx's logs are rotated."""
    return render("server/etc/logrotate.d/slipway", days=LOG_DAYS)


def logrotate(facts: ServerFacts) -> Check:
    """Return whether nginx's logs are rotated."""
    wanted = f"{LOGROTATE_FILE}: nginx's logs, daily, {LOG_DAYS} kept"
    if "logrotate" not in facts.packages:
        return waiting("logrotate", wanted=wanted, after=PACKAGE_CHECK)
    text = logrotate_file()
    right = facts.digests.get(LOGROTATE_FILE) == digest(text)
    there = LOGROTATE_FILE in facts.digests
    return Check(
        "logrotate",
        right,
        f"daily, {LOG_DAYS} kept" if right else f"{LOGROTATE_FILE} {'differs' if there else 'is missing'}",
        wanted,
        cure=(script("bootstrap_logrotate", "slipway", stdin=text.encode()),),
        does=f"writes {LOGROTATE_FILE} once logrotate accepts it",
    )


def checks(facts: ServerFacts) -> Iterator[Check]:
    """Yield what the operating system needs before anything else."""
    yield operating_system(facts)
    yield clock(facts)
    yield packages(facts)
    yield cron(facts)
    yield sshd(facts)


def digest(text: str) -> str:
    """Return the SHA-256 of a text as `sha256sum` prints it."""
    return hashlib.sha256(text.encode()).hexdigest()
