//! The lab's kinds of machine, as far as that needs no machine: which node is of which kind, and where QEMU is refused.
//! What needs nodes that run stands in `tests/lab/run`.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

/// Runs a script over the parts of the lab, with a directory of its own as `$1`.
fn lab(dir: &Path, script: &str) -> Output {
    let parts = "set -euo pipefail; export PGSVC_LAB_DIR=$1
        for part in common net node vm uml qemu up; do source lab/lib/$part.sh; done; choose machines; ";
    Command::new("bash")
        .args(["-c", &format!("{parts}{script}"), "bash"])
        .arg(dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("PGSVC_QEMU_ACCEL")
        .output()
        .unwrap()
}

fn said(dir: &Path, script: &str) -> String {
    let output = lab(dir, script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn machines_are_of_the_kind_that_up_was_asked_for() {
    let dir = tempfile::TempDir::new().unwrap();
    let kinds = |vm: &str, kind: &str| {
        said(
            dir.path(),
            &format!(
                r#"mkdir -p "$LAB"; up_plan 2 1 "{vm}" 1 "{kind}" >"$LAB/nodes.txt"
                for node in $(nodes); do if is_vm $node; then echo "$node $(node_field $node 6)"; fi; done
                echo "kind $(vm_kind) of $(vm_nodes | xargs); clusters $(clusters | xargs)""#
            ),
        )
    };
    let all = "node1 qemu\nnode2 qemu\nnode3 qemu\nlb1 qemu\nkind qemu of node1 node2 node3 lb1; clusters pg-test pg-test2\n";
    assert_eq!(kinds("all", "qemu"), all);
    assert_eq!(kinds("all", "uml"), all.replace("qemu", "uml"));
    assert_eq!(kinds("lb", "qemu"), "lb1 qemu\nkind qemu of lb1; clusters pg-test pg-test2\n");
    assert_eq!(kinds("", ""), "kind  of ; clusters pg-test pg-test2\n");
}

#[test]
fn kvm_is_not_believed_in_without_a_processor_that_virtualises_or_a_device_that_makes_a_machine() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let plain = file("plain", "flags\t\t: fpu svme_like hypervisor\n");
    let able = file("able", "flags\t\t: fpu svm hypervisor\n");
    let no_device = file("device", "");
    let why = |cpuinfo: &str, kvm: &str| said(dir.path(), &format!("qemu_why_not '{cpuinfo}' '{kvm}'"));
    assert_eq!(
        why(&plain, &no_device),
        "this machine's processor has no virtualisation (neither vmx nor svm in /proc/cpuinfo)\n"
    );
    assert_eq!(
        why(&able, &no_device),
        format!("{no_device} makes no machine (Inappropriate ioctl for device)\n")
    );
    assert_eq!(why(&able, "/nowhere/kvm"), "/nowhere/kvm makes no machine (No such file or directory)\n");
}

#[test]
fn a_refused_qemu_names_what_works_instead_and_is_never_emulated_unasked() {
    let dir = tempfile::TempDir::new().unwrap();
    let refused = lab(dir.path(), "qemu_why_not() { echo 'no reason'; }; qemu_need_accel");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "lab: no QEMU: no reason. What works without: user-mode-linux ('lab up --vm all', PGSVC_MACHINES=vm), containers \
         ('lab up', PGSVC_MACHINES=container)\n"
    );
    assert_eq!(said(dir.path(), "echo $qemu_accel"), "kvm\n");
    let unknown = lab(dir.path(), "qemu_accel=hvf; qemu_need_accel");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("PGSVC_QEMU_ACCEL is 'hvf'"));
}
