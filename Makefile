# pgsvc: everything a developer or a machine runs. `make help` lists the targets.

SHELL := /bin/bash
RUST := 1.95
TARGET := target/x86_64-unknown-linux-gnu
BINARY := $(TARGET)/release/pgsvc
export PGSVC_LAB_DIR ?= $(CURDIR)/target/lab
export PGSVC_VENV ?= $(CURDIR)/target/venv
export PATH := $(PGSVC_VENV)/bin:$(HOME)/.cargo/bin:$(PATH)

.PHONY: help build tools rust demo demo-stop test lint unit ansible-test role-readme collection dist cluster-test size vip drill bench-converge bench-reload screens states clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

rust:
	@command -v cc >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null; }
	@command -v cargo >/dev/null && cargo --version | awk '{split($$2,v,"."); exit !(v[1]>1 || v[2]>=95)}' || { \
	  echo "pgsvc needs Rust $(RUST) or newer (cargo --version); https://rustup.rs tells how to install it" >&2; exit 1; }

build: rust ## the static binary, as library/pgsvc
	RUSTC_WRAPPER=$(CURDIR)/packaging/rustc cargo build --release --locked
	@install -m 0755 $(BINARY) library/pgsvc

tools: ## installs with apt and pip what the tests and the demo need
	lab/lab install
	tests/install

demo: build ## the main job on a real three-node cluster: play, verified ports, again, switchover
	lab/lab install
	lab/demo

demo-stop: ## ends the demo's cluster
	lab/lab down

test: tools build lint unit size instructions ansible-test cluster-test ## every test, but for whole machines
	@echo "all tests passed"

# Faults after which a session on a wrong role is nobody's fault but ours.
CHAOS := switchover kill-postmaster etcd-down stop-patroni reload edit-weight edit-service
.PHONY: slow
# What takes longer than a developer waits for.
slow: molecule-test deny ## what CI runs beside test: scenarios of molecule, dependencies, minutes of chaos, seconds of every fuzz target
	MINUTES=3 RATE=100 SETUPS=pgsvc FAULTS="$(CHAOS)" benches/chaos/run
	FUZZ_SECONDS=5 fuzz/run

lint: rust ## format and clippy, warnings are errors
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings

unit: rust ## unit and integration tests, with real HAProxy, PostgreSQL and pgbouncer
	cargo test --locked

size: build ## the binary: static, free of NSS, runs in an empty root, at most 5 MB
	tests/static $(BINARY)

ansible-test: build ## plugin, playbooks, documentation, ansible-lint
	tests/ansible/run

role-readme: ## writes the variables in the role's README anew, from its argument specification
	$(PGSVC_VENV)/bin/python tests/ansible/role_readme.py --write

collection: build ## the Ansible collection, as target/dist/pgsvc-pgsvc-VERSION.tar.gz
	packaging/collection

dist: build ## the release: binary, collection, .deb, .rpm, bill of materials, checksums, in target/dist
	packaging/collection
	packaging/packages

cluster-test: build ## the promises, on a real cluster
	tests/cluster/run

.PHONY: molecule molecule-test
molecule: build ## all molecule scenarios on virtual machines, with their times (PGSVC_MACHINES=container: faster)
	molecule/run

# Containers, but for the directors: machines with a kernel of their own take several times as long.
molecule-test: build
	PGSVC_MACHINES=container molecule/run default vip nat

bench-converge: build ## the play beside a role with upstream's steps, on the same nodes
	lab/lab install
	benches/converge/run

.PHONY: bench-fleet
bench-fleet: build ## the play over 100 hosts with 30 clusters, beside the plain-template way (20 minutes; SHORT=1: 20 hosts)
	lab/lab install
	benches/fleet/run

bench-reload: build ## reloads, starts, role changes under load, beside the plain way (half an hour; SHORT=1)
	lab/lab install
	benches/reload/run

.PHONY: chaos
chaos: build ## an hour of seeded faults under load, with pgsvc and with a plain setup (MINUTES=60 each, SEED=1)
	lab/lab install
	python3 -B benches/chaos/test_reckon.py
	benches/chaos/run

.PHONY: bench-peers
bench-peers: build ## one load balancer of 1, 10, 100 clusters, side by side with other ways (UPSTREAM=DIR, CONFD=FILE add theirs)
	lab/lab install
	benches/peers/run

.PHONY: bench-scale instructions
bench-scale: build ## cost by clusters, 10 to 10,000; start and memory; health checks per second (SHORT=1: 3 minutes)
	tests/install
	benches/scale/run

instructions: build ## instruction counts of render and plan, against tests/instructions.json
	tests/install
	tests/instructions $(BINARY)

.PHONY: faults
# Root: file systems are mounted and namespaces made; all of it goes with the tests.
faults: rust ## a fault in every effect, power cuts, full disks, links, many runs at once: the tables of cases
	@set -o pipefail; for t in faults power disk; do \
	  cargo test --locked --test transaction_$$t -- --nocapture | tee target/faults-$$t.log | grep '^|' || exit 1; done; \
	for t in transaction_kill symlinks concurrency; do \
	  cargo test --locked --test $$t -- --nocapture | grep -E '^\||^test result' || exit 1; done
	@awk -F'|' '$$2 ~ /^ all / {n += $$3; f += $$7} END {print "cases: " n ", failures: " f}' target/faults-*.log

vip: build ## virtual addresses on machines with kernels of their own: who holds them, moves, gaps, reloads
	lab/lab install
	benches/vip/run

screens: build ## the screens in the README: a cluster, a failover, 'verify --watch' on a terminal
	lab/lab install
	docs/screens/run

states: build ## the simulation beside real HAProxy, directors' checks and a real Patroni, state by state
	lab/lab install
	benches/states/run

.PHONY: reproducible
reproducible: rust ## two builds from scratch, in directories and registries of different names: one hash
	tests/reproducible

.PHONY: deny
deny: rust ## the dependencies: licences, bans, duplicates, sources; advisories where their database can be had
	tests/deny

.PHONY: fuzz
fuzz: rust ## hostile bytes to every reader, with coverage (FUZZ_SECONDS=20 for each; with FUZZ_SANITIZER=address a nightly compiler)
	fuzz/run

drill: build ## a switchover and a killed primary on the demo's cluster, as clients see them
	lab/lab install
	lab/lab up
	lab/lab inventory --write $(PGSVC_LAB_DIR)/drill.yml
	lab/lab run ansible-playbook -i $(PGSVC_LAB_DIR)/drill.yml playbooks/pgsql.yml
	lab/lab run ansible-playbook -i $(PGSVC_LAB_DIR)/drill.yml playbooks/drill.yml -e drill_cluster=pg-test -e drill_crash=true

clean: ## ends the lab and removes what was built
	-lab/lab down
	rm -rf target library/pgsvc
