"""What goes wrong, fault by fault: how it is done and undone, how long it lasts, what 'pgsvc verify' has to say of it
meanwhile, and which reads it sends elsewhere by policy. docs/faults.md has the policies in words.

A fault has a moment to settle, in seconds from its beginning; then verify is asked, and has to name the cause."""

from __future__ import annotations

import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Callable

from stage import ADDRESS, BALANCER, BALANCER_ADDRESS, DATA, MEMBERS, PGSVC, api, configure, lab, leader, on, sql

# One word for a port after the other, as verify's table has them.
GOOD = [r'^pg-test +primary .* ok ', r'^pg-test +replica .* ok ', r'^pg-test +default .* ok ', r'^pg-test +offline .* ok ']
ON_WRITES, ON_POOLER, ON_DIRECT = (rf'^pg-test +{name} .* WRONG' for name in ('(primary|default)', 'primary', 'default'))
READS = r'^pg-test +replica .* ok '
NO_LEADER = (ON_WRITES, 'wrong: no leader')


@dataclass
class Scene:
    """Who was who when the fault began, and how the load balancer is edited in this setup."""

    setup: str
    primary: str
    replica: str
    sync: bool = False
    kept: dict = field(default_factory=dict)

    @property
    def instance(self):
        return MEMBERS[self.primary]

    @property
    def other(self):
        return MEMBERS[self.replica]

    def edit(self, what):
        if self.setup == 'pgsvc':
            return on(BALANCER, f'{PGSVC} apply -i /root/chaos-{what}.yml')
        return on(BALANCER, f'/root/plain-edit {what}')


@dataclass(frozen=True)
class Fault:
    name: str
    do: Callable[[Scene], object]
    undo: Callable[[Scene], object]
    lasts: float
    settles: float
    # Regular expressions that verify's answer has to match, all of them; {primary} and {replica} are instances. Or what
    # gives them, where they depend on what the members did.
    says: tuple[str, ...] | Callable[[Scene], tuple[str, ...]]
    # The active replica is out by policy: reads on the primary are no mistake then.
    reads_leave: bool = False


def nothing(_):
    return None


def switch(s):
    body = f'{{"leader": "{s.instance}", "candidate": "{s.other}"}}'
    if api(s.primary, '/switchover', '-m', '30', '-X', 'POST', '-d', body) is None:
        raise RuntimeError('Patroni refuses the switchover')


def postmaster(node):
    return f'$(head -1 {DATA}/postmaster.pid)'


def signal(node, which, pid):
    on(node, f'kill -{which} {pid}')


def patroni_pid(_):
    return '$(systemctl show -p MainPID --value patroni)'


def silence(node):
    on(node, 'nft add table ip chaos && nft add chain ip chaos in "{ type filter hook input priority 0; }" && '
             f'nft add rule ip chaos in ip saddr {BALANCER_ADDRESS} drop')


def hear(node):
    on(node, 'nft delete table ip chaos')


def etcd(verb):
    # All at once: Patroni 3.0 steps down in failsafe mode too, when etcd answers the first half of its loop alone.
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: on(node, f'systemctl --no-block {verb} etcd'), ADDRESS))


def failsafe(s):
    configure(failsafe_mode=True)
    # Members learn of it, and of each other, in their next loops.
    time.sleep(5)
    etcd('stop')


def failsafe_over(_):
    etcd('start')
    time.sleep(6)
    configure(failsafe_mode=False)


def leads(node):
    return sql(node, 'select pg_is_in_recovery()').strip() == 'f'


def certificate(node, which):
    on(node, f'cp /etc/patroni/{which}.crt /etc/patroni/api.crt && systemctl reload patroni')


def fill(s):
    on(s.primary, 'setsid sudo -u postgres python3 - </root/fill.py >/dev/null 2>&1 & echo $! >/root/fill.pid')


def empty(s):
    # The whole session that setsid began: sudo and python.
    on(s.primary, 'kill -TERM $(pgrep -s "$(cat /root/fill.pid)") || true')


def receiver(s):
    return on(s.replica, "pgrep -f 'postgres: pg-test: walreceiver'").strip()


def wedge(s):
    s.kept['receiver'] = receiver(s)
    signal(s.replica, 'STOP', s.kept['receiver'])
    more = "select count(pg_logical_emit_message(false, 'chaos', repeat('x', 1 << 20))) from generate_series(1, 80)"
    sql(s.primary, more)


def unwedge(s):
    on(s.replica, f"kill -CONT {s.kept['receiver']} || true")


def reload(_):
    on(BALANCER, 'for n in 1 2 3; do systemctl reload haproxy; sleep 1; done')


def stopped(s):
    signal(s.primary, 'STOP', postmaster(s.primary))


def continued(s):
    signal(s.primary, 'CONT', postmaster(s.primary))


def pooler(verb):
    return lambda s: on(s.primary, f'systemctl {verb} pgbouncer')


def edit(what):
    return lambda s: s.edit(what)


ALL = (
    Fault('switchover', switch, nothing, 10, 7, tuple(GOOD)),
    Fault('kill-postmaster', lambda s: signal(s.primary, 'KILL', postmaster(s.primary)), nothing, 12, 9, tuple(GOOD)),
    Fault('stop-patroni', lambda s: signal(s.primary, 'STOP', patroni_pid(s)), lambda s: signal(s.primary, 'CONT', patroni_pid(s)),
          26, 18, (r"{primary}: Patroni's API is dead, PostgreSQL answers", 'wrong: two primaries: ')),
    Fault('stop-postmaster', stopped, continued, 14, 6, (ON_DIRECT, '{primary}: Patroni says primary, but PostgreSQL is dead', READS)),
    Fault('partition-primary', lambda s: silence(s.primary), lambda s: hear(s.primary), 16, 9,
          (ON_WRITES, '{primary}: does not answer, neither Patroni nor PostgreSQL', READS)),
    Fault('partition-replica', lambda s: silence(s.replica), lambda s: hear(s.replica), 16, 11,
          ('{replica}: does not answer, neither Patroni nor PostgreSQL', READS), reads_leave=True),
    Fault('cut-primary', lambda s: lab('cut', s.primary), lambda s: lab('mend', s.primary), 26, 20,
          ('{primary}: does not answer, neither Patroni nor PostgreSQL', GOOD[0])),
    Fault('etcd-down', lambda s: etcd('stop'), lambda s: etcd('start'), 20, 14, NO_LEADER),
    # Whether Patroni keeps its word is its own matter; verify has to say what became of it.
    Fault('etcd-down-failsafe', failsafe, failsafe_over, 24, 18, lambda s: tuple(GOOD) if leads(s.primary) else NO_LEADER),
    Fault('pause', lambda s: configure(pause=True), lambda s: configure(pause=False), 8, 4, (*GOOD, 'note: Patroni is paused')),
    Fault('pooler-dead', pooler('stop'), pooler('start'), 12, 5,
          (ON_POOLER, '{primary}: the pooler on port 6432 is dead, PostgreSQL answers', GOOD[2])),
    Fault('certificate', lambda s: certificate(s.primary, 'expired'), lambda s: certificate(s.primary, 'good'), 14, 8,
          (ON_WRITES, "{primary}: Patroni's API is not trusted: look at its certificate and patroni_ca_file", READS)),
    Fault('saturated', fill, empty, 16, 10, (ON_DIRECT, r'53300', READS)),
    Fault('broken-replication', wedge, unwedge, 16, 9, (r'{replica}: stale replica \([0-9]+ MB behind\)', READS)),
    Fault('reload', reload, nothing, 8, 5, tuple(GOOD)),
    Fault('edit-weight', edit('weight'), edit('base'), 8, 4, tuple(GOOD)),
    Fault('edit-timeout', edit('timeout'), edit('base'), 8, 4, tuple(GOOD)),
    Fault('edit-service', edit('service'), edit('base'), 8, 4, (*GOOD, r'^pg-test +chaos .* ok ')),
    Fault('apply-nothing', edit('base'), nothing, 6, 3, tuple(GOOD)),
)
BY_NAME = {fault.name: fault for fault in ALL}


def ask_verify(s, fault):
    """Verify's answer on the load balancer, and which of the expected words it lacks."""
    words = fault.says(s) if callable(fault.says) else fault.says
    said = on(BALANCER, f'{shlex.quote(PGSVC)} verify -v --timeout 2 2>&1', check=False)
    wanted = [word.replace('{primary}', s.instance).replace('{replica}', s.other) for word in words]
    return said, [word for word in wanted if not re.search(word, said, re.M)]


def scene(setup, sync):
    """Who is who now; None where nobody leads."""
    first = leader()
    if first not in ('node1', 'node2'):
        return None
    return Scene(setup, first, 'node2' if first == 'node1' else 'node1', sync)
