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
