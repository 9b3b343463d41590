"""The module with its action plugin and without it, by real plays with the real binary: the same files, the same answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
PASSWORD = 'page/secret-1'
MEMBERS = [
    {'inventory_hostname': 'n1', 'ansible_host': '10.1.1.1', 'pg_cluster': 'pg-a', 'pg_seq': 1, 'pg_role': 'primary'},
    {'inventory_hostname': 'n2', 'ansible_host': '10.1.1.2', 'pg_cluster': 'pg-a', 'pg_seq': 2, 'pg_role': 'replica',
     'pg_weight': 50},
]
EXTRA = [{'name': 'x', 'src_port': 5440, 'selector': '[? zone == `left`]', 'check_url': '/read-only'}]
NODE = {'inventory_hostname': 'n1', 'ansible_host': '10.1.1.1', 'pg_cluster': 'pg-a', 'haproxy_admin_password': PASSWORD}
# What changes from one run to the next by itself: the salt of a password's hash, and what was when.
UNLIKE = ('haproxy.cfg', 'original', 'previous', 'journal', 'last')

pytestmark = pytest.mark.skipif(not (TOP / 'library' / 'pgsvc').exists(), reason='library/pgsvc is not built: make build')


class Play:
    def __init__(self, directory, plugin):
        self.directory, self.plugin, self.root = directory, plugin, directory / 'root'
        (directory / 'library').mkdir(parents=True)
        for name in ('pgsvc', 'pgsvc.yml'):
            (directory / 'library' / name).symlink_to(TOP / 'library' / name)
        (self.root / 'etc' / 'haproxy').mkdir(parents=True)
        (directory / 'ansible.cfg').write_text('')
        # The plugin keeps the binary on the node, which is this machine: below the test's directory then.
        text = (TOP / 'plugins' / 'action' / 'pgsvc.py').read_text()
        (directory / 'action').mkdir()
        (directory / 'action' / 'pgsvc.py').write_text(text.replace("'/usr/local/lib/pgsvc'", repr(str(directory / 'kept'))))
        # Variables that the plugin collects; the module alone is told them.
        hosts = {m['inventory_hostname']: dict(m, ansible_connection='local', zone=zone)
                 for m, zone in zip(MEMBERS, ('left', 'right'))}
        hosts['n1']['haproxy_admin_password'] = PASSWORD
        inventory = {'all': {'vars': {'pg_services_extra': EXTRA, 'ansible_python_interpreter': sys.executable}, 'hosts': hosts}}
        (directory / 'hosts.yml').write_text(yaml.safe_dump(inventory))
        self.members = [dict(hosts[m['inventory_hostname']], pg_services_extra=EXTRA) for m in MEMBERS]

    def run(self, *flags, **args):
        told = {'root': str(self.root), **args}
        if not self.plugin and told.get('state') != 'absent':
            told.update(members=self.members, node=NODE)
        task = {'pgsvc': told, 'register': 'said'}
        keep = {'ansible.builtin.copy': {'dest': str(self.directory / 'said'), 'content': '{{ said | to_json }}', 'mode': '0600'},
                'check_mode': False, 'diff': False, 'no_log': True}
        play = [{'hosts': 'n1', 'gather_facts': False, 'tasks': [{'block': [task], 'always': [keep]}]}]
        (self.directory / 'play.yml').write_text(yaml.safe_dump(play))
        env = {**os.environ, 'ANSIBLE_CONFIG': str(self.directory / 'ansible.cfg'), 'ANSIBLE_LIBRARY': str(self.directory / 'library'),
               'ANSIBLE_ACTION_PLUGINS': str(self.directory / 'action') if self.plugin else '', 'ANSIBLE_NOCOLOR': '1',
               'ANSIBLE_LOCAL_TEMP': str(self.directory / 'tmp'), 'ANSIBLE_REMOTE_TEMP': str(self.directory / 'tmp'),
               'ANSIBLE_HOME': str(self.directory / 'home')}
        done = subprocess.run(
            [Path(sys.executable).parent / 'ansible-playbook', '-i', 'hosts.yml', 'play.yml', *flags], cwd=self.directory,
            env=env, capture_output=True, text=True, check=False)
        self.output = done.stdout + done.stderr
        self.code = done.returncode
        said = self.directory / 'said'
        assert said.exists(), self.output
        return json.loads(said.read_text())

    def tree(self):
        return {str(path.relative_to(self.root)): (path.stat().st_mode & 0o777, path.read_text())
                for path in sorted((self.root / 'etc').rglob('*')) if path.is_file()}


@pytest.fixture(params=['plugin', 'module'])
def play(request, tmp_path):
    return Play(tmp_path / request.param, request.param == 'plugin')


def test_both_ways_install_the_same_files(tmp_path):
    trees = []
    for plugin in (True, False):
        play = Play(tmp_path / str(plugin), plugin)
        said = play.run()
        assert said['changed'], play.output
        trees.append({path: value for path, value in play.tree().items() if path.rsplit('/', 1)[-1] not in UNLIKE})
    assert trees[0] == trees[1]
    assert 'etc/haproxy/conf.d/pg-a-primary.cfg' in trees[0]
    extra = trees[0]['etc/haproxy/conf.d/pg-a-x.cfg'][1]
    assert 'pg-a-1' in extra and 'pg-a-2' not in extra, 'the selector saw the zones'


def test_check_mode_says_what_the_run_then_does(play):
    planned = play.run('--check', '--diff')
    assert planned['changed'] and play.tree() == {}
    assert '+listen pg-a-primary' in play.output and PASSWORD not in play.output
    done = play.run()
    assert done['changes'] == planned['changes'] and play.tree()
    again = play.run()
    assert not again['changed'] and again['action'] == 'nothing'


def test_absent_takes_its_cluster_away(play):
    play.run()
    said = play.run(state='absent', clusters=['pg-a'])
    assert said['changed'] and not [path for path in play.tree() if '/pg-a-' in path], play.output


def test_a_mistake_fails_by_name_and_shows_no_secret(play):
    said = play.run('-vvvvv', services=[{'name': 'primary', 'src_port': 5433, 'selektor': '[]'}], verify_password='hunter-22')
    assert play.code == 2 and said['failed'] and "did you mean 'selector'?" in said['msg'], play.output
    shown = play.output if play.plugin else said['msg']
    assert 'hunter-22' not in shown and PASSWORD not in shown
    assert play.tree() == {}


def test_an_unknown_argument_is_refused(play):
    said = play.run(verify_usr='x')
    assert said['failed'] and "did you mean 'verify_user'?" in said['msg']


def test_a_member_alone_is_no_cluster_of_the_module(tmp_path):
    play = Play(tmp_path / 'module', False)
    play.members = []
    said = play.run()
    assert said['failed'] or not said['changed'], said
