"""The bill of materials, against CycloneDX's own schema and against what cargo links."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
schema = pytest.importorskip('cyclonedx.schema', reason='the oldest environment has no validator')


@pytest.fixture(scope='module')
def text():
    env = {**os.environ, 'SOURCE_DATE_EPOCH': '1700000000', 'PATH': f"{Path.home()}/.cargo/bin:{os.environ['PATH']}"}
    command = [sys.executable, 'packaging/sbom.py', 'Cargo.toml']
    return subprocess.run(command, cwd=TOP, env=env, check=True, capture_output=True, text=True).stdout


def test_it_is_cyclonedx(text):
    from cyclonedx.validation.json import JsonStrictValidator
    validator = JsonStrictValidator(schema.SchemaVersion.V1_5)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"library"', '"book"')) is not None


def test_it_has_what_is_linked_and_nothing_of_the_tests(text):
    found = json.loads(text)
    names = {component['name'] for component in found['components']}
    assert {'serde', 'rustls', 'handlebars', 'clap'} <= names
    assert not {'proptest', 'insta', 'tempfile', 'assert_cmd'} & names
    assert all(component['hashes'][0]['content'] and component['licenses'] for component in found['components'])
    refs = {component['bom-ref'] for component in found['components']}
    assert all(set(entry['dependsOn']) <= refs for entry in found['dependencies'])
