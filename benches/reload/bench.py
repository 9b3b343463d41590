"""The lab and the measuring client, as the items of the bench use them. No promise is judged here."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
BINARY = TOP / 'library' / 'pgsvc'
OUT = TOP / 'target' / 'bench'
NAME = os.environ.get('PGSVC_LAB_NAME', 'bench')
BALANCER = 'lb1'
MEMBERS = ('node1', 'node2', 'node3')
# A login with a verifier of one iteration: SCRAM with all its messages, without the milliseconds of hashing on either
# side that two cores have not to spare at this rate.
USER, PASSWORD = 'bench', 'lab-bench'


def note(text):
    print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


def lab(*words, stdin=None, check=True):
    done = subprocess.run([str(TOP / 'lab' / 'lab'), '--name', NAME, *words], capture_output=True, text=True, cwd=TOP,
                          input=stdin if stdin is not None else '', check=False,
                          env={**os.environ, 'ANSIBLE_CONFIG': str(TOP / 'ansible.cfg'), 'ANSIBLE_FORCE_COLOR': '0'})
    if check and done.returncode:
        sys.exit(f"lab/lab {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.stdout


def on(node, *words, **more):
    return lab('ssh', node, ' '.join(words), **more)


def haproxy(release):
    """Another release's HAProxy on the load balancer; 'image' is the node's own."""
    subprocess.run([str(TOP / 'lab' / 'haproxy'), '--name', NAME, release, BALANCER], check=True, stdin=subprocess.DEVNULL)


def node_tool(*words):
    """Lines that benches/reload/node prints on the load balancer."""
    return [json.loads(line) for line in on(BALANCER, '/root/bench-node', *map(str, words)).splitlines()]


def verifier():
    salt = b'pgsvc-lab-bench!'
    salted = hashlib.pbkdf2_hmac('sha256', PASSWORD.encode(), salt, 1)
    client, server = (hmac.digest(salted, key, 'sha256') for key in (b'Client Key', b'Server Key'))
    text = [base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server)]
    return f'SCRAM-SHA-256$1:{text[0]}${text[1]}:{text[2]}'


def prepare():
    """The bench's login on every member, and its tools on the load balancer."""
    role = (f"DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{USER}') THEN "
            f"CREATE ROLE {USER} LOGIN PASSWORD '{verifier()}'; END IF; END $do$")
    subprocess.run([str(TOP / 'lab' / 'lab'), '--name', NAME, 'psql', '-qc', role], check=True, cwd=TOP,
                   env={**os.environ, 'PGUSER': 'postgres', 'PGDATABASE': 'postgres'}, stdin=subprocess.DEVNULL)
    line = f'"{USER}" "{verifier()}"'
    for node in MEMBERS:
        on(node, "f=/etc/pgbouncer/userlist.txt; grep -q '^.bench. ' $f || cat >>$f; systemctl reload pgbouncer",
           stdin=line + '\n')
    for tool in ('node', 'plain'):
        on(BALANCER, f'cat >/root/bench-{tool}; chmod +x /root/bench-{tool}', stdin=(HERE / tool).read_text())


def inventory(change=lambda text: text):
    """The lab's inventory with lb1 as the load balancer and the bench's login, changed as an item wants it."""
    login = f'pgsvc_verify_user: {USER}\n    pgsvc_verify_password: {PASSWORD}\n    pgsvc_verify_database: test\n    '
    lines = [line for line in lab('inventory').splitlines() if 'pgsvc_verify' not in line]
    text = '\n'.join(lines) + '\n'
    text = text.replace('    ansible_user: root', f'    {login}ansible_user: root', 1)
    text = text.replace('pg_cluster: pg-test\n', 'pg_cluster: pg-test\n            pg_service_provider: lb\n', 1)
    path = OUT / 'reload-inventory.yml'
    path.write_text(change(text))
    return path


def play(path):
    """Runs the play, and says how much it changed on the load balancer."""
    out = lab('run', 'ansible-playbook', '-i', str(path), 'playbooks/pgsql.yml')
    return next(int(line.split('changed=')[1].split()[0]) for line in out.splitlines()
                if line.startswith(BALANCER) and 'changed=' in line)


class Load:
    """What the measuring client saw. Times are seconds since the epoch."""

    def __init__(self, path):
        self.path = path

    def sums(self, since=0.0, until=float('inf')):
        """The client's own sums of the sessions begun in a time."""
        head, *lines = self.path.read_text().splitlines()
        began = json.loads(head)['began'] / 1e6
        kept = [line for line in lines if line.endswith('}') and since <= began + json.loads(line)['at'] / 1e6 < until]
        done = subprocess.run([str(BINARY), 'measure', '--sum', '-', '--format', 'json'], text=True, check=True,
                              input='\n'.join([head, *kept]) + '\n', capture_output=True)
        return {target['name']: target for target in json.loads(done.stdout)['targets']}


@contextlib.contextmanager
def load(name, path, *more, rate):
    """The measuring client, from the controller, as long as the block runs."""
    words = [str(TOP / 'lab' / 'lab'), '--name', NAME, 'run', str(BINARY), 'measure', '--lines', '-i', str(path),
             '--host', BALANCER, '--rate', str(rate), '--direct', '2', '--seconds', '3600', '--sslmode', 'disable', *more]
    seen = Load(OUT / f'reload-{name}.jsonl')
    with open(seen.path, 'w', encoding='utf-8') as lines, \
            subprocess.Popen(words, stdout=lines, start_new_session=True, cwd=TOP) as client:
        try:
            time.sleep(1)
            if client.poll() is not None:
                sys.exit(f'the measuring client ended with {client.returncode}')
            yield seen
            # What began in the block has its time to end.
            time.sleep(1)
        finally:
            # Its own process group, which it leads.
            os.killpg(client.pid, signal.SIGTERM)


def patroni(node, path):
    """Whether a member's Patroni says 200 to a path."""
    address = f'10.10.10.1{node[-1]}'
    return subprocess.run(['nsenter', f'--net=/run/netns/pgsvc-{NAME}-ctl', 'curl', '-sf', '-m', '1', '-o', '/dev/null',
                           f'http://{address}:8008{path}'], check=False).returncode == 0


def switchover():
    """Begins one, and returns the process and the moment at which the new primary says that it is one."""
    leader = lab('leader').strip()
    target = 'node2' if leader == 'node1' else 'node1'
    process = subprocess.Popen([str(TOP / 'lab' / 'lab'), '--name', NAME, 'switchover', target], cwd=TOP,
                               stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not patroni(target, '/primary'):
        if time.monotonic() > end:
            sys.exit(f'{target} does not become the primary')
        time.sleep(0.02)
    return process, time.time()
