"""What somebody does to a bucket, step by step; run by the python of an environment with boto3.

`python bucket_steps.py URL`: reads one JSON object per line, {"do": ..., ...}, and answers each with a line of JSON.
"""

import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import boto3
import botocore.auth
from boto3.s3.transfer import TransferConfig
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials

URL = sys.argv[1]
KEYS = {"aws_access_key_id": "AKIATESTTESTTEST", "aws_secret_access_key": "canary/secret+key"}
CLIENT = boto3.client("s3", endpoint_url=URL, region_name="eu-central-1",
                      config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"), **KEYS)  # fmt: skip


def bucket(name):
    CLIENT.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})


def put(name, key, text, gzipped=False):
    more = {"ContentEncoding": "gzip"} if gzipped else {}
    return CLIENT.put_object(Bucket=name, Key=key, Body=bytes.fromhex(text), **more)["ETag"]


def many(name, prefix, count):
    for number in range(count):
        CLIENT.put_object(Bucket=name, Key=f"{prefix}{number:05}", Body=b"x")


def parts(name, key, size):
    data = hashlib.shake_256(b"parts").digest(size)
    Path(sys.argv[2]).write_bytes(data)
    form = TransferConfig(multipart_threshold=1, multipart_chunksize=5 << 20)
    CLIENT.upload_file(sys.argv[2], name, key, Config=form)
    return CLIENT.head_object(Bucket=name, Key=key)["ETag"]


def delete(name, key):
    CLIENT.delete_object(Bucket=name, Key=key)


def listed(name, prefix, after):
    pages = CLIENT.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix, StartAfter=after)
    return [[one["Key"], one["ETag"].strip('"'), one["Size"], int(one["LastModified"].timestamp())]
            for page in pages for one in page.get("Contents", ())]  # fmt: skip


def presigned(name, key):
    return CLIENT.generate_presigned_url("get_object", {"Bucket": name, "Key": key}, ExpiresIn=600)


def signature(url, seconds, token):
    """What AWS's own library signs for a URL at a time."""
    botocore.auth.get_current_datetime = lambda *_, **__: datetime.fromtimestamp(seconds, UTC)
    request = AWSRequest("GET", url)
    keys = Credentials(KEYS["aws_access_key_id"], KEYS["aws_secret_access_key"], token or None)
    botocore.auth.S3SigV4Auth(keys, "s3", "eu-central-1").add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}


for line in sys.stdin:
    told = json.loads(line)
    print(json.dumps(globals()[told.pop("do")](**told)), flush=True)
