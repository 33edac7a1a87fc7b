"""What the doctor finds on a real S3 server."""

from __future__ import annotations

import pytest
from doctor_findings import found

from benchmarks.s3_server import BUCKET, STRANGER, S3Server
from biglambda.image.doctor.finding import Finding, examine
from biglambda.image.doctor.s3 import folder_of, steps, store_of
from biglambda.runtime.errors import DataError


def look(place: str) -> list[Finding]:
    return list(examine(steps(store_of(place, None), place)))


def test_a_place_that_can_be_listed_read_and_written_is_good(s3: S3Server) -> None:
    for part in range(3):
        s3.put(f"doctor/part-{part}.csv", b"1,2\n")
    findings = look(f"s3://{BUCKET}/doctor/part-*.csv")
    assert {one.verdict for one in findings} == {"ok"}
    assert "3 objects" in found(findings, "S3 listing").found
    assert s3.endpoint in found(findings, "S3 listing").found
    keys = [item["Key"] for item in s3.client.list_objects_v2(Bucket=BUCKET, Prefix="doctor/")["Contents"]]
    assert keys == [f"doctor/part-{part}.csv" for part in range(3)]


def test_an_empty_place_is_a_warning_and_may_be_written(s3: S3Server) -> None:
    findings = look(f"s3://{BUCKET}/nothing/here/")
    assert found(findings, "S3 reading").verdict == "warning"
    assert found(findings, "S3 writing").verdict == "ok"


def test_a_missing_bucket_and_a_stranger_are_told_what_is_wrong(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = look("s3://no-such-bucket/x/")
    assert (one.verdict, "no such bucket" in one.found) == ("wrong", True)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", STRANGER["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", STRANGER["secret_access_key"])
    (one,) = look(f"s3://{BUCKET}/stranger/")
    assert (one.verdict, "access is denied" in one.found) == ("wrong", True)
    assert STRANGER["secret_access_key"] not in str(one)


def test_an_endpoint_that_is_not_there_is_seen(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    (one,) = look(f"s3://{BUCKET}/x/")
    assert "endpoint cannot be reached" in one.found


def test_the_folder_to_write_to_follows_from_the_place() -> None:
    for place in ("s3://b/x/part-*.csv", "s3://b/x/y.npy", "s3://b/x/"):
        assert folder_of(place) == "s3://b/x"
    assert folder_of("s3://b") == folder_of("s3://b/*") == folder_of("s3://b/key") == "s3://b"
    with pytest.raises(DataError, match=r"--data rows\.csv: allowed is s3://bucket"):
        store_of("rows.csv", None)
