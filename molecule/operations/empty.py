# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete all objects below a folder of S3: empty.py ENDPOINT s3://BUCKET/FOLDER, with the credentials in the environment."""

import sys

from pyarrow import fs

endpoint, folder = sys.argv[1], sys.argv[2].removeprefix("s3://")
store = fs.S3FileSystem(endpoint_override=endpoint, region="us-east-1")
if store.get_file_info(folder).type == fs.FileType.Directory:
    store.delete_dir(folder)
