"""What the bench does, item by item. Each gives rows: what, the figure with pgsvc, the plain way's, the promise kept."""

from __future__ import annotations

import json
import subprocess
import threading
import time

from bench import (BALANCER, NAME, TOP, inventory, lab, load, node_tool, note, on, play, switchover)

PORTS = ('5433', '5434')
ONLY = [word for port in PORTS for word in ('--port', port)]


def bound(sums, ports=PORTS):
    """`0 of 12000 (< 0.025 % at 95 %)`: none seen in n means fewer than 3/n."""
    wrong = sum(sums[port]['misrouted'] for port in ports)
    told = sum(sums[port]['sessions'] - sums[port]['failed'] for port in ports)
    return f'{wrong} of {told}' + (f' (<{300 / told:.4f} %)' if told and not wrong else ''), wrong


def ways(*chosen):
    """Runs each way's part with the node as that way has it."""
    for way in chosen:
        out = on(BALANCER, '/root/bench-plain', 'on' if way == 'plain' else 'off')
        if way == 'plain':
            note('the plain way is without these lines:')
            for line in out.splitlines():
                if line[:1] in '+-' and line[:3] not in ('+++', '---'):
                    note('  ' + line)
        time.sleep(6)
        yield way
    on(BALANCER, '/root/bench-plain', 'off')


def latency(sums):
    return ' '.join(f'{port}: {sums[port]["p50"] / 1000:.1f}/{sums[port]["p99"] / 1000:.0f}' for port in PORTS)


def reloads(counts):
    """1: systemctl reload haproxy, again and again, under load."""
    path, seen = inventory(), {}
    for way in ways('pgsvc', 'plain'):
        note(f'{counts["reloads"]} reloads, {way}')
        with load(f'reloads-{way}', path, *ONLY, rate=counts['rate']) as sessions:
            done = node_tool('reload', counts['reloads'], counts['pause'])
        seen[way] = sessions.sums(), done
    rows = []

    def row(what, figure, promise=None):
        values = {way: figure(*seen[way]) for way in seen}
        rows.append((what, str(values['pgsvc']), str(values['plain']), promise(values['pgsvc']) if promise else True))

    total = counts['reloads']
    row('reloads with a new worker', lambda _, done: len({d['after'] for d in done if d['new']}), lambda n: n == total)
    row('sessions', lambda sums, _: sum(sums[port]['sessions'] for port in PORTS), lambda n: n > 0)
    row('failed', lambda sums, _: sum(sums[port]['failed'] for port in PORTS), lambda n: n == 0)
    row('misrouted', lambda sums, _: bound(sums)[0], lambda text: text.startswith('0 '))
    for port in PORTS:
        row(f'  of these on {port}', lambda sums, _, port=port: sums[port]['misrouted'])
    row('p50/p99 ms', lambda sums, _: latency(sums))
    row('a reload takes, s (median)', lambda _, done: f"{sorted(d['told'] for d in done)[len(done) // 2]:.2f}")
    return rows


def starts(counts):
    """2: cold starts, reboots, reloads by hand right after a switchover."""
    path, rows = inventory(), []
    seen = {}
    for way in ways('pgsvc', 'plain'):
        note(f'{counts["starts"]} cold starts, {way}')
        with load(f'starts-{way}', path, *ONLY, rate=counts['rate']) as sessions:
            done = node_tool('restart', counts['starts'], counts['pause'])
        seen[way] = bound(sessions.sums()), sum(d['new'] for d in done)
    rows.append((f'{counts["starts"]} cold starts: misrouted', seen['pgsvc'][0][0], seen['plain'][0][0],
                 seen['pgsvc'][0][1] == 0 and seen['pgsvc'][1] == counts['starts']))
    rows += reboots(counts, path)
    seen = {}
    for way in ways('pgsvc', 'plain'):
        seen[way] = after_switchover(counts, path, way)
    rows.append((f'{counts["switchovers"]} reloads at a switchover: misrouted, 5433', seen['pgsvc'][0][0],
                 seen['plain'][0][0], seen['pgsvc'][0][1] == 0))
    rows.append(('  on the primary of 5434 though a replica answers', seen['pgsvc'][1], seen['plain'][1], True))
    return rows


def reboots(counts, path):
    """Two of them with members and name service silent, as far as the load balancer can see."""
    wrong, took = [], []
    for number in range(counts['reboots']):
        silent = number >= counts['reboots'] - 2
        note(f'reboot {number + 1}{", two members and the name service silent" if silent else ""}')
        if silent:
            silence(True)
        ports = ('5433',) if silent else PORTS
        with load(f'reboot-{number}', path, *[w for p in ports for w in ('--port', p)], rate=counts['rate']) as sessions:
            lab('kill', BALANCER)
            lab('start')
            time.sleep(8)
        wrong.append(bound(sessions.sums(), ports))
        took.append(start_time())
        if silent:
            silence(False)
    told = sum(int(text.split()[2]) for text, _ in wrong)
    count = sum(n for _, n in wrong)
    figure = f'{count} of {told}' + (f' (<{300 / told:.4f} %)' if told and not count else '')
    return [(f'{counts["reboots"]} reboots: misrouted', figure, '', count == 0 and told > 0),
            ('  HAProxy active after, s (at most)', f'{max(took):.2f}', '', max(took) < 5)]


def silence(on_now):
    """Two members drop what the load balancer sends, and its resolver asks an address that nobody has."""
    rules = ('nft add table ip bench; nft add chain ip bench in "{ type filter hook input priority 0; }"; '
             'nft add rule ip bench in ip saddr 10.10.10.21 drop')
    leader = lab('leader').strip()
    for node in {'node1', 'node2', 'node3'} - {leader} if on_now else ('node1', 'node2', 'node3'):
        on(node, rules if on_now else 'nft delete table ip bench 2>/dev/null || true')
    on(BALANCER, 'echo nameserver 10.10.10.99 >/etc/resolv.conf' if on_now else ': >/etc/resolv.conf')


def start_time():
    """Seconds from the unit's first step (what runs before it included) to HAProxy's word that it is ready."""
    out = on(BALANCER, 'systemctl show haproxy -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic')
    at = dict(line.split('=') for line in out.split())
    return (int(at['ActiveEnterTimestampMonotonic']) - int(at['InactiveExitTimestampMonotonic'])) / 1e6


def after_switchover(counts, path, way):
    """Reloads by hand at the moment at which the new primary says that it is one."""
    wrong = told = on_primary = 0
    for number in range(counts['switchovers']):
        note(f'switchover {number + 1} and a reload, {way}')
        with load(f'switchover-{way}', path, *ONLY, rate=counts['rate']) as sessions:
            process, _ = switchover()
            begun = node_tool('reload', 1, 0)[0]['at']
            process.wait()
            time.sleep(3)
        sums = sessions.sums(since=begun)
        wrong += sums['5433']['misrouted']
        told += sums['5433']['sessions'] - sums['5433']['failed']
        on_primary += sums['5434']['misrouted']
    return ((f'{wrong} of {told}' + (f' (<{300 / told:.4f} %)' if told and not wrong else ''), wrong), on_primary)


def sessions(counts):
    """3: sessions through 5433 and the pooler over a switchover: one of before a reload, one of after it."""
    rows, seen = [], {}
    for way in ways('pgsvc', 'plain'):
        note(f'held sessions over a switchover, {way}')
        held = {}

        def keep(which):
            held[which] = node_tool('hold', 5433, counts['hold'])

        threads = []
        for which in ('before', 'after'):
            if which == 'after':
                node_tool('reload', 1, 1)
            threads.append(threading.Thread(target=keep, args=(which,)))
            threads[-1].start()
            time.sleep(1.5)
        process, at = switchover()
        process.wait()
        for thread in threads:
            thread.join()
        seen[way] = {which: cut_after(lines, at) for which, lines in held.items()}
    for which in ('before', 'after'):
        mine = seen['pgsvc'][which]
        rows.append((f'a session of {which} a reload is cut after, s', text_of(mine), text_of(seen['plain'][which]),
                     mine is not None and mine < counts['cut']))
    return rows


def cut_after(lines, at):
    """Seconds from the new primary's word to the end of the session; None where it lived on."""
    return next((line['cut'] - at for line in lines if 'cut' in line), None)


def text_of(seconds):
    return 'not cut' if seconds is None else f'{seconds:.1f}'


def runtime(counts):
    """4: a weight is changed, a replica is added: the same worker, sessions untouched, nothing to do for the next run."""
    rows = []
    two = inventory(lambda text: ''.join(line for line in text.splitlines(True) if 'node3:' not in line))
    on(BALANCER, 'lab-reset')
    play(two)
    changes = [('a weight', lambda text: text.replace('pg_seq: 2,', 'pg_seq: 2, pg_weight: 50,')
                .replace(next(line for line in text.splitlines(True) if 'node3:' in line), '')),
               ('a replica', lambda text: text.replace('pg_seq: 2,', 'pg_seq: 2, pg_weight: 50,')
                .replace('pg_role: offline', 'pg_role: replica'))]
    for what, change in changes:
        note(f'{what} is changed while HAProxy serves')
        before = node_tool('worker')[0]['worker']
        held = []
        thread = threading.Thread(target=lambda: held.extend(node_tool('hold', 5434, counts['change'])))
        thread.start()
        time.sleep(1)
        path = inventory(change)
        with load('runtime', path, *ONLY, rate=counts['rate'] / 2) as sessions_seen:
            first = play(path)
        after, second = node_tool('worker')[0]['worker'], play(path)
        thread.join()
        figures, wrong = bound(sessions_seen.sums())
        alive = any('alive' in line for line in held)
        rows.append((f'{what}: same worker, changed, next run', f'{after == before}, {first}, {second}', '',
                     after == before and first > 0 and second == 0))
        rows.append(('  sessions: held one lives, misrouted', f'{alive}, {figures}', '', alive and wrong == 0))
    on(BALANCER, 'lab-reset')
    play(inventory())
    return rows


def version():
    return node_tool('worker')[0]['version']


ITEMS = {'1': reloads, '2': starts, '3': sessions, '4': runtime}
