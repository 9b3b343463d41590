"""The software bill of materials of the binary: CycloneDX 1.5 as JSON, on stdout.

    python3 packaging/sbom.py BINARY

The crates are those that cargo links for the machine the binary is for: no crate of tests alone, none of other systems.
Hashes are those of Cargo.lock. The same sources and the same binary make the same bytes.
"""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
TARGET = os.environ.get('PGSVC_TARGET', 'x86_64-unknown-linux-gnu')


def metadata():
    command = ['cargo', 'metadata', '--locked', '--format-version', '1', '--filter-platform', TARGET]
    return json.loads(subprocess.run(command, cwd=TOP, check=True, capture_output=True).stdout)


def linked(nodes, root):
    """The crates that the root reaches by normal and build dependencies."""
    seen, todo = set(), [root]
    while todo:
        here = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        todo += [dep['pkg'] for dep in nodes[here]['deps'] if any(kind['kind'] != 'dev' for kind in dep['dep_kinds'])]
    return seen


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind, checksum):
    found = {'type': kind, 'bom-ref': purl(package), 'name': package['name'], 'version': package['version'],
             'purl': purl(package)}
    if package.get('license'):
        # Crates of old separate licences by a slash.
        found['licenses'] = [{'expression': package['license'].replace('/', ' OR ')}]
    if checksum:
        found['hashes'] = [{'alg': 'SHA-256', 'content': checksum}]
    if package.get('repository'):
        found['externalReferences'] = [{'type': 'vcs', 'url': package['repository']}]
    return found


def main(binary):
    data = metadata()
    packages = {package['id']: package for package in data['packages']}
    nodes = {node['id']: node for node in data['resolve']['nodes']}
    root = data['resolve']['root']
    ids = linked(nodes, root)
    lock = tomllib.loads((TOP / 'Cargo.lock').read_text())
    sums = {(p['name'], p['version']): p.get('checksum') for p in lock['package']}
    digest = hashlib.sha256(Path(binary).read_bytes()).hexdigest()
    when = datetime.fromtimestamp(int(os.environ['SOURCE_DATE_EPOCH']), timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
    crates = sorted((packages[i] for i in ids if i != root), key=purl)
    needs = {purl(packages[i]): sorted({purl(packages[dep['pkg']]) for dep in nodes[i]['deps'] if dep['pkg'] in ids
                                        and any(kind['kind'] != 'dev' for kind in dep['dep_kinds'])}) for i in ids}
    json.dump({
        '$schema': 'http://cyclonedx.org/schema/bom-1.5.schema.json',
        'bomFormat': 'CycloneDX', 'specVersion': '1.5', 'version': 1,
        'serialNumber': f'urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}',
        'metadata': {'timestamp': when, 'component': component(packages[root], 'application', digest)},
        'components': [component(p, 'library', sums[p['name'], p['version']]) for p in crates],
        'dependencies': [{'ref': ref, 'dependsOn': needs[ref]} for ref in sorted(needs)],
    }, sys.stdout, indent=1)
    print()


if __name__ == '__main__':
    main(sys.argv[1])
