"""The action plugin, with a real inventory and variable manager, and this machine's shell in place of a connection."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

TOP = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location('pgsvc_action', TOP / 'plugins' / 'action' / 'pgsvc.py')
plugin = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plugin)

# Says what it was told, as a result that Ansible would take.
ECHO = '#!/bin/sh\nprintf \'{"changed": false, "told": %s}\\n\' "$(cat)"\n'

INVENTORY = """
all:
  vars: {haproxy_admin_password: page-secret, haproxy_services: "{{ nobody_defines_this }}"}
  children:
    pg-a:
      vars: {pg_cluster: pg-a, patroni_port: "{{ 8000 + 9 }}", zone: "z{{ pg_seq }}", other: "{{ nobody_defines_this }}"}
      hosts:
        a1: {pg_seq: 1, pg_role: primary, ansible_host: 10.1.1.1}
        a2: {pg_seq: 2, pg_role: replica, pg_offline_query: true}
    pg-b:
      vars: {pg_cluster: pg-b, pg_service_provider: balancers}
      hosts:
        b1: {pg_seq: 1, pg_role: primary}
    balancers:
      hosts: {lb1: {pgsvc_verify: report}}
    others:
      hosts: {idle: {}}
"""


class Shell:
    tmpdir = None

    @staticmethod
    def join_path(*parts):
        return os.path.join(*parts)


class Action(plugin.ActionModule):
    """The connection's part is this machine's: what the plugin sends to the shell really runs."""

    tty_refused = False

    def _low_level_execute_command(self, cmd, sudoable=True, in_data=None):
        self.calls.append((cmd, in_data))
        if self.tty_refused and in_data:
            return {'rc': 1, 'stdout': '', 'stderr': 'sudo: sorry, you must have a tty to run sudo'}
        done = subprocess.run(['/bin/sh', '-c', cmd], input=in_data or b'', capture_output=True, check=False)
        return {'rc': done.returncode, 'stdout': done.stdout.decode(), 'stderr': done.stderr.decode()}

    def _make_tmp_path(self, remote_user=None):
        self._connection._shell.tmpdir = str(self.tmp)
        return str(self.tmp)

    def _transfer_file(self, local_path, remote_path):
        Path(remote_path).write_bytes(Path(local_path).read_bytes())

    def _transfer_data(self, remote_path, data):
        Path(remote_path).write_bytes(data)

    def _fixup_perms2(self, remote_paths, remote_user=None, execute=True):
        if execute:
            Path(remote_paths[-1]).chmod(0o755)

    def _compute_environment_string(self, raw_environment_out=None):
        return ''

    def _binaries(self):
        return self.binaries


class World:
    def __init__(self, directory, monkeypatch):
        self.directory, self.text, self.play_vars, self.defaults = directory, INVENTORY, {}, None
        self.prefix = directory / 'lib'
        monkeypatch.setattr(plugin, 'PREFIX', str(self.prefix))
        (directory / 'tmp').mkdir()
        monkeypatch.setattr(plugin.C, 'DEFAULT_LOCAL_TMP', str(directory))
        self.tasks = itertools.count()
        self.task = SimpleNamespace(
            args={}, action='pgsvc', check_mode=False, diff=False, no_log=False, delegate_to=None, collections=[],
            async_val=0, environment=None, _role=None, _uuid='')
        self.connection = SimpleNamespace(has_pipelining=True, become=None, _shell=Shell())
        self.binaries = {'*': self.binary('pgsvc', ECHO)}
        self.tty_refused = False

    def binary(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def run(self, host='a1', uuid=None, **args):
        loader = DataLoader()
        path = self.directory / 'inventory.yml'
        path.write_text(self.text)
        inventory = InventoryManager(loader=loader, sources=[str(path)])
        manager = VariableManager(loader=loader, inventory=inventory)
        hostvars = HostVars(inventory, manager, loader)
        task_vars = {**(self.defaults or {}), **manager.get_vars(host=inventory.get_host(host)), **self.play_vars}
        task_vars['hostvars'] = hostvars
        self.task.args, self.task._uuid = args, uuid or str(next(self.tasks))
        if self.defaults is not None:
            self.task._role = SimpleNamespace(get_default_vars=lambda: self.defaults)
        action = Action(self.task, self.connection, SimpleNamespace(), loader, None, None)
        action.calls, action.tmp, action.binaries = [], self.directory / 'tmp', self.binaries
        action.tty_refused = self.tty_refused
        self.calls = action.calls
        return action.run(task_vars=task_vars)

    def told(self, host='a1', **args):
        return self.run(host, **args)['told']

    def fails(self, *texts, host='a1', **args):
        with pytest.raises(AnsibleError) as caught:
            self.run(host, **args)
        for text in texts:
            assert text in str(caught.value)


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


# What is collected

def test_a_member_carries_its_cluster_and_nothing_else_is_evaluated(world):
    told = world.told('a1')
    assert told['collected'] is True
    assert [member['inventory_hostname'] for member in told['members']] == ['a1', 'a2']
    assert told['members'][0] == {
        'inventory_hostname': 'a1', 'ansible_host': '10.1.1.1', 'pg_cluster': 'pg-a', 'pg_seq': 1, 'pg_role': 'primary',
        'patroni_port': told['members'][0]['patroni_port']}
    assert int(told['members'][0]['patroni_port']) == 8009
    assert told['members'][1]['pg_offline_query'] is True
    assert json.loads(world.calls[-1][1])['node']['haproxy_admin_password'] == 'page-secret'
    assert told['node']['inventory_hostname'] == 'a1'
    assert 'haproxy_services' not in told['node'] and 'other' not in told['node']


def test_a_load_balancer_carries_the_clusters_that_name_its_group(world):
    told = world.told('lb1')
    assert [member['inventory_hostname'] for member in told['members']] == ['b1']
    assert told['node']['pgsvc_verify'] == 'report'


def test_one_host_of_a_task_looks_at_all_hosts_for_the_others(world, monkeypatch):
    looked, look = [], plugin.Inventory.look_for_clusters
    monkeypatch.setattr(plugin.Inventory, 'look_for_clusters', lambda self: looked.append(1) or look(self))
    alone = {host: world.told(host)['members'] for host in ('a1', 'a2', 'lb1')}
    assert len(looked) == 3
    assert {host: world.told(host, uuid='one')['members'] for host in alone} == alone
    assert len(looked) == 4
    world.play_vars = {'ansible_play_batch': ['a2']}
    world.told('a2', uuid='one')
    assert len(looked) == 5, 'a later batch looks for itself'
    # What the play says may be something else for each host.
    world.play_vars = {'pg_service_provider': 'balancers'}
    world.told('lb1', uuid='one')
    world.told('lb1', uuid='one')
    assert len(looked) == 7


def test_who_carries_nothing_is_skipped_without_a_call(world):
    for host in ('b1', 'idle'):
        result = world.run(host)
        assert result['skipped'] and host in result['msg'] and world.calls == []


def test_every_variable_that_the_binary_reads_is_collected():
    def words(path, name):
        found = re.search(rf'const {name}: \[&str; \d+\] =\s*\[(.*?)\];', (TOP / 'src' / path).read_text(), re.S)
        return set(re.findall(r'"(\w+)"', found.group(1)))
    settings = (TOP / 'src/settings.rs').read_text()
    node = settings[settings.index('pub fn node('):settings.index('pub fn options(')]
    assert words('inventory/member.rs', 'KNOWN') | words('inventory/cluster.rs', 'SHARED') <= set(plugin.MEMBER)
    assert words('settings.rs', 'OPTIONS') <= set(plugin.OPTIONS)
    assert {'haproxy_' + name for name in re.findall(r'r\.(?:read|duration)\("(\w+)"', node)} <= set(plugin.NODE)


def test_clusters_limit(world):
    assert world.run('a1', clusters=['pg-b'])['skipped']
    assert len(world.told('a1', clusters=['pg-a'])['members']) == 2


def test_absent_is_never_skipped(world):
    told = world.told('idle', state='absent', clusters=['gone'])
    assert told['members'] == [] and told['clusters'] == ['gone']


def test_variables_that_a_selector_names_are_collected_too(world):
    told = world.told('a1', services=[{'name': 'x', 'selector': "[? zone == 'other' ]"}])
    assert [member['zone'] for member in told['members']] == ['z1', 'z2']
    assert 'other' not in told['members'][0], 'a literal is no variable'


def test_a_selector_in_the_inventory_counts_as_well(world):
    world.text = INVENTORY.replace('pg_cluster: pg-a,', 'pg_cluster: pg-a, pg_services: [{name: x, backup: "[? zone]"}],')
    assert world.told('a1')['members'][0]['zone'] == 'z1'


def test_a_variable_that_cannot_be_evaluated_is_named_with_its_host(world):
    world.fails("'other'", "'a1'", 'nobody_defines_this', services=[{'name': 'x', 'selector': '[? other ]'}])


def test_two_providers_of_one_cluster_are_an_error(world):
    world.text = INVENTORY.replace('a2: {pg_seq: 2,', 'a2: {pg_service_provider: balancers, pg_seq: 2,')
    world.fails("'pg-a'", "'a1'", "'a2'", "'balancers'")


def test_a_provider_without_a_group_is_an_error(world):
    world.text = INVENTORY.replace('pg_service_provider: balancers', 'pg_service_provider: balancer')
    world.fails("'b1'", "'balancer'", 'no such group')


@pytest.mark.parametrize('selector, names', [
    ('[]', set()),
    ('[? pg_role == `primary` || pg_role == `offline` ]', {'pg_role'}),
    (r"[? a == 'it\'s b' && !c]", {'a', 'c'}),
    ('[? "my-var" == `"x"` ]', {'my-var'}),
    ('[? tags.zone && @.seq]', {'tags', 'zone', 'seq'}),
    ('[? "broken \\x" ]', set()),
])
def test_identifiers(selector, names):
    assert plugin.identifiers(selector) == names


def test_every_documented_option_may_be_a_variable_of_the_node():
    documented = yaml.safe_load((TOP / 'library' / 'pgsvc.yml').read_text())['DOCUMENTATION']['options']
    assert set(plugin.OPTIONS) == set(documented) - {'state', 'members', 'groups', 'node', 'collected', 'report_needs'}


def test_services_of_the_node_travel_as_arguments(world):
    world.text = INVENTORY.replace('a1: {', 'a1: {pgsvc_services_extra: [{name: x, backup: "[? zone]"}], ')
    told = world.told('a1')
    assert told['services_extra'] == [{'name': 'x', 'backup': '[? zone]'}]
    assert 'services' not in told and told['members'][1]['zone'] == 'z2'
    assert world.told('a1', services_extra=[])['services_extra'] == []


def test_no_variable_removes_a_cluster(world):
    world.play_vars = {'pgsvc_state': 'absent', 'pgsvc_clusters': ['pg-a']}
    told = world.told('a1')
    assert told.get('state', 'present') == 'present' and 'pgsvc_state' not in told['node']


def test_a_limited_play_names_the_carriers_that_it_leaves_alone(world):
    world.text = INVENTORY.replace('lb1: {', 'lb2: {}, lb1: {')
    assert 'untouched' not in world.run('lb1')
    world.play_vars = {'ansible_play_hosts_all': ['lb1', 'a1', 'b1']}
    assert world.run('lb1')['untouched'] == ['lb2'] and world.run('a1')['untouched'] == ['a2']
    world.play_vars = {'ansible_play_hosts_all': ['lb1', 'lb2']}
    assert 'untouched' not in world.run('lb1')
    world.task.delegate_to = 'lb2'
    world.play_vars = {'ansible_play_hosts_all': ['lb1']}
    assert 'untouched' not in world.run('lb1')


# Where a variable comes from

def test_variables_of_the_play_hold_for_all_members(world):
    world.play_vars = {'pg_port': 5555, 'patroni_port': 8010, 'pg_role': 'replica'}
    members = world.told('a1')['members']
    assert [(m['pg_port'], m['patroni_port'], m['pg_role']) for m in members] == [
        (5555, 8010, 'primary'), (5555, 8010, 'replica')]


@pytest.mark.parametrize('host', ['a1', 'a2'])
def test_defaults_of_the_role_fill_what_a_member_does_not_say(world, host):
    world.defaults = {'pg_offline_query': False, 'pg_weight': 100}
    members = world.told(host)['members']
    assert [(m['pg_offline_query'], m['pg_weight']) for m in members] == [(False, 100), (True, 100)]


def test_default_services_of_the_role_give_way_to_the_other_dialect(world):
    world.defaults = {'pg_services': [{'name': 'primary', 'src_port': 5433}]}
    assert world.told('a1')['members'][0]['pg_services'] == world.defaults['pg_services']
    world.text = INVENTORY.replace('pg_cluster: pg-a,', 'pg_cluster: pg-a, pg_default_services: [{name: x, port: 1}],')
    assert 'pg_services' not in world.told('a1')['members'][0]


def test_explicit_arguments_win(world):
    told = world.told('a1', members=[{'pg_cluster': 'mine'}], node={'inventory_hostname': 'me'})
    assert told['members'] == [{'pg_cluster': 'mine'}] and told['node'] == {'inventory_hostname': 'me'}
    assert 'collected' not in told


def test_a_delegated_task_speaks_for_the_delegate(world):
    world.task.delegate_to = 'lb1'
    told = world.told('a1')
    assert told['node']['inventory_hostname'] == 'lb1' and told['members'][0]['pg_cluster'] == 'pg-b'


def test_check_mode_and_diff_are_passed(world):
    world.task.check_mode = world.task.diff = True
    told = world.told()
    assert told['_ansible_check_mode'] is True and told['_ansible_diff'] is True


# The call

def test_first_use_installs_and_the_next_is_one_call(world):
    world.run()
    homes = list(world.prefix.iterdir())
    assert len(homes) == 1 and (homes[0] / 'pgsvc').stat().st_mode & 0o777 == 0o755
    assert homes[0].name == plugin.content_hash(world.binaries['*'])
    world.run()
    assert len(world.calls) == 1


def test_older_copies_go_except_for_the_last(world):
    for number in range(4):
        world.binaries['*'] = world.binary('pgsvc', ECHO + f'# {number}\n')
        world.run()
        home = world.prefix / plugin.content_hash(world.binaries['*'])
        os.utime(home, (number, number))
    (world.prefix / 'current').mkdir()
    world.binaries['*'] = world.binary('pgsvc', ECHO + '# last\n')
    world.run()
    kept = {path.name for path in world.prefix.iterdir()}
    assert kept == {'current', home.name, plugin.content_hash(world.binaries['*'])}


def test_check_mode_installs_nothing(world):
    world.task.check_mode = True
    assert world.told()['members'] and not world.prefix.exists()


def test_the_binary_of_the_machine_is_chosen(world):
    machine = os.uname().machine
    world.binaries = {'*': world.binary('other', 'no program'), machine: world.binary('mine', ECHO)}
    assert world.told()['members']
    assert [path.name for path in world.prefix.iterdir()] == [plugin.content_hash(world.binaries[machine])]


def test_a_place_that_cannot_be_written(world):
    world.prefix.write_text('a file')
    world.fails(str(world.prefix), 'become: true')


def test_noise_before_the_result_does_no_harm(world):
    world.binaries['*'] = world.binary('pgsvc', '#!/bin/sh\ncat >/dev/null\necho hello\necho "{ hm"\necho \'{"msg": "x"}\'\n')
    assert world.run()['msg'] == 'x'


@pytest.mark.parametrize('script, texts', [
    ('echo "{}"; echo bad page-secret >&2; exit 3', ('code 3', 'bad ********')),
    ('echo no JSON', ('no result', 'no JSON')),
    (':', ('no result', 'said nothing')),
    ('exit 127', ('code 127',)),
])
def test_what_is_no_result_fails_the_task(world, script, texts):
    world.binaries['*'] = world.binary('pgsvc', f'#!/bin/sh\ncat >/dev/null\n{script}\n')
    result = world.run()
    assert result['failed'] and all(text in result['msg'] for text in texts), result


def test_passwords_never_come_back(world):
    answer = {'changed': True, 'warnings': ['w s3/cret'], 'diff': [{'after': 'x page-secret'}], 'msg': 's3%2Fcret', 'n': 1,
              'ansible_facts': {'pgsvc': {'url': 'postgres://u:s3%2Fcret@h', 'dsn': 'user=u password=s3/cret'}}}
    world.binaries['*'] = world.binary('pgsvc', f"#!/bin/sh\ncat >/dev/null\necho '{json.dumps(answer)}'\n")
    result = world.run(verify_password='s3/cret')
    assert 's3' not in json.dumps(result) and 'page-secret' not in json.dumps(result) and result['n'] == 1


def test_a_password_that_is_a_word_leaves_names_in_facts_alone(world):
    answer = {'ansible_facts': {'pgsvc': {'url': 'postgres://postgres:postgres@h/postgres'}}}
    world.binaries['*'] = world.binary('pgsvc', f"#!/bin/sh\ncat >/dev/null\necho '{json.dumps(answer)}'\n")
    url = world.run(verify_password='postgres')['ansible_facts']['pgsvc']['url']
    assert url == 'postgres://postgres:********@h/postgres'


def file_only(world):
    world.connection.has_pipelining = False


def su(world):
    world.connection.become = SimpleNamespace(name='su', pipelining=False)


def terminal(world):
    world.connection._is_tty_requested = lambda: True


def requiretty(world):
    world.tty_refused = True


@pytest.mark.parametrize('obstacle', [file_only, su, terminal, requiretty])
def test_without_a_free_stdin_the_arguments_travel_in_a_file_that_goes(world, obstacle):
    obstacle(world)
    assert len(world.told(verify_password='x')['members']) == 2
    assert not (world.directory / 'tmp' / 'args').exists()


def test_async_is_refused(world):
    world.task.async_val = 10
    world.fails('async')
