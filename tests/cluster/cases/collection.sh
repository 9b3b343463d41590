# shellcheck shell=bash
# The collection's tarball, installed as its users do, and used by its full names far from this repository.

# far COMMAND…: on the controller, in an empty directory, with nothing of this repository in Ansible's sight.
far() {
    mkdir -p "$LAB_ROOT/far"
    (cd "$LAB_ROOT/far" && env -u ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH="$LAB_ROOT/far/collections" HOME="$LAB_ROOT/far" \
        "$REPO/lab/lab" --name "$LAB_NAME" run "$@")
}

case_collection_by_its_full_names() {
    local tarball
    leads node1
    fresh "${MEMBERS[@]}"
    play_inventory
    rm -rf "$LAB_ROOT/far"
    must 0 "$REPO/packaging/collection"
    tarball=$REPO/$out
    must 0 far ansible-galaxy collection install --offline "$tarball"
    must 0 far ansible-doc -t module pgsvc.pgsvc.pgsvc
    says 'verify_sslmode'
    must 0 far ansible-doc -t role pgsvc.pgsvc.pgsql
    says 'pgsvc_role_source'
    cat >"$LAB_ROOT/far/play.yml" <<'END'
- name: By the role
  hosts: node1
  gather_facts: false
  tasks:
    - name: Services
      ansible.builtin.import_role:
        name: pgsvc.pgsvc.pgsql
- name: By the module
  hosts: node2
  gather_facts: false
  tasks:
    - name: Services
      pgsvc.pgsvc.pgsvc:
END
    must 0 far ansible-playbook -i ../play.yml play.yml
    says '^node1 +: .*changed=1 .*failed=0'
    says '^node2 +: .*changed=1 .*failed=0'
    same "$(reaches node1 5433) $(reaches node2 5433)" "node1:6 node1:6" "through both"
    [[ -x $(root_of node2)/usr/local/lib/pgsvc/$(sha256sum "$REPO/library/pgsvc" | cut -c1-16)/pgsvc ]] || fail "the plugin was not used"
    # The playbooks, by their full names as well.
    must 0 far ansible-playbook -i ../play.yml pgsvc.pgsvc.fleet
    says '^node1 +: .*changed=0'
    says '^node3 +: .*changed=1'
    must 0 far ansible-playbook -i ../play.yml pgsvc.pgsvc.verify
    says '5433 +pg-test-primary +ok +pg-test-1 \(primary\)'
    must 0 far ansible-playbook -i ../play.yml pgsvc.pgsvc.remove -e pg_cluster_to_remove=pg-test
    ! listens node2 5433 || fail "5433 still listens"
}
