"""The lab of virtual machines, its client's place, and who held an address when. No promise is judged here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
BINARY = TOP / 'library' / 'pgsvc'
OUT = TOP / 'target' / 'bench'
NAME = os.environ.get('PGSVC_LAB_NAME', 'vip')
MEMBERS, BALANCERS = ('node1', 'node2', 'node3'), ('lb1', 'lb2')
LAB = [str(TOP / 'lab' / 'lab'), '--name', NAME]
ENV = {**os.environ, 'ANSIBLE_CONFIG': str(TOP / 'ansible.cfg'), 'ANSIBLE_FORCE_COLOR': '0'}


def note(text):
    print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


def lab(*words, stdin='', check=True):
    done = subprocess.run([*LAB, *words], capture_output=True, text=True, cwd=TOP, input=stdin, check=False, env=ENV)
    if check and done.returncode:
        sys.exit(f"lab/lab {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.stdout


def on(node, text, **more):
    return lab('ssh', node, text, **more)


def inventory(form, shared, proxies=None):
    """The lab's inventory with a form's variables at its cluster."""
    lines = [f'{key}: {json.dumps(value)}' for key, value in shared.items()]
    if proxies:
        lines.append(f'pg_service_provider: {proxies}')
    lines.append('pgsvc_verify_database: postgres')
    text = lab('inventory').replace('pg_cluster: pg-test\n', 'pg_cluster: pg-test\n' + ''.join(
        f'            {line}\n' for line in lines), 1)
    path = OUT / f'vip-{form}.yml'
    path.write_text(text)
    return path


def play(path, *words, check=True):
    """Runs the play: seconds, {host: changed}, the output."""
    began = time.monotonic()
    out = lab('run', 'ansible-playbook', '-i', str(path), 'playbooks/pgsql.yml', *words, check=check)
    return time.monotonic() - began, {
        host: int(n) for host, n in re.findall(r'^(\S+)\s+: ok=\d+\s+changed=(\d+)', out, re.M)}, out


def login(path):
    """The monitor's login, which a client has no inventory host's variables for."""
    said = dict(re.findall(r'pgsvc_verify_(user|password): (\S+)', path.read_text()))
    return {'PGSVC_USER': said['user'], 'PGSVC_PASSWORD': said['password'], 'PGSVC_DATABASE': 'postgres'}


def through(path, *words):
    """Every port through the address, from the client's place, by SQL."""
    done = subprocess.run([*LAB, 'client', str(BINARY), 'verify', '--vip', '-i', str(path), '-c', 'pg-test', *words],
                          capture_output=True, text=True, cwd=TOP, env={**ENV, **login(path)}, check=False)
    return done.returncode, done.stdout + done.stderr


class Load:
    """What clients saw. Times are seconds since the epoch."""

    def __init__(self, path):
        self.path = path

    def head(self):
        head, *lines = self.path.read_text().splitlines()
        return json.loads(head), head, [json.loads(line) for line in lines if line.endswith('}')]

    def sums(self, since=0.0, until=float('inf')):
        told, head, samples = self.head()
        began = told['began'] / 1e6
        kept = [json.dumps(s) for s in samples if since <= began + s['at'] / 1e6 < until]
        done = subprocess.run([str(BINARY), 'measure', '--sum', '-', '--format', 'json'], text=True, check=True,
                              input='\n'.join([head, *kept]) + '\n', capture_output=True)
        return {target['name']: target for target in json.loads(done.stdout)['targets']}

    def gap(self, port, since):
        """The longest time from `since` on without a session that was served, in seconds."""
        told, _, samples = self.head()
        began = told['began'] / 1e6
        place = [t['name'] for t in told['targets']].index(port)
        served = sorted(began + (s['at'] + s['took']) / 1e6 for s in samples if s['to'] == place and 'error' not in s)
        served = [since, *(t for t in served if t >= since)]
        return max((b - a for a, b in zip(served, served[1:])), default=0.0)


@contextlib.contextmanager
def load(name, path, rate=10):
    """The measuring client at the client's place, as long as the block runs."""
    out = OUT / f'vip-{name}.jsonl'
    words = [*LAB, 'client', str(BINARY), 'measure', '--lines', '--vip', '-i', str(path), '-c', 'pg-test', '--rate', str(rate),
             '--direct', '0.01', '--seconds', '3600', '--sslmode', 'disable', '--port', '5433', '--port', '5434']
    with out.open('w') as file:
        client = subprocess.Popen(words, stdout=file, cwd=TOP, env={**ENV, **login(path)}, start_new_session=True)
    try:
        while not out.read_text():
            time.sleep(0.05)
            if client.poll() is not None:
                sys.exit(f'the measuring client ended with {client.returncode}')
        time.sleep(2)
        yield Load(out)
        time.sleep(1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(client.pid, signal.SIGTERM)
        client.wait()


class Watch:
    """Who has the address: every change as the nodes' kernels tell it."""

    def __init__(self, nodes, address):
        self.nodes, self.address, self.running = nodes, address, {}

    def __enter__(self):
        for node in self.nodes:
            # By lines: what is said is to be there when the machine is gone.
            script = (f"ip -o address show to {self.address}/32 | grep -qv ': lo ' && echo held; "
                      "exec stdbuf -oL ip -ts -o monitor address")
            self.running[node] = subprocess.Popen([*LAB, 'ssh', node, script], stdin=subprocess.DEVNULL, text=True,
                                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=TOP, env=ENV,
                                                  start_new_session=True)
        self.began = time.time()
        time.sleep(1)
        return self

    def __exit__(self, *_):
        self.told = {}
        for node, process in self.running.items():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            self.told[node] = process.communicate()[0].splitlines()

    def spans(self, gone=None):
        """(node, from, to) for every time that a node had the address; `gone`: {node: when its power was cut}."""
        spans = []
        for node, lines in self.told.items():
            since = self.began if 'held' in lines[:1] else None
            for line in lines:
                if f' {self.address}/' not in line or ' lo ' in line:
                    continue
                at = datetime.fromisoformat(re.search(r'\[([^]]+)\]', line)[1]).timestamp()
                if 'Deleted' in line:
                    if since is not None:
                        spans.append((node, since, at))
                    since = None
                elif since is None:
                    since = at
            if since is not None:
                spans.append((node, since, (gone or {}).get(node, float('inf'))))
        return sorted(spans, key=lambda span: span[1])


def overlap(spans):
    """The longest time that two nodes had the address at once, in seconds."""
    both = [min(a[2], b[2]) - b[1] for i, a in enumerate(spans) for b in spans[i + 1:] if a[0] != b[0]]
    return max([0.0, *both])


def holder(address, nodes):
    """The nodes that have the address now."""
    has = f"ip -o address show to {address}/32 | grep -v ': lo ' || true"
    return [node for node in nodes if on(node, has, check=False).strip()]


def until(what, seconds, test):
    """Waits for a test to give something; seconds and what it gave."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        found = test()
        if found:
            return time.monotonic() - began, found
        time.sleep(0.2)
    sys.exit(f'{what}: not seen in {seconds} s')
