"""Collects what pgsvc needs to know of the inventory, and runs the installed binary in one round trip.

The module of the same name is a binary. Ansible would send it to every host for every task; this plugin keeps a copy on
the node, under the hash of its content, and sends only the arguments, on stdin, where no file holds a secret.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import shlex
from collections.abc import Mapping
from urllib.parse import quote

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import module_loader
from ansible.template import Templar

PREFIX = '/usr/local/lib/pgsvc'
MISSING = 'pgsvc-is-not-installed'
MASK = '********'

# What a host says of itself alone; everything else may also come from the play or the role, for all members alike.
IDENTITY = ('inventory_hostname', 'ansible_host', 'pg_cluster', 'pg_seq', 'pg_role')
SERVICES = ('pg_services', 'pg_services_extra', 'pg_default_services')
MEMBER = IDENTITY + SERVICES + (
    'pg_offline_query', 'pg_weight', 'pg_port', 'pgbouncer_port', 'patroni_port', 'pg_exporter_port',
    'patroni_ssl_enabled', 'pg_default_service_dest', 'pg_service_provider', 'patroni_ca_file', 'patroni_cert_file',
    'pg_rto',
    'pg_vip_address', 'pg_vip_interface', 'vip_mode', 'vip_address', 'vip_cidrmask', 'vip_interface',
    'vip_follow', 'vip_to', 'vip_vrid', 'vip_auth_pass', 'vip_timing', 'vip_preempt', 'vip_gateway', 'vip_clients',
    'vip_provider', 'vip_check_port', 'vip_dpvs', 'vip_local_addresses', 'lb_kind', 'lb_algo',
)
# What a VIP needs of a load balancer or a director.
PEER = ('inventory_hostname', 'ansible_host', 'vip_interface', 'pg_vip_interface')
PROVIDERS = ('pg_service_provider', 'vip_provider')
# By name, not by their beginning: what a play registers as pgsvc_result is no option. What removes is none either.
OPTIONS = (
    'verify_only', 'services', 'services_extra', 'default_services', 'clusters', 'role_source', 'templates',
    'root', 'verify', 'verify_user', 'verify_password', 'verify_database', 'verify_sslmode', 'verify_sslrootcert',
    'verify_timeout', 'allow_restart', 'adopt', 'force', 'nonlocal_bind', 'single_primary', 'watch', 'watch_grace',
    'metrics_file',
)
LISTS = ('services', 'services_extra', 'default_services')
NODE = MEMBER + tuple('pgsvc_' + name for name in OPTIONS) + (
    'haproxy_admin_username', 'haproxy_admin_password', 'haproxy_auth_enabled', 'haproxy_exporter_port',
    'haproxy_client_timeout', 'haproxy_server_timeout', 'haproxy_connect_timeout', 'haproxy_queue_timeout',
    'haproxy_maxconn',
)
SECRETS = ('verify_password', 'pgsvc_verify_password', 'haproxy_admin_password', 'vip_auth_pass')

# Literals are passed over, so that the text in them is not taken for the name of a variable.
JMESPATH = re.compile(r"""'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|("(?:\\.|[^"\\])*")|([A-Za-z_]\w*)""", re.S)


def identifiers(selector):
    """The names of variables that a JMESPath expression may mean."""
    names = set()
    for quoted, plain in JMESPATH.findall(selector):
        try:
            names.add(json.loads(quoted) if quoted else plain)
        except ValueError:
            pass  # the binary says what is wrong with the expression
    return names - {''}


def selectors(services):
    """The expressions in a list of services; what is no list of services is the binary's to refuse."""
    for service in services if isinstance(services, list) else []:
        for key in ('selector', 'selector_backup', 'backup') if isinstance(service, dict) else ():
            if isinstance(service.get(key), str):
                yield service[key]


def asked_once(name, ask):
    """What `ask` returns, asked by the first of a run's workers that comes here and read by the others.

    It lies in Ansible's own directory of this run, which is private and goes with the run."""
    path = os.path.join(C.DEFAULT_LOCAL_TMP, 'pgsvc-' + name)
    with open(path + '.lock', 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(path):
            with open(path + '.new', 'w', encoding='utf-8') as new:
                json.dump(ask(), new)
            os.replace(path + '.new', path)
    with open(path, encoding='utf-8') as told:
        return json.load(told)


def same(one, other, key):
    return key in other and (one[key] is other[key] or one[key] == other[key])


def plain(value):
    """A value without Ansible's types: lazy containers are evaluated here, vaulted strings are opened."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    return str(value)


class Inventory:
    """The variables of all hosts, each evaluated only when asked for: what nobody needs may be undefined."""

    def __init__(self, task_vars, loader, role):
        self.here, self.loader, self.defaults = task_vars, loader, role.get_default_vars() if role else {}
        self.groups, self.hostvars = task_vars['groups'], task_vars['hostvars']
        self.raw_vars, self.templars = {}, {}
        self.own = self.raw(task_vars['inventory_hostname'])

    def raw(self, host):
        if host not in self.raw_vars:
            self.raw_vars[host] = self.hostvars.raw_get(host)
        return self.raw_vars[host]

    def said_here(self, key):
        here = self.here
        return key in here and key not in IDENTITY and not (same(here, self.own, key) or same(here, self.defaults, key))

    def source(self, host, key):
        """Where a variable of a member comes from: the play or the task (what this host has here, but not of itself,
        holds for all members), else the member, else the role's defaults."""
        own, here, defaults = self.raw(host), self.here, self.defaults
        if self.said_here(key):
            return here
        # The role's services are of the other dialect than an inventory with `pg_default_services`.
        foreign = key in SERVICES and 'pg_default_services' in own
        return own if key in own else defaults if key in defaults and not foreign else None

    def get(self, host, key, default=None):
        source = self.source(host, key)
        if source is None:
            return default
        try:
            value = source[key]
            # Most are no templates; a templar for each of a thousand hosts is what takes the time.
            if isinstance(value, (bool, int, type(None))) or isinstance(value, str) and '{' not in value:
                return plain(value)
            name, variables = (host, source) if source is self.raw(host) else (None, self.here)
            if name not in self.templars:
                self.templars[name] = Templar(loader=self.loader, variables=dict(variables, hostvars=self.hostvars))
            return plain(self.templars[name].template(value))
        except AnsibleError as error:
            raise AnsibleActionFail(
                f"the variable '{key}' of host '{host}' cannot be evaluated: {error}. Define what it refers to for "
                f"that host, or set '{key}' itself.") from error

    def collect(self, host, keys):
        return {key: self.get(host, key) for key in keys if self.source(host, key) is not None}

    def clusters(self, task):
        """Every cluster with its members and the groups that carry it and its VIP ('' for its own nodes).

        That takes a look at every host, which every host of a task would take again: one takes it for all, where the
        answer does not depend on who asks."""
        templates = [key for key in PROVIDERS if '{' in str(self.defaults.get(key, ''))]
        if templates or any(self.said_here(key) for key in PROVIDERS):
            return self.look_for_clusters()
        # A later batch of the same task may see other variables.
        batch = '\n'.join(self.here.get('ansible_play_batch', ()))
        return asked_once(f'{task}-{hashlib.sha256(batch.encode()).hexdigest()[:16]}', self.look_for_clusters)

    def look_for_clusters(self):
        members, providers = {}, {}
        for host in self.groups['all']:
            cluster = str(self.get(host, 'pg_cluster') or '')
            if not cluster:
                continue
            first = members.setdefault(cluster, [host])[0]
            for key in PROVIDERS:
                provider = str(self.get(host, key) or '')
                if provider and provider not in self.groups:
                    raise AnsibleActionFail(
                        f"{key} of host '{host}' is '{provider}', and the inventory has no such group. Put the nodes "
                        f"that do it into a group '{provider}', or set the variable to ''.")
                known = providers.setdefault(cluster, {}).setdefault(key, provider)
                if known != provider:
                    raise AnsibleActionFail(
                        f"{key} of cluster '{cluster}' is '{known}' on host '{first}', but '{provider}' on host "
                        f"'{host}'. Set it once, for the group of the cluster.")
            if host != first:
                members[cluster].append(host)
        return members, providers


class ActionModule(ActionBase):

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        args = plain(self._task.args)
        inventory = Inventory(task_vars, self._loader, self._task._role)
        delegate = self._task.delegate_to
        me = delegate if delegate in inventory.groups['all'] else task_vars['inventory_hostname']
        if 'node' not in args:
            args['node'] = inventory.collect(me, NODE)
        # The binary takes these as arguments only: its own inventories have no such variables.
        args.update({name: self._option(args, name) for name in LISTS if self._option(args, name) is not None})
        if 'members' not in args:
            args['members'], args['groups'], carriers = self._members(inventory, me, args)
            args['collected'] = True
            # A play that was limited says whom it leaves as they are.
            untouched = carriers.difference(task_vars.get('ansible_play_hosts_all') or carriers)
            if untouched and not delegate:
                result['untouched'] = sorted(untouched)
            if not args['members'] and args.get('state', 'present') == 'present':
                return dict(result, skipped=True, msg=(
                    f"host '{me}' carries none of the clusters asked for: each is carried by its own members, or by "
                    "the group that its pg_service_provider names"))
        args.update(
            _ansible_check_mode=bool(self._task.check_mode), _ansible_diff=bool(self._task.diff),
            _ansible_no_log=bool(self._task.no_log), _ansible_verbosity=self._display.verbosity,
        )
        result.update(censored(self._call(args), args))
        return result

    @staticmethod
    def _option(args, name):
        return args.get(name, args['node'].get('pgsvc_' + name))

    def _members(self, inventory, me, args):
        members, providers = inventory.clusters(self._task._uuid)
        mine, groups = str(inventory.get(me, 'pg_cluster') or ''), inventory.raw(me).get('group_names', [])
        wanted = self._option(args, 'clusters')
        wanted = wanted.split(',') if isinstance(wanted, str) else wanted

        def carried(name):
            proxies, holders = (providers[name][key] for key in PROVIDERS)
            # A member behind a director has its part too.
            behind = name == mine and inventory.get(members[name][0], 'vip_to') == 'members'
            return (proxies in groups if proxies else name == mine) or holders in groups or behind

        def carriers(name):
            proxies, holders = (providers[name][key] for key in PROVIDERS)
            return inventory.groups[proxies] if proxies else members[name], inventory.groups[holders] if holders else []

        names = [name for name in members if (not wanted or name in wanted) and carried(name)]
        hosts = [host for name in names for host in members[name]]
        named = {group for name in names for group in providers[name].values()} - {''}
        peers = {group: [inventory.collect(host, PEER) for host in inventory.groups[group]] for group in sorted(named)}
        lists = [args.get(name) for name in LISTS]
        lists += [inventory.get(host, key) for host in hosts for key in SERVICES]
        keys = {name for services in lists for selector in selectors(services) for name in identifiers(selector)}
        every = {host for name in names for group in carriers(name) for host in group}
        return [inventory.collect(host, sorted(keys.union(MEMBER))) for host in hosts], peers, every

    def _binaries(self):
        """The module's file, and its siblings for other machines: {what `uname -m` says: path}, '*' for any other."""
        found = module_loader.find_plugin_with_context(
            self._task.action, mod_type='', collection_list=self._task.collections)
        path = found.plugin_resolved_path if found.resolved else None
        if not path or path.endswith(('.yml', '.yaml')):
            raise AnsibleActionFail("the module 'pgsvc' is not built: there is no file 'pgsvc' in library/. Run 'make'.")
        siblings = os.path.join(os.path.dirname(path), 'bin')
        binaries = {name[6:]: os.path.join(siblings, name)
                    for name in (os.listdir(siblings) if os.path.isdir(siblings) else ()) if name.startswith('pgsvc-')}
        binaries['*'] = path
        return binaries

    def _call(self, args):
        binaries = self._binaries()
        hashes = {arch: content_hash(path) for arch, path in binaries.items()}
        if len(binaries) == 1:
            choice = f"a='*' p={PREFIX}/{hashes['*']}/pgsvc"
        else:
            cases = ' '.join(f"{shlex.quote(arch)}) h={hashes[arch]};;" for arch in hashes if arch != '*')
            choice = f"a=$(uname -m); case $a in {cases} *) a='*' h={hashes['*']};; esac; p={PREFIX}/$h/pgsvc"
        answer = self._run(choice, args)
        missing = re.search(MISSING + r' (\S+)', answer['stderr'] + answer['stdout'])
        if answer['rc'] and missing:
            arch = missing.group(1)
            answer = self._run('p=' + self._install(binaries[arch], hashes[arch]), args)
        return self._result(answer)

    def _run(self, choice, args):
        """One command: the arguments on stdin, or from a file of a private directory where stdin is a terminal's."""
        data = json.dumps(args).encode()
        # Without the `cat` a shell that finds no binary would end before it has read all, which looks like a broken line.
        command = (f'{choice}; if [ -x "$p" ]; then {self._compute_environment_string()} "$p" module; else '
                   f'cat >/dev/null; echo "{MISSING} $a" >&2; (exit 127); fi')
        if self._stdin_is_ours():
            answer = self._low_level_execute_command(command, in_data=data)
            if 'you must have a tty' not in answer['stderr'] + answer['stdout']:
                return answer
        path = self._connection._shell.join_path(self._make_tmp_path(), 'args')
        self._transfer_data(path, data)
        self._fixup_perms2([self._connection._shell.tmpdir, path], execute=False)
        try:
            return self._low_level_execute_command(f'exec <{shlex.quote(path)}; {command}')
        finally:
            self._low_level_execute_command('rm -f ' + shlex.quote(path), sudoable=False)

    def _stdin_is_ours(self):
        connection, become = self._connection, self._connection.become
        piped = not become or getattr(become, 'pipelining', become.name != 'su')
        return connection.has_pipelining and piped and not getattr(connection, '_is_tty_requested', bool)()

    def _install(self, local, digest):
        """Puts the binary in its place and returns the path; in check mode it stays in the temporary directory."""
        directory = self._make_tmp_path()
        upload = self._connection._shell.join_path(directory, 'pgsvc')
        self._transfer_file(local, upload)
        self._fixup_perms2([directory, upload])
        if self._task.check_mode:
            return shlex.quote(upload)
        home = f'{PREFIX}/{digest}'
        # The digest is checked before the name says so; older copies go, except for the last one.
        answer = self._low_level_execute_command(
            f'umask 022 && mkdir -p {home} && cp {shlex.quote(upload)} {home}/.new && '
            f'[ "$(sha256sum <{home}/.new | cut -c1-16)" = {digest} ] && chmod 0755 {home}/.new && '
            f'mv -f {home}/.new {home}/pgsvc && touch {home} && cd {PREFIX} && '
            "{ ls -1t | grep -Ex '[0-9a-f]{16}' | tail -n +3 | xargs -r rm -rf --; }")
        if answer['rc']:
            raise AnsibleActionFail(
                f"pgsvc cannot be installed as '{home}/pgsvc': {tail(answer)} The task must run as root: "
                "set 'become: true'.")
        return f'{home}/pgsvc'

    @staticmethod
    def _result(answer):
        for line in reversed(answer['stdout'].splitlines()) if answer['rc'] == 0 else ():
            try:
                found = json.loads(line) if line.startswith('{') else None
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
        what = f"ended with code {answer['rc']}" if answer['rc'] else 'gave no result'
        return {'failed': True, 'msg': f"pgsvc {what} on the node: {tail(answer)}", 'rc': answer['rc']}


def content_hash(path):
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 16))
    # In pieces: fresh memory for all of the file costs each of Ansible's workers more than its hash does.
    with open(path, 'rb', buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
    return digest.hexdigest()[:16]


def tail(answer):
    text = (answer['stderr'].strip() or answer['stdout'].strip())[-800:]
    return text or 'it said nothing.'


def censored(result, args):
    """The result without passwords. Facts hold names, which a weak password may equal: there only its places count."""
    holders = [args, args['node'], *args.get('members', ())]
    found = {str(holder[key]) for holder in holders for key in SECRETS if holder.get(key)}
    found = sorted(found | {quote(secret, safe='') for secret in found}, key=len, reverse=True)
    places = [(form % secret, form % MASK) for secret in found for form in (':%s@', 'password=%s')]
    anywhere = [(secret, MASK) for secret in found]
    return {key: replaced(value, places if key == 'ansible_facts' else anywhere) for key, value in result.items()}


def replaced(value, pairs):
    if isinstance(value, str):
        for old, new in pairs:
            value = value.replace(old, new)
        return value
    if isinstance(value, dict):
        return {key: replaced(item, pairs) for key, item in value.items()}
    return [replaced(item, pairs) for item in value] if isinstance(value, list) else value
