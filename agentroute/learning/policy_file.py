"""A policy as one TOML file that people review, and how it differs from the present one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date

from agentroute.routing.profiles import VERSION, Profile, Profiles

from .calibrate import Policy

__all__ = ["differences", "quoted", "written"]


def written(policy: Policy) -> str:
    """The file's text. What is licensed comes first; the normal bound stands beside the exact one."""
    lines = ["# Written by `agentroute calibrate`: read it, keep it under version control, and name it in the config."]
    for each in policy.refused:
        lines.append(
            f"# not licensed: {each.role} on {each.target}: {each.why}; n {each.n}, it takes {each.needed} or more"
        )
    lines += [
        "",
        f"version = {VERSION}",
        f"made = {policy.made.isoformat()}",
        f"strongest = {quoted(policy.strongest)}",
        'others = "strongest"  # or "prior": roles that the file does not know',
        f"promise = {quoted(policy.promise)}",
    ]
    for profile in sorted(policy.profiles, key=lambda each: (not each.licensed, each.role, each.target)):
        lines += ["", "[[profile]]", *_fields(profile, policy.normal.get((profile.role, profile.target)))]
    return "\n".join(lines) + "\n"


def _fields(profile: Profile, normal: float | None) -> list[str]:
    beside = "" if normal is None else f"  # the normal bound would say {normal:.4f}"
    found = [
        f"role = {quoted(profile.role)}",
        f"target = {quoted(profile.target)}",
        f"licensed = {str(profile.licensed).lower()}",
        f"success = {profile.success:.4f}{beside}",
        f"mean = {profile.mean:.4f}",
        f"n = {profile.n}",
        f"source = {quoted(profile.source)}",
        f"steps = {profile.steps:.2f}",
        f"date = {profile.date.isoformat()}",
        f"expires = {profile.expires.isoformat()}",
    ]
    if profile.model is not None:
        found.append(f"model = {quoted(profile.model)}")
    if profile.forms:
        found.append(f"forms = [{', '.join(map(quoted, profile.forms))}]")
    if profile.up:
        found.append("up = true")
    if profile.limit:
        found += [f"weight = {profile.weight}", f"limit = {profile.limit}"]
    return found


def differences(before: Iterable[Profile] | Profiles, after: Iterable[Profile], today: date) -> list[str]:
    """What changes for each role, in words; empty if nothing does."""
    old = {(each.role, each.target): each for each in before if each.licensed and each.expires >= today}
    new = {(each.role, each.target): each for each in after if each.licensed}
    lines = []
    for role, target in sorted(old.keys() | new.keys()):
        was, now = old.get((role, target)), new.get((role, target))
        if now is None:
            lines.append(f"- {role}: {target} is no longer licensed")
        elif was is None:
            where = f" at {' and '.join(now.forms)} steps" if now.forms else ""
            shown = f"{100 * now.success:.1f} % or more, n {now.n}, {now.source}"
            lines.append(f"+ {role}: {target} is licensed{where} ({shown})")
        elif (round(was.success, 3), was.n, was.up) != (round(now.success, 3), now.n, now.up):
            lines.append(
                f"~ {role}: {target}: {100 * was.success:.1f} % or more (n {was.n}) becomes "
                f"{100 * now.success:.1f} % (n {now.n})"
            )
    return lines


def quoted(value: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
