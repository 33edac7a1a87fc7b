"""What the doctor says."""

from __future__ import annotations

from collections.abc import Iterable

from biglambda.image.doctor.finding import Finding


def found(findings: Iterable[Finding], subject: str) -> Finding:
    """The finding on a subject, of which there is one."""
    listed = list(findings)
    (one,) = [one for one in listed if one.subject == subject] or [Finding("wrong", "", f"{listed}")]
    return one


def wrong(findings: Iterable[Finding]) -> list[str]:
    """What is wrong, as text."""
    return [str(one) for one in findings if one.verdict == "wrong"]
