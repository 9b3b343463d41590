"""The role as its pages and its specification say it is."""

from pathlib import Path

import pytest
import role_readme
import test_action_plugin
import yaml

TOP = Path(__file__).resolve().parents[2]
OPTIONS, DEFAULTS = role_readme.options(), role_readme.defaults()
MODULE = yaml.safe_load((TOP / 'library' / 'pgsvc.yml').read_text())['DOCUMENTATION']['options']
# What Ansible itself says of a host.
ANSIBLES = {'inventory_hostname', 'ansible_host'}


def test_the_page_is_what_is_generated():
    assert role_readme.PAGE.read_text() == role_readme.page(), 'run: make role-readme'


def test_every_variable_that_is_read_is_specified():
    assert set(test_action_plugin.plugin.NODE) - ANSIBLES <= set(OPTIONS)


def test_every_default_is_specified():
    assert set(DEFAULTS) <= set(OPTIONS)


@pytest.mark.parametrize('name', sorted(name for name in OPTIONS if 'default' in OPTIONS[name]))
def test_the_specified_default_is_the_roles(name):
    assert name not in DEFAULTS or DEFAULTS[name] == OPTIONS[name]['default']


@pytest.mark.parametrize('name', sorted(name for name in OPTIONS if name[6:] in MODULE and name.startswith('pgsvc_')))
def test_an_option_of_the_module_is_the_same_as_a_variable(name):
    for key in ('type', 'elements', 'choices', 'default'):
        assert OPTIONS[name].get(key) == MODULE[name[6:]].get(key), key


def test_a_variable_without_a_name_of_the_field_is_no_variable():
    assert {role_readme.kind(name) for name in OPTIONS} <= set(role_readme.ORDER)
