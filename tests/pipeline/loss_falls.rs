//! Batches into weights: the loss falls, and a resumed run is the unbroken one.

use lcl_train::report::Line;

use crate::road::{ROAD, training};

fn metrics(out: &std::path::Path) -> Vec<Line> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).expect("written by the run");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of metrics"))
        .collect()
}

#[test]
fn training_lowers_the_loss_and_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = training(&ROAD.dataset(), folder.path().join("whole"), 24);
    lcl_train::run(&whole, None).expect("a run");
    let lines = metrics(&whole.out);
    assert_eq!(lines.len(), 24);
    let mean =
        |lines: &[Line]| lines.iter().map(|line| line.generation).sum::<f32>() / lines.len() as f32;
    let (first, last) = (mean(&lines[..4]), mean(&lines[20..]));
    assert!(last < 0.85 * first, "{first} -> {last}");

    // The checkpoint of step 12, gone on with elsewhere, as after a crash.
    let half = whole.out.join("step-00000012");
    let resumed = lcl_train::Config {
        out: folder.path().join("resumed"),
        ..whole.clone()
    };
    lcl_train::run(&resumed, Some(&half)).expect("a run");
    let again = metrics(&resumed.out);
    let losses = |lines: &[Line]| {
        lines
            .iter()
            .map(|line| {
                (
                    line.step,
                    line.contrastive.to_bits(),
                    line.generation.to_bits(),
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(losses(&again), losses(&lines[12..]));
}
