"""4,000 ports of 1,000 clusters, verified: against members and ports that a stand-in plays (standin.rs), in a network
namespace of its own, without and with a password exchange. One member is slow: each of its answers takes SLOW milliseconds.
How long it keeps a verification is measured by that of its cluster alone; that of all must end within twice that and half a
second.

HAProxy is not here: its listeners would take the two cores that the stand-in needs. What it costs is the ports' own matter,
and is measured elsewhere (checks.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inventory import cluster_name, inventory

TOP = Path(__file__).resolve().parent.parent.parent
SLOW, SLOW_CLUSTER, PASSWORD, REST = 500, 7, 'stand-in-password', 500


def stand_in():
    subprocess.run(['cargo', 'build', '--release', '--locked', '--example', 'standin'], cwd=TOP, check=True)
    return TOP / 'target' / 'x86_64-unknown-linux-gnu' / 'release' / 'examples' / 'standin'


class Namespace:
    def __init__(self):
        self.name = f'pgsvc-ports-{os.getpid()}'

    def __enter__(self):
        subprocess.run(['ip', 'netns', 'add', self.name], check=True)
        for words in ('link set lo up', 'route add local 10.0.0.0/8 dev lo'):
            subprocess.run(['ip', '-n', self.name, *words.split()], check=True)
        # Everybody connects at once, and again.
        self.run('sysctl', '-qw', 'net.core.somaxconn=4096', 'net.ipv4.ip_local_port_range=30000 65000',
                 'net.ipv4.tcp_tw_reuse=1').check_returncode()
        return self

    def __exit__(self, *_):
        subprocess.run(['ip', 'netns', 'del', self.name], check=False)

    def run(self, *words, **more):
        return subprocess.run(['ip', 'netns', 'exec', self.name, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False, **more)


def verify(space, binary, hosts, clusters, password, only=None):
    """(milliseconds, ports that are right)"""
    words = [binary, 'verify', '-i', str(hosts), '--host', 'lb-1', '--format', 'json', '--timeout', '1',
             '--user', 'dbuser_monitor', '--sslmode', 'disable', *(['-c', only] if only else [])]
    began = time.perf_counter()
    done = space.run(*words, env={**os.environ, 'PGSVC_PASSWORD': password})
    took = (time.perf_counter() - began) * 1000
    if not done.stdout.startswith('{'):
        raise SystemExit(f'verify ended with {done.returncode}:\n{done.stderr[-2000:]}')
    ports = json.loads(done.stdout)['verify']
    right = sum(port['status'] == 'ok' for port in ports)
    wanted = 4 if only else 4 * clusters
    if done.returncode or right != wanted:
        wrong = next((port for port in ports if port['status'] != 'ok'), None)
        raise SystemExit(f'verify ended with {done.returncode}, {right} of {wanted} ports are right:\n{wrong}\n{done.stderr[-2000:]}')
    return took, right


def measure(work, binary, clusters=1000):
    """Milliseconds, and whether the goal is met, by whether there is a password exchange."""
    hosts, found, program = Path(work) / 'ports.yml', {}, stand_in()
    hosts.write_text(inventory(clusters))
    with Namespace() as space:
        for name, password in (('no password', ''), ('md5', PASSWORD)):
            words = ['ip', 'netns', 'exec', space.name, program, str(clusters), password, str(SLOW_CLUSTER), str(SLOW)]
            # Its connections are many: more files than a process has by default.
            process = subprocess.Popen(['prlimit', '--nofile=16384', *words], stdout=subprocess.PIPE, text=True)
            try:
                if process.stdout.readline() != 'ready\n':
                    raise SystemExit('the stand-in does not start')
                slowest = min(verify(space, binary, hosts, clusters, password, cluster_name(SLOW_CLUSTER))[0] for _ in range(2))
                other = min(verify(space, binary, hosts, clusters, password, cluster_name(SLOW_CLUSTER + 1))[0] for _ in range(2))
                took, ports = verify(space, binary, hosts, clusters, password)
            finally:
                process.kill()
                process.wait()
            limit = 2 * slowest + REST
            found[name] = {'ports': ports, 'all_ms': took, 'slowest_ms': slowest, 'another_ms': other, 'limit_ms': limit,
                           'good': took <= limit}
    return found


def table(found):
    rows = [f'{"verify, ms":16}{"ports":>8}{"all":>8}{"slowest cluster alone":>24}{"another alone":>16}']
    return rows + [f'{name:16}{p["ports"]:8,}{p["all_ms"]:8.0f}{p["slowest_ms"]:24.0f}{p["another_ms"]:16.0f}' for name, p in found.items()]


if __name__ == '__main__':
    with tempfile.TemporaryDirectory() as directory:
        print(json.dumps(measure(directory, sys.argv[1], *map(int, sys.argv[2:])), indent=1))
