"""Reads manifests, lists of names and protect lists."""

# Without `asyncgg.manifest.s3`: it imports aiobotocore, which only an `s3://` manifest needs.

from asyncgg.manifest.iterables import Row, from_async_iterable, from_iterable
from asyncgg.manifest.protect import ProtectList, load_protect_list
from asyncgg.manifest.reader import FORMATS, ManifestReader, open_manifest
from asyncgg.manifest.rejects import RejectsWriter
from asyncgg.manifest.rows import BadRow, Chunk
from asyncgg.manifest.sources import S3Opener

__all__ = [
    "FORMATS",
    "BadRow",
    "Chunk",
    "ManifestReader",
    "ProtectList",
    "RejectsWriter",
    "Row",
    "S3Opener",
    "from_async_iterable",
    "from_iterable",
    "load_protect_list",
    "open_manifest",
]
