"""Inventories of any size: one load balancer, N clusters of four services and five members, ports of their own."""

from __future__ import annotations

MEMBERS = 5
FIRST_PORT = 20000

SERVICES = (
    "{{name: primary, src_port: {0}, dst_port: pgbouncer, check_url: /primary, selector: '[]'}}",
    "{{name: replica, src_port: {1}, dst_port: pgbouncer, check_url: /read-only, selector: '[]', "
    "selector_backup: '[? pg_role == `primary` || pg_role == `offline` ]'}}",
    "{{name: default, src_port: {2}, dst_port: postgres, check_url: /primary, selector: '[]'}}",
    "{{name: offline, src_port: {3}, dst_port: postgres, check_url: /replica, "
    "selector: '[? pg_role == `offline` || pg_offline_query ]', "
    "selector_backup: '[? pg_role == `replica` && !pg_offline_query ]'}}",
)


def cluster_name(number: int) -> str:
    return f'pg-{number:05d}'


def address(number: int, member: int) -> str:
    """Of the member (from 1) of a cluster (from 0)."""
    k = number * MEMBERS + member
    return f'10.{1 + k // 62500}.{k // 250 % 250}.{k % 250 + 1}'


def role(member: int) -> str:
    return {1: 'primary', MEMBERS: 'offline'}.get(member, 'replica')


def inventory(clusters: int, weights: dict[tuple[int, int], int] | None = None, place=address) -> str:
    """YAML. `weights`: pg_weight by (cluster, member)."""
    lines = ['all:', '  children:', '    lbs:', '      hosts:', '        lb-1: {ansible_host: 10.0.0.1}']
    for c in range(clusters):
        name = cluster_name(c)
        ports = [FIRST_PORT + 4 * c + i for i in range(4)]
        lines += [f'    {name}:', '      vars:', f'        pg_cluster: {name}',
                  '        pg_service_provider: lbs', '        pg_services:']
        lines += [f'          - {service.format(*ports)}' for service in SERVICES]
        lines.append('      hosts:')
        for m in range(1, MEMBERS + 1):
            weight = (weights or {}).get((c, m))
            more = '' if weight is None else f', pg_weight: {weight}'
            lines.append(f'        {name}-{m}: {{ansible_host: {place(c, m)}, pg_seq: {m}, pg_role: {role(m)}{more}}}')
    return '\n'.join(lines) + '\n'
