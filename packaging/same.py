"""Writes a tar.gz anew, so that the same content makes the same bytes.

    python3 packaging/same.py FROM TO       times are SOURCE_DATE_EPOCH's, owners nobody's, names in order
"""

import gzip
import os
import sys
import tarfile

source, target = sys.argv[1:]
epoch = int(os.environ['SOURCE_DATE_EPOCH'])
with tarfile.open(source) as old, open(target, 'wb') as raw:
    with gzip.GzipFile(filename='', mode='wb', fileobj=raw, mtime=epoch, compresslevel=9) as packed:
        with tarfile.open(fileobj=packed, mode='w', format=tarfile.GNU_FORMAT) as new:
            members = old.getmembers()
            # MANIFEST.json comes first, where installers look for it.
            for member in sorted(members, key=lambda m: (m.name not in ('MANIFEST.json', 'FILES.json'), m.name)):
                member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, '', ''
                member.pax_headers = {}
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
