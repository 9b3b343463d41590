# shellcheck shell=bash
# The network: a bridge in a namespace of its own, one more namespace for the controller and for each node.

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
    if [[ $2 != "$CONTROLLER" ]]; then ip -n "$ns" route add default via "$CONTROLLER"; fi
}

net_up() {
    local node address
    ip netns add "$(netns net)"
    ip -n "$(netns net)" link add br0 type bridge
    ip -n "$(netns net)" link set br0 up
    net_attach ctl "$CONTROLLER"
    while read -r node address _; do net_attach "$node" "$address"; done <"$LAB/nodes.txt"
}

# Every namespace of this lab, found by its prefix, whatever the state directory says.
net_list() {
    local ns
    for ns in /run/netns/"$PREFIX"*; do
        # The prefix of lab 'a' must not take the namespaces of lab 'a-b'.
        [[ -e $ns && ${ns#/run/netns/"$PREFIX"} =~ ^(net|ctl|node[0-9]+|lb[0-9]+)$ ]] && echo "${ns##*/}"
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
