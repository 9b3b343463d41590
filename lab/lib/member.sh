# shellcheck shell=bash
# What makes a node a member of the cluster: the configuration of its etcd and its Patroni.

# The nodes that carry etcd, for all clusters: three, or one where there are not three.
etcd_nodes() {
    local all
    mapfile -t all < <(nodes '$3 == "pg"')
    if ((${#all[@]} >= 3)); then echo "${all[@]:0:3}"; else echo "${all[0]}"; fi
}

cluster_of() {
    local named
    named=$(node_field "$1" 7)
    echo "${named:-$FIRST}"
}
member_name() { echo "$(cluster_of "$1")-$(node_field "$1" 4)"; }

member_etcd() {
    local node=$1 address peer peers=()
    address=$(address_of "$node")
    for peer in $(etcd_nodes); do peers+=("$peer=http://$(address_of "$peer"):2380"); done
    cat <<EOF
ETCD_NAME=$node
ETCD_DATA_DIR=/var/lib/etcd/lab
ETCD_LISTEN_PEER_URLS=http://$address:2380
ETCD_LISTEN_CLIENT_URLS=http://$address:2379,http://127.0.0.1:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://$address:2380
ETCD_ADVERTISE_CLIENT_URLS=http://$address:2379
ETCD_INITIAL_CLUSTER=$(IFS=,; echo "${peers[*]}")
ETCD_INITIAL_CLUSTER_TOKEN=pgsvc-lab
ETCD_INITIAL_CLUSTER_STATE=new
EOF
}

# Only a cluster's first node knows how to make a new cluster, so it is always the first primary.
member_bootstrap() {
    cat <<EOF
bootstrap:
  dcs:
    ttl: 10
    loop_wait: 2
    retry_timeout: 4
    maximum_lag_on_failover: 1048576
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 200
        hot_standby: 'on'
        wal_log_hints: 'on'
        wal_keep_size: 128MB
  initdb:
    - encoding: UTF8
    - locale: C.UTF-8
    - data-checksums
  post_bootstrap: /usr/local/sbin/lab-bootstrap
EOF
}

member_config() {
    local node=$1 address hosts=() peer nofailover=false client=
    address=$(address_of "$node")
    for peer in $(etcd_nodes); do hosts+=("$(address_of "$peer"):2379"); done
    if [[ $(node_field "$node" 5) == offline ]]; then nofailover=true; fi
    if has_client; then client=$'\n'"    - host all all $CLIENT_NET.0/24 scram-sha-256"; fi
    cat <<EOF
scope: $(cluster_of "$node")
namespace: /pg/
name: $(member_name "$node")
restapi:
  listen: $address:8008
  connect_address: $address:8008
etcd3:
  hosts: [$(IFS=,; echo "${hosts[*]}")]
EOF
    if [[ $(node_field "$node" 4) == 1 ]]; then member_bootstrap; fi
    cat <<EOF
postgresql:
  listen: 0.0.0.0:5432
  connect_address: $address:5432
  data_dir: /var/lib/postgresql/15/$(cluster_of "$node")
  bin_dir: /usr/lib/postgresql/15/bin
  pgpass: /var/lib/postgresql/.pgpass.patroni
  authentication:
    superuser: {username: postgres, password: lab-postgres}
    replication: {username: replicator, password: lab-replicator}
  parameters:
    unix_socket_directories: /var/run/postgresql
    password_encryption: scram-sha-256
    shared_buffers: 32MB
    logging_collector: 'off'
  pg_hba:
    - local all all peer
    - local replication postgres peer
    - host all all 127.0.0.1/32 scram-sha-256
    - host all all $NET.0/24 scram-sha-256$client
    - host replication replicator 127.0.0.1/32 scram-sha-256
    - host replication replicator $NET.0/24 scram-sha-256
  basebackup:
    checkpoint: fast
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
tags:
  nofailover: $nofailover
  noloadbalance: false
  clonefrom: false
  nosync: false
EOF
}
