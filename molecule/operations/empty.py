# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete all objects below a folder of S3: empty.py ENDPOINT s3://BUCKET/FOLDER FILE-OF-CREDENTIALS."""

import sys
from pathlib import Path

from pyarrow import fs

endpoint, folder = sys.argv[1], sys.argv[2].removeprefix("s3://")
values = dict(line.split("=", 1) for line in Path(sys.argv[3]).read_text().splitlines())
store = fs.S3FileSystem(
    access_key=values["AWS_ACCESS_KEY_ID"], secret_key=values["AWS_SECRET_ACCESS_KEY"], endpoint_override=endpoint, region="us-east-1"
)
# Not delete_dir, which deletes folders too: to this server, one that was not emptied before is an error.
for found in store.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True)):
    if found.type == fs.FileType.File:
        store.delete_file(found.path)
