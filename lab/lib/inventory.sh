# shellcheck shell=bash
# The lab as an Ansible inventory.

inventory_cluster() {
    local node
    cat <<EOF
        $CLUSTER:
          vars:
            pg_cluster: $CLUSTER
            pgsvc_verify_user: $MONITOR_USER
            pgsvc_verify_password: $MONITOR_PASSWORD
          hosts:
EOF
    for node in $(pg_nodes); do
        echo "            $node: {ansible_host: $(address_of "$node"), pg_seq: $(node_field "$node" 4), pg_role: $(node_field "$node" 5)}"
    done
}

# inventory_outside: for an Ansible that runs outside of the lab's network, as all but 'lab run' do.
inventory_outside() {
    printf '#!/bin/sh\nexec nsenter --net=/run/netns/%s -- ssh "$@"\n' "$(netns ctl)" >"$LAB/ssh"
    chmod 755 "$LAB/ssh"
    echo "    ansible_ssh_executable: \"$LAB/ssh\""
    echo '    ansible_ssh_transfer_method: piped'
}

# inventory [outside]
inventory() {
    local node
    cat <<EOF
---
all:
  vars:
    ansible_user: root
    ansible_python_interpreter: /usr/bin/python3
    ansible_ssh_private_key_file: "$KEY"
    ansible_ssh_common_args: "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    # Sockets of this lab's own: another lab has the same addresses.
    ansible_ssh_args: "-o ControlMaster=auto -o ControlPersist=300s -o ControlPath=$SOCKETS/%h"
EOF
    if [[ ${1:-} == outside ]]; then inventory_outside; fi
    cat <<EOF
  children:
    pgsql:
      children:
$(of_every_cluster inventory_cluster)
EOF
    if [[ -n $(nodes '$3 == "lb"') ]]; then
        cat <<EOF
    lb:
      hosts:
$(for node in $(nodes '$3 == "lb"'); do echo "        $node: {ansible_host: $(address_of "$node")}"; done)
EOF
    fi
}
