"""One load balancer and N clusters of four services and five members, in today's dialect of upstream, which pgsvc and
upstream's own tasks read alike. Members have the addresses that the stand-in of benches/scale plays."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'scale'))
from inventory import FIRST_PORT, MEMBERS, address, cluster_name, role  # noqa: E402

WEIGHT = 100


def services(cluster):
    """Of the cluster with that number, from 0."""
    primary, replica, default, offline = (FIRST_PORT + 4 * cluster + n for n in range(4))
    return [
        {'name': 'primary', 'port': primary, 'dest': 'pgbouncer', 'check': '/primary', 'selector': '[]'},
        {'name': 'replica', 'port': replica, 'dest': 'pgbouncer', 'check': '/read-only', 'selector': '[]',
         'backup': '[? pg_role == `primary` || pg_role == `offline` ]'},
        {'name': 'default', 'port': default, 'dest': 'postgres', 'check': '/primary', 'selector': '[]'},
        {'name': 'offline', 'port': offline, 'dest': 'postgres', 'check': '/replica',
         'selector': '[? pg_role == `offline` || pg_offline_query ]',
         'backup': '[? pg_role == `replica` && !pg_offline_query ]'},
    ]


def member(cluster, seq, weight):
    return {'ansible_host': address(cluster, seq), 'pg_seq': seq, 'pg_role': role(seq), 'pg_weight': weight}


def names(clusters):
    """(name, address) of every member: upstream's template has names, which HAProxy resolves when it loads."""
    return [(f'{cluster_name(c)}-{seq}', address(c, seq)) for c in range(clusters) for seq in range(1, MEMBERS + 1)]


def inventory(clusters, balancer, weight=WEIGHT):
    """JSON, which is YAML. `weight`: of the second member of the first cluster."""
    groups = {'lbs': {'hosts': {balancer['name']: balancer['vars']}}}
    for c in range(clusters):
        name = cluster_name(c)
        groups[name] = {
            'vars': {'pg_cluster': name, 'pg_service_provider': 'lbs', 'pg_default_services': services(c)},
            'hosts': {f'{name}-{seq}': member(c, seq, weight if (c, seq) == (0, 2) else WEIGHT)
                      for seq in range(1, MEMBERS + 1)}}
    return json.dumps({'all': {'vars': {'pgsvc_verify_user': 'dbuser_monitor', 'pgsvc_verify_database': 'test'},
                               'children': groups}}, indent=1) + '\n'


PORTS = {'postgres': 5432, 'pgbouncer': 6432}
ACTIVE = {'offline': lambda r: r == 'offline'}
BACKUP = {'replica': lambda r: r in ('primary', 'offline'), 'offline': lambda r: r == 'replica'}


def keys(clusters, weight=WEIGHT):
    """What a key-value store would hold, for confd: it has no selectors, so the tiers are worked out before."""
    tree = {}
    for c in range(clusters):
        for service in services(c):
            servers = {}
            for seq in range(1, MEMBERS + 1):
                active = ACTIVE.get(service['name'], lambda _: True)(role(seq))
                backup = BACKUP.get(service['name'], lambda _: False)(role(seq))
                if active or backup:
                    own = weight if (c, seq) == (0, 2) else WEIGHT
                    servers[f'{cluster_name(c)}-{seq}'] = (f'{address(c, seq)}:{PORTS[service["dest"]]} check port 8008 '
                                                           f'weight {own}{" backup" if backup else ""}')
            listener = f'{cluster_name(c)}-{service["name"]}'
            tree[listener] = {'port': str(service['port']), 'check': service['check'], 'servers': servers}
    return json.dumps({'pg': tree}) + '\n'
