"""Names that become directories, image tags, labels, host names and shell words: checked once, at the door."""

from __future__ import annotations

import re
import unicodedata

from fabfile.model.failure import UsageFailure

PROJECT = re.compile(r"[a-z][a-z0-9-]{0,29}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DOMAIN_LENGTH = 253

# `nginx` is the shared compose project, `data`, `blue` and `green` are parts of compose project names, `current` is a
# symlink; a project's image is `<project>:<version>`, which must not hide an official image that we pull.
RESERVED_PROJECTS = frozenset({"current", "nginx", "data", "blue", "green", "postgres", "redis"})
RESERVED_VERSIONS = frozenset({"current"})
UNFINISHED_SUFFIX = ".partial"  # an upload in progress: releases/<version>.partial

SHOWN_CHARACTERS = 40


def project_name(text: str) -> str:
    """Return `text` if it can name a project, raise `UsageFailure` otherwise."""
    if text in RESERVED_PROJECTS:
        raise UsageFailure(f"the project name {shown(text)} is reserved, choose another one")
    if not PROJECT.fullmatch(text) or text.endswith("-") or "--" in text:
        raise UsageFailure(
            f"{shown(text)} is no project name: 1 to 30 of a-z, 0-9 and single hyphens, a letter first, no hyphen last"
        )
    return text


def version_name(text: str) -> str:
    """Return `text` if it can be a release directory, a Docker tag and a label, raise `UsageFailure` otherwise."""
    if text in RESERVED_VERSIONS or text.endswith(UNFINISHED_SUFFIX):
        raise UsageFailure(f"the version {shown(text)} is reserved, choose another one")
    if not VERSION.fullmatch(text) or ".." in text:
        raise UsageFailure(
            f"{shown(text)} is no version: 1 to 63 of A-Z, a-z, 0-9 and ._- without '..', first a letter or digit"
        )
    return text


def domain_name(text: str) -> str:
    """Return `text` if it is a lower-case host name (RFC 1123) that a site can have, raise `UsageFailure` otherwise."""
    if is_domain(text):
        return text
    alternative = _suggested_domain(text)
    if alternative:
        raise UsageFailure(f'{shown(text)} is no domain, write it as "{alternative}"')
    raise UsageFailure(f'{shown(text)} is no domain: lower-case labels with a dot between, as in "api.example.com"')


def is_domain(text: str) -> bool:
    """Tell whether `text` is a lower-case host name with a dot, or `localhost`."""
    labels = text.split(".")
    if len(text) > DOMAIN_LENGTH or not all(DOMAIN_LABEL.fullmatch(label) for label in labels):
        return False
    return text == "localhost" or (len(labels) > 1 and not labels[-1].isdigit())  # digits last: an IPv4 address


def shown(text: str) -> str:
    """Return `text` for a message: quoted, on one line, without control characters, shortened."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def _suggested_domain(text: str) -> str | None:
    lower = unicodedata.normalize("NFC", text.strip().rstrip(".").lower())
    try:
        punycode = lower.encode("idna").decode("ascii")
        faithful = punycode.encode("ascii").decode("idna") == lower  # IDNA 2003 turns ß into ss: another domain
    except UnicodeError:
        return None
    return punycode if faithful and is_domain(punycode) else None
