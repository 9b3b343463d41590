"""Health checks that reach the members, counted: a real HAProxy with rendered files, and one stand-in for everybody's
endpoints, in a network namespace of its own (`unshare --net`), which ends with it.

Each set is loaded as it is rendered, and again with every check that another one repeats (same member, same steps, same
times) made once: the later server tracks the first. That is the most that sharing could save.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import subprocess
import sys
import time
from pathlib import Path

from inventory import MEMBERS, inventory

PORTS = {'patroni': 8008, 'pgbouncer': 6432, 'postgres': 5432}
# Two more services for the same pooler and the same role, as reporting and batch users have: the same checks again.
TWINS = [('primary', 'batch', 40000), ('replica', 'reporting', 50000)]


def place(cluster: int, member: int) -> str:
    return f'127.{1 + cluster // 200}.{cluster % 200}.{member}'


def with_twins(text: str) -> str:
    """The inventory with each TWINS service beside its model."""
    out = []
    for line in text.splitlines():
        out.append(line)
        for model, twin, first in TWINS:
            if f'{{name: {model},' in line:
                port = int(re.search(r'src_port: (\d+)', line).group(1))
                out.append(line.replace(f'name: {model},', f'name: {twin},').replace(f'src_port: {port}', f'src_port: {first + port % 10000}'))
    return '\n'.join(out) + '\n'


def share(conf_d: Path) -> tuple[int, int]:
    """Makes repeated checks once, in place. (checked servers, of which the first of their kind)"""
    first: dict[tuple, str] = {}
    servers = 0
    for path in sorted(conf_d.glob('*.cfg')):
        out, section, steps = [], '', []
        for line in path.read_text().splitlines():
            words = line.split()
            if words and not line.startswith((' ', '#')):
                section, steps = words[1] if len(words) > 1 else '', []
            elif words and (words[0] in ('http-check', 'default-server') or words[:2] == ['option', 'httpchk']):
                steps.append(line)
            elif words and words[0] == 'server' and 'check' in words:
                servers += 1
                check = re.search(r' check port \d+', line).group(0)
                kind = (words[2].rsplit(':', 1)[0], check, tuple(steps))
                known = first.setdefault(kind, f'{section}/{words[1]}')
                if known != f'{section}/{words[1]}':
                    line = line.replace(check, f' track {known}')
            out.append(line)
        path.write_text('\n'.join(out) + '\n')
    return servers, len(first)


class Members:
    """Everybody's Patroni, pooler and PostgreSQL: the first member of each cluster leads."""

    def __init__(self) -> None:
        self.requests: list[float] = []
        self.connections: list[float] = []

    async def patroni(self, reader, writer) -> None:
        try:
            path = (await reader.readline()).split()[1].decode()
            self.requests.append(time.monotonic())
            leads = writer.get_extra_info('sockname')[0].endswith('.1')
            good = path.startswith('/read-only') or leads == (path in ('/', '/primary', '/leader'))
            writer.write(b'HTTP/1.0 %d x\r\nContent-Length: 0\r\n\r\n' % (200 if good else 503))
            await writer.drain()
        except (IndexError, ConnectionError):
            pass
        writer.close()

    async def port(self, _reader, writer) -> None:
        self.connections.append(time.monotonic())
        writer.close()


async def watched(config: Path, seconds: float) -> dict:
    members = Members()
    servers = [await asyncio.start_server(members.patroni, '0.0.0.0', PORTS['patroni'], backlog=4096)]
    for name in ('pgbouncer', 'postgres'):
        servers.append(await asyncio.start_server(members.port, '0.0.0.0', PORTS[name], backlog=4096))
    haproxy = await asyncio.create_subprocess_exec(
        'haproxy', '-db', '-f', str(config / 'haproxy.cfg'), '-f', str(config / 'conf.d'), stderr=asyncio.subprocess.DEVNULL)
    await asyncio.sleep(12)
    members.requests.clear()
    members.connections.clear()
    began, cpu = time.monotonic(), os.times()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    alive = haproxy.returncode is None
    if alive:
        haproxy.terminate()
        await haproxy.wait()
    for server in servers:
        server.close()
    if not alive or not members.requests:
        sys.exit(f'HAProxy ended with {haproxy.returncode}, or nobody was checked')
    busiest = max(sum(1 for t in members.requests if a <= t < a + 0.1)
                  for a in (began + i * 0.1 for i in range(int(took * 10))))
    return {'requests_s': len(members.requests) / took, 'connections_s': len(members.connections) / took,
            'peak': busiest / (len(members.requests) / took * 0.1),
            'standin_cpu': (os.times().user - cpu.user + os.times().system - cpu.system) / took}


def prepared(binary: str, work: Path, name: str, hosts: str) -> Path:
    root = work / f'checks-{name}'
    (work / f'{name}.yml').write_text(hosts)
    done = subprocess.run([binary, 'render', '-i', str(work / f'{name}.yml'), '--host', 'lb-1', '--out', str(root)],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    config = root / 'etc/haproxy'
    for path in [config / 'haproxy.cfg', *(config / 'conf.d').glob('*.cfg')]:
        text = re.sub(r'/run/(haproxy|pgsvc)', str(root), path.read_text())
        path.write_text(re.sub(r'^    (user|group|chroot|daemon)\b.*\n', '', text, flags=re.M))
    return config


def inside(binary: str, work: Path, clusters: int, seconds: float) -> list[dict]:
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    plain = inventory(clusters, place=place)
    found = []
    for name, hosts in (('four services', plain), ('and two with the same checks', with_twins(plain))):
        config = prepared(binary, work, name.split()[0], hosts)
        before = asyncio.run(watched(config, seconds))
        servers, kinds = share(config / 'conf.d')
        after = asyncio.run(watched(config, seconds))
        found.append({'set': name, 'clusters': clusters, 'members': clusters * MEMBERS, 'checks': servers,
                      'distinct': kinds, 'before': before, 'after': after})
    return found


def measure(binary: str, work: Path, clusters: int, seconds: float) -> list[dict]:
    done = subprocess.run(['unshare', '--net', sys.executable, __file__, binary, str(work), str(clusters), str(seconds)],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'health checks: {done.stderr[-2000:]}')
    return json.loads(done.stdout)


def table(found: list[dict]) -> list[str]:
    rows = [f'{"health checks":32}{"checks":>8}{"distinct":>10}{"at a member, per second":>25}{"shared":>8}{"busiest 0.1 s":>15}']
    for f in found:
        rows.append(f'{f["set"]:32}{f["checks"]:8}{f["distinct"]:10}{f["before"]["requests_s"] / f["members"]:25.2f}'
                    f'{f["after"]["requests_s"] / f["members"]:8.2f}{f["before"]["peak"]:14.1f}x')
    return rows


if __name__ == '__main__':
    assert pwd.getpwuid(os.getuid()).pw_name == 'root'
    print(json.dumps(inside(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
