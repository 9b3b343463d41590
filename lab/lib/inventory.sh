# shellcheck shell=bash
# The lab as an Ansible inventory.

inventory_hosts() {
    local node
    for node in $(nodes "\$3 == \"$1\""); do
        if [[ $1 == pg ]]; then
            echo "            $node: {ansible_host: $(address_of "$node"), pg_seq: $(node_field "$node" 4), pg_role: $(node_field "$node" 5)}"
        else
            echo "        $node: {ansible_host: $(address_of "$node")}"
        fi
    done
}

inventory() {
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
  children:
    pgsql:
      children:
        $CLUSTER:
          vars:
            pg_cluster: $CLUSTER
            pgsvc_verify_user: $MONITOR_USER
            pgsvc_verify_password: $MONITOR_PASSWORD
          hosts:
$(inventory_hosts pg)
EOF
    if [[ -n $(nodes '$3 == "lb"') ]]; then
        cat <<EOF
    lb:
      hosts:
$(inventory_hosts lb)
EOF
    fi
}
