//! Batches from a server instead of a folder: the same losses, and a checkpoint that needs neither.

use std::collections::BTreeMap;

use lcl_shard::StreamConfig;
use lcl_shard::flight::server::{Listening, ServeConfig};
use lcl_train::{eval, report::Line};

use crate::road::{ROAD, training};

fn losses(out: &std::path::Path) -> Vec<(u64, u32, u32)> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).expect("written by the run");
    text.lines()
        .map(|line| serde_json::from_str::<Line>(line).expect("a line of metrics"))
        .map(|line| {
            (
                line.step,
                line.contrastive.to_bits(),
                line.generation.to_bits(),
            )
        })
        .collect()
}

#[test]
fn a_run_cannot_tell_a_server_from_a_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = training(&ROAD.dataset(), folder.path().join("here"), 6);
    lcl_train::run(&here, None).expect("a run");

    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let stream = StreamConfig {
        dataset: ROAD.dataset(),
        ..StreamConfig::default()
    };
    let serve = ServeConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        streams: BTreeMap::from([("pages".to_owned(), stream)]),
        shutdown_grace_s: 1.0,
        ..ServeConfig::default()
    };
    let listening = runtime
        .block_on(Listening::bind(serve))
        .expect("a free port");
    let address = listening.address().expect("bound");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(listening.serve(async { drop(stopped.await) }));

    let mut there = training(&ROAD.dataset(), folder.path().join("there"), 6);
    there.data.dataset = format!("grpc://{address}/pages").into();
    lcl_train::run(&there, None).expect("a run");
    assert_eq!(losses(&there.out), losses(&here.out));

    // Half a run from the server goes on from the folder.
    let half = there.out.join("step-00000003");
    let mixed = lcl_train::Config {
        out: folder.path().join("mixed"),
        ..here.clone()
    };
    lcl_train::run(&mixed, Some(&half)).expect("the rest");
    assert_eq!(losses(&mixed.out), losses(&here.out)[3..]);

    // The tokenizer came along.
    let device = here.device.open().expect("flex is always there");
    let loaded = eval::load(&there.out, &device).expect("a checkpoint");
    let comparison = eval::compare(&loaded, &ROAD.dataset(), lcl_shard::Part::All, Some(8));
    comparison.expect("the same tokenizer");
    assert!(there.out.join("step-00000006/_tokenizer.json").exists());

    stop.send(()).expect("it serves");
    runtime
        .block_on(serving)
        .expect("no panic")
        .expect("served to the end");
}
