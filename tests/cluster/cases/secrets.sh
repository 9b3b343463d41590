# shellcheck shell=bash
# Passwords that no output and no file shows but those that must hold them: with -vvvvv, no_log, failures and async.

# secret_places NODE: every file of the node, of memory too, with one of the passwords: MODE OWNER PATH.
secret_places() {
    on "$1" 'cat >/dev/shm/wanted
        grep -rlsaF -f /dev/shm/wanted --exclude-dir=proc --exclude-dir=sys --exclude=wanted / | sort | while read -r f; do stat -c "%a %U %n" "$f"; done
        rm -f /dev/shm/wanted' <<<"$(printf '%s\n' "${SECRETS[@]}")"
}
SECRETS=(Verify-7qW/x1z Page-7qW/x1z vPs7qWx1)

case_secrets_stay_where_they_must() {
    local word
    leads node1
    fresh node1
    play_inventory
    python3 - "$LAB_ROOT/play.yml" "${SECRETS[@]}" <<'END'
import sys
path, verify, page, vip = sys.argv[1:]
text = open(path).read().replace('lab-monitor', verify)
text = text.replace('pg_cluster: pg-test', f'pg_cluster: pg-test\n            pgsvc_verify_timeout: 2\n            haproxy_admin_password: "{page}"\n'
    f'            vip_mode: l2\n            vip_address: 10.10.10.3\n            vip_cidrmask: 24\n            vip_auth_pass: {vip}')
open(path, 'w').write(text)
END
    cat >"$LAB_ROOT/secrets.yml" <<END
- name: Passwords
  hosts: node1
  gather_facts: false
  tasks:
    - name: A login that PostgreSQL refuses, said
      pgsvc: {verify: report}
    - name: The same under no_log
      pgsvc: {verify: report}
      no_log: true
    - name: A port that is wrong, and so a failure with all of its result
      pgsvc: {verify_only: true, verify_password: "{{ pgsvc_verify_password }}"}
      ignore_errors: true
    - name: The same under no_log
      pgsvc: {verify_only: true}
      no_log: true
      ignore_errors: true
    - name: A mistake
      pgsvc: {services: [{name: primary, src_port: 5433, selektor: '[]'}], verify_password: "{{ pgsvc_verify_password }}"}
      ignore_errors: true
    - name: In the background, which is refused
      pgsvc: {verify_password: "{{ pgsvc_verify_password }}"}
      async: 30
      poll: 1
      ignore_errors: true
    - name: With a file in place of stdin
      pgsvc: {verify: report}
      vars: {ansible_pipelining: false, ansible_ssh_use_tty: true}
      diff: true
    - name: The end
      pgsvc: {verify_only: true}
END
    must 2 play "$LAB_ROOT/secrets.yml" -vvvvv --diff
    says 'ignored=4'
    says 'did you mean .*selector'
    says 'password'
    for word in "${SECRETS[@]}"; do
        ! grep -qF "$word" <<<"$out" || fail "the output shows $word: $(grep -nF "$word" <<<"$out" | cut -c1-300 | head -3)"
    done
    same "$(secret_places node1)" "$(printf '%s\n' "640 root /etc/keepalived/pgsvc.d/pg-test.conf" "600 root /var/lib/pgsvc/clusters/@node.json" \
        "600 root /var/lib/pgsvc/clusters/pg-test.json")" "files with a password"
    # And none is left when the cluster is gone but what a person may go back to.
    must 0 play playbooks/remove.yml -e pg_cluster_to_remove=pg-test -l node1
    secret_places node1 | awk '$1 !~ /^6[04]0$/ || $2 != "root" {print; bad = 1} END {exit bad}' || fail "a file is open to others"
}
