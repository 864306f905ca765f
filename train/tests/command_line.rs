//! The program as a person starts it.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

fn lcl_train(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lcl-train"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn parity_prints_one_object_with_every_gradient() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = folder.path().join("rows.json");
    let image: Vec<u32> = [vec![98], vec![97; 16], vec![99]].concat();
    let row: Vec<u32> = [vec![95, 5], image, vec![8, 96]].concat();
    fs::write(&rows, serde_json::to_vec(&[row]).expect("ids")).expect("written");

    let path = rows.to_str().expect("plain");
    let output = lcl_train(&["parity", "--model", "parity_tiny", "--rows", path]);
    assert!(output.status.success(), "{}", said(&output));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    // One pair has nothing to be told from.
    assert_eq!(object["contrastive"], 0.0);
    assert_eq!(object["labels"], 4);
    assert!(
        object["grad_norms"]["visual.conv1.weight"]
            .as_f64()
            .expect("a norm")
            > 0.0
    );
}

#[test]
fn rows_without_a_loss_are_an_error_and_no_panic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rows = folder.path().join("rows.json");
    for (ids, says) in [
        ("[[95]]", "there is no loss"),
        ("[[0, 0, 0], [0]]", "there is no loss"),
        ("[[]]", "rows hold no id"),
        ("[]", "rows hold no id"),
        ("[[95, 97, 96]]", "slot"),
        ("[[95, 5000]]", "vocabulary of 100"),
    ] {
        fs::write(&rows, ids).expect("written");
        let path = rows.to_str().expect("plain");
        let output = lcl_train(&["parity", "--model", "parity_tiny", "--rows", path]);
        assert_eq!(output.status.code(), Some(1), "{ids}: {}", said(&output));
        assert!(said(&output).contains(says), "{ids}: {}", said(&output));
    }
}

#[test]
fn a_mistake_is_told_in_one_line_and_exits_2() {
    for arguments in [
        &["run"][..],
        &[
            "run", "--resume", "/nowhere", "--set", "steps=1", "--device", "abacus",
        ],
        &["parity", "--model", "gigantic", "--rows", "rows.json"],
    ] {
        assert_eq!(lcl_train(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.toml");
    fs::write(&config, "setps = 5\n").expect("written");
    let output = lcl_train(&["run", config.to_str().expect("plain")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("setps"), "{}", said(&output));
}

#[test]
fn what_is_missing_is_named_and_exits_1() {
    let output = lcl_train(&["export", "/nowhere", "--out", "encoder.safetensors"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/nowhere"), "{}", said(&output));
}

#[test]
fn devices_are_listed_with_what_is_missing() {
    let output = lcl_train(&["devices"]);
    assert!(output.status.success(), "{}", said(&output));
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |name: &str| {
        let found = listed
            .lines()
            .find(|line| line.contains(&format!("  {name}")));
        found
            .unwrap_or_else(|| panic!("no {name} in {listed}"))
            .to_owned()
    };
    assert!(line("flex").starts_with("ready"), "{listed}");
    assert_eq!(
        line("libtorch-cpu").contains("ready"),
        cfg!(feature = "tch")
    );
    if !cfg!(feature = "tch") {
        assert!(line("cuda:0").contains("--features tch"), "{listed}");
    }
    if !cfg!(feature = "cuda") {
        assert!(line("burn-cuda:0").contains("--features cuda"), "{listed}");
    }
}

#[test]
fn a_device_that_is_not_there_is_a_mistake_told_in_one_line() {
    // No machine has so many.
    let output = lcl_train(&["bench", "--model", "parity_tiny", "--device", "cuda:99"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    assert!(said(&output).contains("cuda:99"), "{}", said(&output));
}

#[test]
fn what_only_libtorch_can_do_is_refused_elsewhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.toml");
    fs::write(&config, "out = \"run\"\n[data]\ndataset = \"dataset\"\n").expect("written");
    let config = config.to_str().expect("plain");
    for setting in ["precision=bfloat16", "recompute=true"] {
        let output = lcl_train(&["run", config, "--set", setting]);
        assert_eq!(output.status.code(), Some(2), "{setting}");
        assert!(said(&output).contains("libtorch-cpu"), "{}", said(&output));
    }
}

#[test]
fn a_benchmark_prints_one_object_with_what_was_measured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let batch = folder.path().join("batch.safetensors");
    let arguments = [
        "bench",
        "--model",
        "parity_tiny",
        "--batch",
        "2",
        "--steps",
        "2",
        "--packed",
        "--json",
        "--save",
    ];
    let output = lcl_train(&[&arguments[..], &[batch.to_str().expect("plain")]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(
        (&object["rows"], &object["context"]),
        (&2.into(), &64.into())
    );
    assert_eq!(object["tokens"], 128);
    assert!(object["seconds"]["median"].as_f64().expect("seconds") > 0.0);
    assert!(fs::metadata(&batch).expect("saved").len() > 1000);
}
