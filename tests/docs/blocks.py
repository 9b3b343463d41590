"""The blocks of a page that are run by tests/cluster/cases/docs.sh, one after another, each ended by a NUL.

    python3 tests/docs/blocks.py PAGE

    ```sh            at the controller, in the repository, with the page's hosts.yml
    ```sh NODE       on that node, as root
    ```yaml hosts.yml    the inventory from here on
    ```text          what the last command says: every line is in its output; '[exit 3]' is its exit code
    <!-- test: WORDS -->     what happens behind the page's back: a call of the case's own functions
"""

import re
import sys

FENCE = re.compile(r'^```(\w+)[ \t]*([^\n]*)\n(.*?)^```$|^<!-- test: ([^\n]*) -->$', re.S | re.M)

for kind, where, body, directive in FENCE.findall(open(sys.argv[1], encoding='utf-8').read()):
    if directive:
        kind, where, body = 'test', '', directive
    if kind in ('sh', 'text', 'test') or where:
        sys.stdout.write(f'{kind} {where}\n{body}\0')
