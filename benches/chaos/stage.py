"""The stage: the lab's nodes, Patroni's API over TLS, the client's login and table, the load balancer either way. What goes
wrong there is in faults.py, what came of it in reckon.py."""

from __future__ import annotations

import base64
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
NAME = os.environ.get('PGSVC_LAB_NAME', 'chaos')
PATRONI = os.environ.get('PATRONI') or '4.1.5'
LAB = Path(os.environ.get('PGSVC_LAB_DIR', TOP / 'target' / 'lab')) / 'labs' / NAME
BALANCER, BALANCER_ADDRESS = 'lb1', '10.10.10.21'
MEMBERS = {'node1': 'pg-test-1', 'node2': 'pg-test-2', 'node3': 'pg-test-3'}
NODES = {instance: node for node, instance in MEMBERS.items()}
ADDRESS = {'node1': '10.10.10.11', 'node2': '10.10.10.12', 'node3': '10.10.10.13'}
PORTS = ('5433', '5434', '5436')
DATA = '/var/lib/postgresql/15/pg-test'
CA = '/etc/ssl/chaos-ca.crt'
PGSVC = '/usr/local/lib/pgsvc/pgsvc'
# A login with a verifier of one iteration: SCRAM with all its messages, without the milliseconds of hashing on either
# side that two cores have not to spare at this rate.
USER, PASSWORD = 'chaos', 'lab-chaos'


def note(text):
    print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


def lab(*words, stdin='', check=True, **settings):
    done = subprocess.run([str(TOP / 'lab' / 'lab'), '--name', NAME, *words], capture_output=True, text=True, cwd=TOP,
                          input=stdin, check=False,
                          env={**os.environ, 'ANSIBLE_CONFIG': str(TOP / 'ansible.cfg'), 'ANSIBLE_FORCE_COLOR': '0', **settings})
    if check and done.returncode:
        sys.exit(f"lab/lab {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
    return done.stdout + ('' if check else done.stderr)


def on(node, command, **more):
    return lab('ssh', node, command, **more)


def root_of(node):
    return LAB / 'nodes' / node / 'root'


def until(what, seconds, test):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            sys.exit(f'gave up waiting until {what}')
        time.sleep(0.3)


# --- Patroni ---------------------------------------------------------------------------------------------------------


def api(node, path, *more, scheme='https'):
    """An answer of a member's API, from the controller, or nothing."""
    done = subprocess.run(['nsenter', f'--net=/run/netns/pgsvc-{NAME}-ctl', 'curl', '-skf', '-m', '3', *more,
                           f'{scheme}://{ADDRESS[node]}:8008{path}'], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def cluster():
    """Patroni's own view, from the first member that has one."""
    for node in MEMBERS:
        said = api(node, '/cluster')
        if said:
            return json.loads(said)
    return {'members': []}


def configure(scheme='https', **change):
    """Changes the cluster's dynamic configuration, as 'patronictl edit-config' and 'pause' do."""
    # Where etcd was away a moment ago no member may have found the way back to it yet.
    takes = lambda node: api(node, '/config', '-X', 'PATCH', '-d', json.dumps(change), scheme=scheme)
    until(f'a member takes the configuration {change}', 60, lambda: any(map(takes, MEMBERS)))


def leader():
    """The node that leads, or None."""
    return next((NODES[m['name']] for m in cluster()['members'] if m['role'] in ('leader', 'master')), None)


def settled(sync=False):
    """Whether one member leads and the others stream from it, with a synchronous standby where one is wanted."""
    view = cluster()
    leaders = [m for m in view['members'] if m['role'] in ('leader', 'master')]
    if len(leaders) != 1 or len(view['members']) != len(MEMBERS) or view.get('pause'):
        return False
    timeline = leaders[0].get('timeline')
    well = all(m['state'] in ('running', 'streaming') and m.get('timeline') == timeline for m in view['members'])
    near = all(m is leaders[0] or isinstance(m.get('lag'), int) and m['lag'] < 1 << 20 for m in view['members'])
    synced = any(m['role'] == 'sync_standby' for m in view['members'])
    return well and near and (synced or not sync) and streaming(NODES[leaders[0]['name']])


def streaming(node):
    return sql(node, "select count(*) from pg_stat_replication where state = 'streaming'").strip() == str(len(MEMBERS) - 1)


def sql(node, statement, user='postgres', check=False):
    return lab('psql', '-XAtqc', statement, check=check, PGHOST=ADDRESS[node], PGUSER=user, PGCONNECT_TIMEOUT='3',
               PGDATABASE='test')


# --- making it -------------------------------------------------------------------------------------------------------


def openssl(*words):
    subprocess.run(['openssl', *map(str, words)], check=True, capture_output=True)


def certificates():
    """A CA of this lab's own, and for each member a certificate that is valid and one that expired yesterday."""
    made = LAB / 'tls'
    made.mkdir(exist_ok=True)
    curve = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes')
    openssl('req', '-x509', *curve, '-keyout', made / 'ca.key', '-out', made / 'ca.crt', '-days', 2, '-subj', '/CN=chaos')
    for serial, (node, address) in enumerate(ADDRESS.items()):
        (made / 'ext').write_text(f'subjectAltName=IP:{address},DNS:{node}\n')
        openssl('req', *curve, '-keyout', made / 'api.key', '-out', made / 'csr', '-subj', f'/CN={node}')
        for name, days, number in (('api.crt', 2, 2 * serial + 1), ('expired.crt', -1, 2 * serial + 2)):
            openssl('x509', '-req', '-in', made / 'csr', '-CA', made / 'ca.crt', '-CAkey', made / 'ca.key', '-set_serial',
                    number, '-out', made / name, '-days', days, '-extfile', made / 'ext')
        where = root_of(node) / 'etc' / 'patroni'
        for name in ('api.crt', 'expired.crt', 'api.key'):
            (where / name).write_bytes((made / name).read_bytes())
            (where / name).chmod(0o644)
        (where / 'good.crt').write_bytes((made / 'api.crt').read_bytes())
        text = (where / 'config.yml').read_text()
        text = text.replace('restapi:\n', 'restapi:\n  certfile: /etc/patroni/api.crt\n  keyfile: /etc/patroni/api.key\n', 1)
        (where / 'ca.crt').write_bytes((made / 'ca.crt').read_bytes())
        # node3 may not lead, so as a synchronous standby it would keep every failover from happening.
        text = text.replace('nosync: false', 'nosync: true') if node == 'node3' else text
        # Members ask each other too, and with a certificate of their own they verify.
        (where / 'config.yml').write_text(text + 'ctl:\n  cacert: /etc/patroni/ca.crt\n')
    (root_of(BALANCER) / 'etc' / 'ssl' / 'chaos-ca.crt').write_bytes((made / 'ca.crt').read_bytes())


def verifier():
    salt = b'pgsvc-lab-chaos!'
    salted = hashlib.pbkdf2_hmac('sha256', PASSWORD.encode(), salt, 1)
    client, server = (hmac.digest(salted, key, 'sha256') for key in (b'Client Key', b'Server Key'))
    text = [base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client).digest(), server)]
    return f'SCRAM-SHA-256$1:{text[0]}${text[1]}:{text[2]}'


def make():
    """A lab from nothing, with all that both setups have in common."""
    lab('down')
    lab('up', '--lb', '1', '--client')
    # Paused, PostgreSQL goes on while Patroni restarts.
    configure('http', pause=True)
    time.sleep(3)
    certificates()
    if PATRONI != 'image':
        subprocess.run([str(TOP / 'lab' / 'patroni'), '--name', NAME, PATRONI, *MEMBERS], check=True)
    for node in MEMBERS:
        on(node, 'systemctl restart patroni')
    until("Patroni's API speaks TLS", 30, lambda: all(api(node, '/patroni') for node in MEMBERS))
    configure(pause=False)
    until('the cluster streams', 60, settled)
    # Replication that hangs is given up in seconds, not in the default minute: in synchronous mode writes wait that long.
    configure(postgresql={'parameters': {'wal_sender_timeout': '5s', 'wal_receiver_timeout': '5s'}})
    role = (f"CREATE ROLE {USER} LOGIN PASSWORD '{verifier()}' IN ROLE pg_monitor; "
            f"CREATE TABLE ledger_pgsvc (id bigint PRIMARY KEY); CREATE TABLE ledger_plain (id bigint PRIMARY KEY); "
            f'GRANT SELECT, INSERT ON ledger_pgsvc, ledger_plain TO {USER}')
    sql(leader(), role, check=True)
    for node in MEMBERS:
        on(node, 'cat >>/etc/pgbouncer/userlist.txt && systemctl reload pgbouncer', stdin=f'"{USER}" "{verifier()}"\n')
        on(node, 'cat >/root/fill.py', stdin=(HERE / 'fill.py').read_text())
    on(BALANCER, 'cat >/root/plain-edit && chmod +x /root/plain-edit', stdin=(HERE / 'plain-edit').read_text())
    time.sleep(5)
    until('the cluster streams', 60, settled)


def inventory(name, change=lambda text: text):
    """The lab's inventory with lb1 as the load balancer, the API's CA and the client's login, changed as wanted."""
    more = {'pg_service_provider': 'lb', 'patroni_ssl_enabled': 'true', 'patroni_ca_file': CA, 'pgsvc_verify_user': USER,
            'pgsvc_verify_password': PASSWORD, 'pgsvc_verify_database': 'test'}
    lines = [line for line in lab('inventory').splitlines() if 'pgsvc_verify' not in line]
    text = '\n'.join(lines) + '\n'
    text = text.replace('    ansible_user: root', f'    pgsvc_verify_user: {USER}\n    pgsvc_verify_password: {PASSWORD}\n'
                        '    pgsvc_verify_database: test\n    ansible_user: root', 1)
    vars_of = '\n'.join(f'            {key}: {value}' for key, value in more.items() if not key.startswith('pgsvc'))
    text = text.replace('            pg_cluster: pg-test\n', f'            pg_cluster: pg-test\n{vars_of}\n', 1)
    path = OUT / f'chaos-{name}.yml'
    path.write_text(change(text))
    return path


# What is edited on the node: each is a whole inventory, beside the one that the play used.
EDITS = {
    'base': lambda text: text,
    'weight': lambda text: text.replace('pg_seq: 2,', 'pg_seq: 2, pg_weight: 50,'),
    'timeout': lambda text: text.replace('    ansible_user: root', '    haproxy_queue_timeout: 2s\n    ansible_user: root', 1),
    'service': lambda text: text.replace(
        '            pg_cluster: pg-test\n', '            pg_cluster: pg-test\n            pg_services_extra:\n'
        '              - {name: chaos, src_ip: "*", src_port: 5440, dst_port: postgres, check_url: /primary, selector: "[]"}\n', 1),
}


def with_pgsvc():
    on(BALANCER, 'lab-reset')
    lab('run', 'ansible-playbook', '-i', str(inventory('base')), 'playbooks/pgsql.yml', '-l', BALANCER)
    for name, change in EDITS.items():
        on(BALANCER, f'cat >/root/chaos-{name}.yml', stdin=inventory(name, change).read_text())


def with_plain():
    """A role with the upstream role's steps: a template for each service, a check, a reload."""
    on(BALANCER, 'lab-reset')
    converge = TOP / 'benches' / 'converge'
    tls = f' check-ssl verify required ca-file {CA}'
    words = ('-e', 'bench_hosts=lb', '-e', json.dumps({'baseline_check': tls, 'baseline_cluster': 'pg-test'}))
    for book in ('prepare.yml', 'baseline.yml'):
        lab('run', 'ansible-playbook', '-i', str(inventory('base')), str(converge / book), *words)
    on(BALANCER, 'rm -rf /root/plain && cp -a /etc/haproxy /root/plain')


SETUPS = {'pgsvc': with_pgsvc, 'plain': with_plain}


# --- the client ------------------------------------------------------------------------------------------------------


class Client:
    """The measuring client, at the client's place behind the router."""

    def __init__(self, setup, rate, direct, seconds):
        self.path = OUT / f'chaos-{setup}.jsonl'
        ports = [word for port in PORTS for word in ('--port', port)]
        # In seconds: what a stalled session may take. A client that has waited this long has given up.
        self.words = [str(TOP / 'lab' / 'lab'), '--name', NAME, 'client', str(BINARY), 'measure', '--lines', '-i',
                      str(inventory('base')), '--host', BALANCER, *ports, '--rate', str(rate / len(PORTS)), '--direct',
                      str(direct), '--seconds', str(seconds), '--limit', '4', '--sslmode', 'disable', '--ledger',
                      f'ledger_{setup}']

    def __enter__(self):
        self.lines = open(self.path, 'w', encoding='utf-8')
        self.process = subprocess.Popen(self.words, stdout=self.lines, start_new_session=True, cwd=TOP)
        time.sleep(2)
        if self.process.poll() is not None:
            sys.exit(f'the measuring client ended with {self.process.returncode}')
        return self

    def __exit__(self, *_):
        # Its own process group, which it leads. What it was about to say was acknowledged to nobody.
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()
        self.lines.close()
