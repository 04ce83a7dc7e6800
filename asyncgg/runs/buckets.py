"""Rule: how what lies in S3 is fetched for a run is decided here: by the same profile, and from nowhere else."""

from __future__ import annotations

from asyncgg.manifest import S3Opener
from asyncgg.settings import Settings
from asyncgg.transport import Endpoint
from asyncgg.transport.config import configured_endpoint
from asyncgg.transport.session import new_session

__all__ = ["s3_opener"]


def s3_opener(settings: Settings, target: Endpoint | None) -> S3Opener:
    """How an `s3://` file is fetched: by the same profile; with a custom endpoint, from nowhere else."""
    from asyncgg.manifest.s3 import S3Downloader

    endpoint = None
    if target is not None and target.custom:
        session = new_session(settings.profile)
        endpoint = configured_endpoint(session, "s3", service_specific_only=True)[1] or target.url
    return S3Downloader(settings.profile, target.region if target else settings.region, endpoint)
