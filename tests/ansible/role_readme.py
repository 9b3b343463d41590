"""The variables in roles/pgsql/README.md, from the role's meta/argument_specs.yml and defaults/main.yml.

    python tests/ansible/role_readme.py --write     brings the page up to date ('make role-readme')
    python tests/ansible/role_readme.py             prints it as it must be
"""

import json
import sys
from pathlib import Path

import yaml

ROLE = Path(__file__).resolve().parents[2] / 'roles' / 'pgsql'
PAGE = ROLE / 'README.md'
BEGIN = '<!-- generated from meta/argument_specs.yml by `make role-readme` -->'
END = '<!-- end of what is generated -->'

# What a variable is about: the first that fits. A title, and the beginnings of names or the names.
KINDS = (
    ('The services', ('pg_services', 'pg_services_extra', 'pg_default_services', 'pg_default_service_dest', 'pg_rto')),
    ('The virtual address', ('vip_', 'lb_', 'pg_vip_')),
    ('The members', ('pg_', 'pgbouncer_', 'patroni_')),
    ('HAProxy', ('haproxy_',)),
    ('How pgsvc works', ('pgsvc_',)),
    ('How the role works', ('pgsql_',)),
)
ORDER = ('The members', 'The services', 'HAProxy', 'The virtual address', 'How pgsvc works', 'How the role works')


def kind(name):
    return next(title for title, starts in KINDS if name.startswith(starts))


def options():
    """Every variable of the role as the argument specification has it."""
    return yaml.safe_load((ROLE / 'meta' / 'argument_specs.yml').read_text())['argument_specs']['main']['options']


def defaults():
    return yaml.safe_load((ROLE / 'defaults' / 'main.yml').read_text())


def spelled(option):
    """The type, and what it may be."""
    choices = option.get('choices')
    elements = f" of {option['elements']}" if 'elements' in option else ''
    if not choices:
        return option['type'] + elements
    return ', '.join(f'`{json.dumps(c) if isinstance(c, bool) else c}`' for c in choices)


def standing(name, option, role):
    """The default: the role's, else what pgsvc takes by itself."""
    value = role.get(name, option.get('default'))
    if value is None:
        return ''
    if isinstance(value, list) and value:
        return '[the four](defaults/main.yml)'
    return f"`{value if isinstance(value, str) and value else json.dumps(value) if value != '' else repr('')}`"


def sentence(text):
    return ' '.join(text.split()) if isinstance(text, str) else ' '.join(' '.join(part.split()) for part in text)


def table():
    role, lines = defaults(), []
    for title in ORDER:
        names = [name for name in options() if kind(name) == title]
        if not names:
            continue
        lines += ['', f'### {title}', '', '| variable | type | default | |', '|---|---|---|---|']
        for name in names:
            option = options()[name]
            cells = f'`{name}`', spelled(option), standing(name, option, role), sentence(option['description'])
            lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines[1:]) + '\n'


def page():
    text = PAGE.read_text()
    before, rest = text.split(BEGIN, 1)
    return f'{before}{BEGIN}\n\n{table()}\n{END}{rest.split(END, 1)[1]}'


if __name__ == '__main__':
    if '--write' in sys.argv[1:]:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())
