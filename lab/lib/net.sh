# shellcheck shell=bash
# The network: a bridge in a namespace of its own, one more namespace for the controller and for each container, a tap
# for each virtual machine; and, where asked for, a client behind a router, which is the controller.

netns() { echo "$PREFIX$1"; }

# net_attach WHO ADDRESS: a namespace for WHO, joined to the bridge.
net_attach() {
    local ns
    ns=$(netns "$1")
    ip netns add "$ns"
    ip -n "$(netns net)" link add "$1" type veth peer name eth0 netns "$ns"
    ip -n "$(netns net)" link set "$1" master br0 up
    ip -n "$ns" link set lo up
    ip -n "$ns" link set eth0 up
    ip -n "$ns" addr add "$2/24" dev eth0
    if [[ $2 != "$CONTROLLER" ]]; then net_routes | sed "s/^/route replace /" | ip -n "$ns" -batch -; fi
}

# The routes of a node. That to the client stands by itself, so that a test can turn it alone.
net_routes() {
    echo "default via $CONTROLLER"
    if has_client; then echo "$CLIENT_NET.0/24 via $CONTROLLER"; fi
}

# net_plug NODE: the cable of a virtual machine, whose near end has the name that a container's has.
net_plug() {
    ip -n "$(netns net)" tuntap add dev "$1" mode tap
    ip -n "$(netns net)" link set "$1" master br0 up
}

# net_link up|down NODE: plugs the cable in, and out. A machine's tap stays up and only leaves the bridge: where the
# driver cannot write, it gives the card up for good.
net_link() {
    local how=("$1")
    if is_vm "$2"; then case $1 in up) how=(master br0) ;; down) how=(nomaster) ;; esac; fi
    ip -n "$(netns net)" link set "$2" "${how[@]}"
}

# The client's network hangs on the controller, which routes. It sends no redirects: a client would learn from them to
# go around what stands between it and the nodes.
net_client() {
    local ns knob
    ns=$(netns client)
    ip netns add "$ns"
    ip -n "$(netns ctl)" link add client type veth peer name eth0 netns "$ns"
    ip -n "$(netns ctl)" link set client up
    ip -n "$(netns ctl)" addr add "$CLIENT_NET.1/24" dev client
    ip -n "$ns" link set lo up
    ip -n "$ns" link set eth0 up
    ip -n "$ns" addr add "$CLIENT_NET.10/24" dev eth0
    ip -n "$ns" route add default via "$CLIENT_NET.1"
    on_controller sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    for knob in all default eth0 client; do
        on_controller sh -c "echo 0 >/proc/sys/net/ipv4/conf/$knob/send_redirects"
    done
}

net_up() {
    local node address
    ip netns add "$(netns net)"
    ip -n "$(netns net)" link add br0 type bridge
    ip -n "$(netns net)" link set br0 up
    net_attach ctl "$CONTROLLER"
    while read -r node address _; do
        if is_vm "$node"; then net_plug "$node"; else net_attach "$node" "$address"; fi
    done <"$LAB/nodes.txt"
    if has_client; then net_client; fi
}

# Every namespace of this lab, found by its prefix, whatever the state directory says.
net_list() {
    local ns
    for ns in /run/netns/"$PREFIX"*; do
        # The prefix of lab 'a' must not take the namespaces of lab 'a-b'.
        [[ -e $ns && ${ns#/run/netns/"$PREFIX"} =~ ^(net|ctl|client|node[0-9]+|lb[0-9]+)$ ]] && echo "${ns##*/}"
    done
    return 0
}

# Whatever still runs in the lab's own namespaces is the lab's: it ends, by its pid.
net_kill() {
    local ns pid
    for ns in $(net_list); do
        for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
    done
}

net_down() {
    local ns
    for ns in $(net_list); do ip netns del "$ns" 2>/dev/null || true; done
}

# on_controller COMMAND…: in the controller's network namespace.
on_controller() { nsenter --net="/run/netns/$(netns ctl)" -- "$@"; }

# on_client COMMAND…: in the client's.
on_client() { nsenter --net="/run/netns/$(netns client)" -- "$@"; }
