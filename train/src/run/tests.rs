//! The loop on made-up batches: going on, stopping, refusing.

use super::*;
use crate::config::ModelConfig;
use crate::data::Prepared;
use crate::model::shape::Preset;
use crate::report::Line;
use crate::samples::{IMAGE, devices, model, packed, processors, vocabulary};
use crate::step::Pending;

fn config(out: &Path) -> Config {
    let mut config = Config {
        out: out.to_owned(),
        steps: 6,
        checkpoint_every: 2,
        model: ModelConfig {
            preset: Preset::ParityTiny,
            ..ModelConfig::default()
        },
        ..Config::default()
    };
    config.optimizer.warmup = 2;
    config.optimizer.clip_norm = Some(1.0);
    config
}

/// Batches that only their number decides.
fn batches(from: u64) -> impl Iterator<Item = Result<Delivery<u64>, RunError>> {
    (from..).map(|number| {
        let id = 1 + number as u32 % 80;
        let document = [95, id, IMAGE, id + 1, id + 2, 96];
        let other = [95, id + 5, id + 6, IMAGE, 0];
        let batch = packed(&[&[&document, &other], &[&other]], 64, 10 * number as usize);
        Ok(Delivery {
            batch,
            position: number + 1,
            epoch: 0,
            lost: Vec::new(),
            shares: Vec::new(),
        })
    })
}

/// The first of them, as the loop prepares it.
fn first_batch(device: &Device) -> Prepared {
    let first = batches(0).next().expect("endless").expect("made up");
    let shape = Preset::ParityTiny.shape();
    Prepared::of(&first.batch, &vocabulary(), &shape, device, 1).expect("valid")
}

fn fresh(config: &Config, device: &Device) -> Trainer {
    Trainer::new(
        model(device),
        vocabulary(),
        config.loss,
        config.optimizer.clone(),
    )
}

fn lines(out: &Path) -> Vec<Line> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).expect("metrics");
    let parse = |line: &str| serde_json::from_str::<Line>(line).expect("a line");
    text.lines()
        .map(|line| Line {
            seconds: 0.0,
            data_wait_seconds: 0.0,
            ..parse(line)
        })
        .collect()
}

#[test]
fn a_resumed_run_is_bit_identical_to_the_unbroken_one() {
    // On a GPU sums come in any order.
    for device in processors() {
        resumed(&device.autodiff());
    }
}

fn resumed(device: &Device) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unbroken = config(&folder.path().join("unbroken"));
    fs::create_dir(&unbroken.out).expect("made");
    train(
        &unbroken,
        fresh(&unbroken, device),
        batches(0),
        0,
        None,
        &Vec::new(),
    )
    .expect("six steps");

    let broken = config(&folder.path().join("broken"));
    fs::create_dir(&broken.out).expect("made");
    let killed = batches(0).take(3);
    let stopped = train(
        &broken,
        fresh(&broken, device),
        killed,
        0,
        None,
        &Vec::new(),
    );
    assert!(matches!(stopped, Err(RunError::Exhausted { step: 3 })));

    let from = checkpoint::find(&broken.out).expect("a checkpoint");
    let done: Progress<u64> = checkpoint::progress(&from).expect("a position");
    assert_eq!(done, Progress { step: 2, stream: 2 });
    let blank = Lcl::blank(&unbroken.model.shape(), 100, device);
    let mut trainer = Trainer::new(
        checkpoint::model(&from, blank).expect("weights"),
        vocabulary(),
        broken.loss,
        broken.optimizer.clone(),
    );
    checkpoint::restore_optimizer(&from, &mut trainer).expect("moments");
    let rest = batches(done.stream);
    let report =
        train(&broken, trainer, rest, done.step, Some(from), &Vec::new()).expect("the rest");

    assert_eq!(lines(&broken.out), lines(&unbroken.out));
    assert_eq!(lines(&broken.out).len(), 6);
    let weights = |run: &Path| {
        let last = checkpoint::find(run).expect("a checkpoint");
        fs::read(last.join(checkpoint::WEIGHTS_FILE)).expect("weights")
    };
    assert!(weights(&broken.out) == weights(&unbroken.out));
    assert_eq!(report.checkpoint, broken.out.join("step-00000006"));
    assert!(!broken.out.join("step-00000002").exists());
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_checkpoint() {
    for device in devices() {
        loss_is_no_number(&device.autodiff());
    }
}

fn loss_is_no_number(device: &Device) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(folder.path());
    config.checkpoint_every = 1;
    let mut trainer = fresh(&config, device);
    train(
        &Config {
            steps: 1,
            ..config.clone()
        },
        trainer,
        batches(0),
        0,
        None,
        &Vec::new(),
    )
    .expect("one step");

    trainer = fresh(&config, device);
    trainer.model.logit_scale = trainer
        .model
        .logit_scale
        .map(|scale| (scale.inner() * f32::NAN).autodiff().require_grad());
    let last = checkpoint::find(&config.out).expect("a checkpoint");
    let stopped = train(
        &config,
        trainer,
        batches(1),
        1,
        Some(last.clone()),
        &Vec::new(),
    );
    match stopped {
        Err(RunError::Step {
            step,
            source: StepError::NotFinite { .. },
            last: kept,
        }) => {
            assert_eq!((step, kept), (2, Some(last.clone())));
        }
        other => panic!("not stopped: {other:?}"),
    }
    assert_eq!(checkpoint::find(&config.out).expect("kept"), last);
}

#[test]
fn gradients_that_are_not_numbers_stop_the_run_though_the_loss_is_one() {
    for device in devices() {
        gradients_are_no_numbers(&device.autodiff());
    }
}

fn gradients_are_no_numbers(device: &Device) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(folder.path());
    let mut trainer = fresh(&config, device);
    // A latent of length 0 has no direction to learn.
    let proj = &mut trainer.model.pool_project.pooler.cross_attn.proj;
    proj.weight = proj
        .weight
        .clone()
        .map(|weight| weight.zeros_like().detach().require_grad());
    let before = crate::names::tensors(&trainer.model);
    let stopped = trainer
        .step(&first_batch(device), 1e-3)
        .and_then(Pending::read);
    match stopped {
        Err(StepError::GradientsNotFinite { generation, .. }) => assert!(generation.is_finite()),
        other => panic!("not stopped: {other:?}"),
    }
    assert!(crate::names::tensors(&trainer.model) == before);
}

#[test]
fn a_folder_with_a_run_is_refused_unless_it_is_resumed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    claim(folder.path(), None).expect("empty");
    fs::write(folder.path().join(CONFIG_FILE), "").expect("written");
    claim(folder.path(), None).expect("killed before its first checkpoint: nothing to lose");

    for step in ["step-00000001", "step-00000002"] {
        let step = folder.path().join(step);
        fs::create_dir(&step).expect("made");
        fs::write(step.join(checkpoint::WEIGHTS_FILE), "").expect("written");
    }
    assert!(matches!(
        claim(folder.path(), None),
        Err(RunError::Occupied(_))
    ));
    let latest = folder.path().join("step-00000002");
    let lock = claim(folder.path(), Some(&latest)).expect("the latest");
    assert!(matches!(
        claim(folder.path(), Some(&latest)),
        Err(RunError::Busy(_))
    ));
    drop(lock);
    let earlier = claim(folder.path(), Some(&folder.path().join("step-00000001")));
    assert!(matches!(earlier, Err(RunError::Superseded { .. })));
}

/// Losses of 100 steps on the same batches.
#[cfg(feature = "tch")]
fn hundred_steps(precision: crate::ops::Precision) -> Vec<f32> {
    use crate::device::DeviceName;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(folder.path());
    config.steps = 100;
    config.checkpoint_every = 100;
    config.device = DeviceName::LibtorchCpu;
    config.precision = precision;
    let device = config.device.open().expect("built").autodiff();
    let mut trainer = fresh(&config, &device);
    trainer.model.compute = config.compute();
    train(&config, trainer, batches(0), 0, None, &Vec::new()).expect("a hundred steps");
    lines(folder.path()).iter().map(|line| line.total).collect()
}

#[cfg(feature = "tch")]
#[test]
fn a_hundred_steps_in_bfloat16_lose_what_they_lose_in_float32() {
    use crate::ops::Precision;

    let single = hundred_steps(Precision::Float32);
    let half = hundred_steps(Precision::Bfloat16);
    assert!(single != half, "nothing was rounded");
    assert!(single[99] < single[0]);
    for (step, (single, half)) in single.iter().zip(&half).enumerate() {
        let off = (single - half).abs() / single;
        assert!(off < 1e-2, "step {step}: {half} is not {single}");
    }
}
