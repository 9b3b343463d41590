"""What is done to each form of a virtual address, and what must hold of it. Each gives rows: what, the figure, kept."""

from __future__ import annotations

import time

from place import (MEMBERS, Watch, holder, inventory, lab, load, note, on, overlap, play, through, until)

PORTS = ('5433', '5434')


def form(name, shared, proxies, holders, counts):
    """Everything that is done to one form, and takes it away at the end."""
    path = inventory(name, shared, proxies)
    address = shared['vip_address']
    rows = installed(path, address, holders)
    if name == 'tun':
        return rows + removed(path, address, holders)
    rows += switched(name, path, address, holders, counts)
    rows += crashed(name, path, address, holders, counts)
    rows += daemon_killed(name, path, address, holders, counts)
    if holders != MEMBERS:
        rows += powered_off(name, path, address, holders, counts)
        rows += cut_off(path, address, holders)
    rows += reloaded(name, path, counts)
    rows += removed(path, address, holders)
    return rows


def installed(path, address, holders):
    took, _, out = play(path)
    note(f'first play {took:.1f} s')
    _, again, _ = play(path)
    _, held = until('a holder', 20, lambda: holder(address, holders))
    wait, (code, text) = until('right ports', 30, lambda: right(path))
    for line in text.splitlines():
        note('  ' + line)
    return [('second play changes', ' '.join(f'{host}={n}' for host, n in again.items()), not any(again.values())),
            ('holders', ' '.join(held), len(held) == 1),
            ('ports right through the address, by SQL, after (s)', f'{wait:.1f}', code == 0)]


def right(path):
    code, text = through(path)
    return (code, text) if code == 0 else None


def measured(name, path, address, holders, counts, act, gone=None):
    """Does something under load: rows of what clients saw of it, and of who held the address."""
    with Watch(holders, address) as watch, load(name, path, counts['rate']) as sessions:
        began = time.time()
        act()
        back, _ = until('right ports', 60, lambda: right(path))
        time.sleep(3)
    cut = {node: began for node in gone or ()}
    spans = watch.spans(cut)
    sums = sessions.sums(since=began)
    wrong = {port: sums[port]['misrouted'] for port in PORTS}
    gaps = {port: sessions.gap(port, began) for port in PORTS}
    moves = [f'{node}@{start - began:+.2f}' for node, start, _ in spans if start > began]
    return back, sums, wrong, gaps, moves, overlap(spans)


def rows_of(what, found, may_misroute=False):
    back, sums, wrong, gaps, moves, both = found
    told = sum(sums[port]['sessions'] - sums[port]['failed'] for port in PORTS)
    return [(f'{what}: ports right again after, s', f'{back:.1f}', True),
            ('  longest time without a served session, s', ' '.join(f'{port}: {gaps[port]:.1f}' for port in PORTS), True),
            ('  misrouted on 5433', f'{wrong["5433"]} of {told} on both ports', may_misroute or wrong['5433'] == 0),
            ('  on 5434', f'{wrong["5434"]}', True),
            ('  the address came to', ' '.join(moves) or 'nobody else', True),
            ('  two holders at once, s', f'{both:.2f}', both == 0)]


def switched(name, path, address, holders, counts):
    note('switchover')
    return rows_of('switchover', measured(f'{name}-switchover', path, address, holders, counts,
                                          lambda: lab('switchover')), True)


def crashed(name, path, address, holders, counts):
    note('kill -9 of the primary')
    kill = 'kill -9 $(head -1 /var/lib/postgresql/15/pg-test/postmaster.pid)'
    return rows_of('kill -9 of the primary', measured(f'{name}-crash', path, address, holders, counts,
                                                      lambda: on(lab('leader').strip(), kill)), True)


def daemon_killed(name, path, address, holders, counts):
    note('kill -9 of keepalived')

    def act():
        on(holder(address, holders)[0], 'kill -9 $(systemctl show -p MainPID --value keepalived)')

    return rows_of('kill -9 of the holder\'s keepalived', measured(f'{name}-daemon', path, address, holders, counts, act))


def powered_off(name, path, address, holders, counts):
    note('power cut of the holder')
    node = holder(address, holders)[0]
    rows = rows_of('power cut of the holder', measured(f'{name}-power', path, address, holders, counts,
                                                       lambda: lab('kill', node), gone=[node]))
    lab('start')
    back = lambda: on(node, 'systemctl is-active keepalived || true', check=False).strip() == 'active'  # noqa: E731
    until(f'{node} back', 120, back)
    time.sleep(5)
    held = holder(address, holders)
    return [*rows, ('  holders when it is back', ' '.join(held), len(held) == 1)]


def cut_off(path, address, holders):
    """The holder cannot reach any member: it gives the address up."""
    note('the holder is cut off from all members')
    node = holder(address, holders)[0]
    routes = ['10.10.10.11', '10.10.10.12', '10.10.10.13']
    with Watch(holders, address) as watch:
        began = time.time()
        on(node, '; '.join(f'ip route add unreachable {ip}/32' for ip in routes))
        until('another holder', 60, lambda: [n for n in holder(address, holders) if n != node])
        moved = time.time() - began
        code, _ = until('right ports', 30, lambda: right(path))[1]
        on(node, '; '.join(f'ip route del unreachable {ip}/32' for ip in routes))
        time.sleep(8)
    both = overlap(watch.spans())
    return [('cut off from all members: the address moved after, s', f'{moved:.1f}', code == 0),
            ('  two holders at once, s', f'{both:.2f}', both == 0)]


def reloaded(name, path, counts):
    """Reloads of keepalived where it stands, under load; and beside it a configuration as it is usually written."""
    rows = []
    for way in ('pgsvc', 'plain') if name in ('dr', 'nat') else ('pgsvc',):
        note(f'{counts["reloads"]} reloads of keepalived, {way}')
        files = '/etc/keepalived/pgsvc.d/*.conf'
        if way == 'plain':
            for node in ('lb1', 'lb2'):
                on(node, f"sed -i.pgsvc '/^ *alpha$/d' {files}; systemctl reload keepalived")
            time.sleep(5)
        with load(f'{name}-reload-{way}', path, counts['rate']) as sessions:
            began = time.time()
            for _ in range(counts['reloads']):
                for node in holders_of(name):
                    on(node, 'systemctl reload keepalived')
                time.sleep(2)
        sums = sessions.sums(since=began)
        if way == 'plain':
            for node in ('lb1', 'lb2'):
                on(node, 'cd /etc/keepalived/pgsvc.d && for f in *.pgsvc; do mv $f ${f%.pgsvc}; done; '
                         'systemctl reload keepalived')
            time.sleep(3)
        wrong, failed, all_ = (sum(sums[port][key] for port in PORTS) for key in ('misrouted', 'failed', 'sessions'))
        rows.append((f'{counts["reloads"]} reloads, {way}: misrouted, failed', f'{wrong}, {failed} of {all_}',
                     way == 'plain' or wrong == failed == 0))
    return rows


def holders_of(name):
    return MEMBERS if name == 'l2' else ('lb1', 'lb2')


def removed(path, address, holders):
    note('removed')
    lab('run', 'ansible-playbook', '-i', str(path), 'playbooks/remove.yml', '-e', 'pg_cluster_to_remove=pg-test')
    held = holder(address, holders)
    left = [node for node in holders if on(node, 'ls /etc/keepalived/pgsvc.d/*.conf 2>/dev/null || true').strip()]
    return [('removed: holders, files left', f'{len(held)}, {len(left)}', not held and not left)]
