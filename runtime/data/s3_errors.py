"""What S3 and boto3 say, in plain words: what happened to which object, and what to do."""

from __future__ import annotations

from typing import Any

from ..errors import DataError
from .store import MissingError, changed

DENIED = (
    "access is denied. The credentials in use need s3:GetObject to read, s3:ListBucket for patterns and "
    "prefixes and to learn that an object does not exist, and s3:PutObject and s3:DeleteObject to write"
)
INVALID = "the credentials are not known there; check access key and secret, and that they belong to this endpoint"
EXPIRED = "the credentials have expired: get new ones, and start again"
REGION = "the bucket is in another region{}; set AWS_REGION, or region in the aws_s3 section of Lithops"
BUSY = "the server was still too busy ({}) after {} attempts; start again later, or with fewer workers"

WORDS = {
    "NoSuchBucket": "there is no such bucket; check its name, and the endpoint and region in use",
    "AccessDenied": DENIED,
    "AllAccessDisabled": DENIED,
    "403": DENIED,
    "InvalidAccessKeyId": INVALID,
    "SignatureDoesNotMatch": INVALID,
    "InvalidToken": INVALID,
    "InvalidClientTokenId": INVALID,
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "TokenRefreshRequired": EXPIRED,
    "RequestTimeTooSkewed": "the clock of this machine is wrong: S3 takes requests of the last 15 minutes only",
    "PermanentRedirect": REGION,
    "TemporaryRedirect": REGION,
    "AuthorizationHeaderMalformed": REGION,
    "IllegalLocationConstraintException": REGION,
    "301": REGION,
    "307": REGION,
    "InvalidBucketName": "that is no name of a bucket",
    "InvalidObjectState": "the object is archived; restore it first",
}
"""What an error code of S3 means. Where a reply has no body, the code is the status."""


NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
}
UNREACHABLE = {"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError", "SSLError"}


def explain(error: Exception, where: str, attempts: int) -> DataError:
    """The error to raise for one of botocore, which has made ``attempts`` attempts at most.

    Nothing of the request is repeated in it, as that may hold credentials.
    """
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _explain_reply(response, where, attempts)
    kind = type(error).__name__
    if kind in NO_CREDENTIALS:
        what = (
            f"no usable credentials were found ({kind}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE, or give the functions a role that may read the bucket"
        )
    elif kind == "UnauthorizedSSOTokenError":
        what = EXPIRED
    elif kind == "ProfileNotFound":
        what = "there is no such profile as AWS_PROFILE says in the AWS configuration"
    elif kind in UNREACHABLE:
        what = (
            f"the endpoint cannot be reached ({kind}, {attempts} attempts); check AWS_ENDPOINT_URL, region, and "
            "that there is a way to it from here"
        )
    elif kind in ("ReadTimeoutError", "ConnectionClosedError", "HTTPClientError"):
        what = f"the server did not answer ({kind}, {attempts} attempts)"
    elif kind == "ParamValidationError":
        what = "that is no name of a bucket and an object"
    else:
        what = f"{kind} of boto3"
    return DataError(f"{where}: {what}")


def _explain_reply(response: dict[str, Any], where: str, attempts: int) -> DataError:
    error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), meta.get("HTTPStatusCode", 0)
    if code in ("NoSuchKey", "404"):
        return MissingError(f"{where}: there is no such object; it was deleted, or never written")
    if code in ("PreconditionFailed", "412"):
        return changed(where, "was replaced since")
    if status >= 500 or code in ("SlowDown", "RequestLimitExceeded", "TooManyRequests") or status == 429:
        return DataError(f"{where}: {BUSY.format(f'{status} {code}', attempts)}")
    if code in WORDS:
        region = meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or error.get("Region")
        return DataError(f"{where}: {WORDS[code].format(f', {region}' if region else '')}")
    return DataError(f"{where}: the server refused with {status} {code}")
