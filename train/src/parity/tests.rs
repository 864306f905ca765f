//! Numbers that the published PyTorch code gives in float32 on a CPU for `parity_tiny` and these rows.

use burn::module::Module;

use super::*;
use crate::data::Prepared;
use crate::loss::{features, similarity};
use crate::model::Lcl;
use crate::names::host;
use crate::optim::OptimizerConfig;
use crate::samples::devices;
use crate::step::Trainer;

const SLOT: u32 = 97;

fn image() -> Vec<u32> {
    let mut ids = vec![98];
    ids.extend([SLOT; 16]);
    ids.push(99);
    ids
}

/// Three rows with four images; the third begins with one.
fn rows() -> Vec<Vec<u32>> {
    vec![
        [&[95, 5, 0, 7][..], &image(), &[8, 9, 96]].concat(),
        [&[95][..], &image(), &[10, 11, 12], &image(), &[13]].concat(),
        [&image()[..], &[20, 21, 22, 23, 96]].concat(),
    ]
}

fn tiny(device: &Device) -> (Lcl, Vocabulary) {
    let vocabulary = vocabulary(Preset::ParityTiny);
    (
        fixed_model(
            &Preset::ParityTiny.shape(),
            vocabulary.size as usize,
            device,
        ),
        vocabulary,
    )
}

fn padded(length: usize, device: &Device) -> Inputs {
    let vocabulary = vocabulary(Preset::ParityTiny);
    let shape = Preset::ParityTiny.shape();
    let batch = published_batch(&rows(), length, &vocabulary, &shape);
    let plan = Plan::of(&batch, &vocabulary, &shape, Targets::Published).expect("valid");
    Inputs::new(&batch, plan, images(4, 32, device), device)
}

#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{found} is not {expected} ± {tolerance}"
    );
}

#[track_caller]
fn all_close(found: &[f32], expected: &[f64], tolerance: f64) {
    for (found, expected) in found.iter().zip(expected) {
        close(f64::from(*found), *expected, tolerance);
    }
}

#[test]
fn losses_are_those_of_the_published_code() {
    for device in devices() {
        let found = parity(Preset::ParityTiny, &rows(), &device).expect("valid");
        close(f64::from(found.contrastive), 1.295_528_3, 1e-5);
        close(f64::from(found.generation), 4.676_266_3, 1e-5);
        close(f64::from(found.total), 4.805_819_1, 1e-5);
        assert_eq!(found.labels, 17);
    }
}

#[test]
fn gradients_are_those_of_the_published_code() {
    let expected = [
        ("visual.conv1.weight", 1.919_923),
        ("text.token_embedding.weight", 0.349_148_9),
        ("pool_project.query_token", 0.059_529_86),
        ("pool_project.pooler.cross_attn.v.weight", 1.151_085),
        ("pool_project.pooler.cross_attn.proj.weight", 0.732_847_1),
        ("text.text_projection", 0.741_011_7),
        ("lm_head.1.weight", 1.369_942),
        ("logit_scale", 0.061_898_19),
    ];
    for device in devices() {
        let found = parity(Preset::ParityTiny, &rows(), &device).expect("valid");
        close(found.grad_norm_total / 3.895_642, 1.0, 1e-4);
        for (name, norm) in expected {
            close(found.grad_norms[name] / norm, 1.0, 1e-4);
        }
        // A softmax does not notice a constant added to its scores.
        assert!(found.grad_norms["pool_project.pooler.cross_attn.k_bias"] < 1e-6);
        assert!(found.grad_norms["pool_project.pooler.norm1_k.bias"] < 1e-6);
    }
}

#[test]
fn activations_are_those_of_the_published_code() {
    let device = Device::flex();
    let (model, _) = tiny(&device);
    let inputs = padded(48, &device);
    let latents = model.encode_images(inputs.pixels.clone().expect("four images"));
    let pooled = host(latents.pooled.clone());
    all_close(
        &pooled,
        &[-0.052_249_13, 0.027_934_741, 0.087_596_416, 0.034_980_837],
        1e-6,
    );
    let tokens = host(latents.tokens.clone());
    all_close(
        &tokens,
        &[-0.101_535_11, 0.467_181_89, 0.371_449_89, 0.528_025_21],
        1e-6,
    );

    let hidden = model.read(&inputs.sequence, Some(latents.tokens));
    let values = host(hidden.clone());
    all_close(
        &values,
        &[0.505_824_21, -0.821_868_78, -0.839_584_47, 0.009_529_888_6],
        1e-6,
    );
    close(values.iter().map(|v| f64::from(*v)).sum(), 69.929_099, 1e-3);
    let norm = values
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt();
    close(norm, 39.132_196, 1e-4);

    let (images, texts) = features(&model, latents.pooled, &hidden, &inputs.places);
    let expected = [
        -1.501_69,
        -1.189_74,
        0.830_916,
        -3.458_961,
        -3.810_847,
        -5.528_553,
        -1.822_715,
        -2.920_174,
        0.787_442_2,
    ];
    all_close(
        &host(similarity(images, texts, model.logit_scale.val())),
        &expected,
        1e-5,
    );
}

#[test]
fn what_is_never_read_has_no_gradient() {
    let device = Device::flex().autodiff();
    let (model, _) = tiny(&device);
    let inputs = padded(48, &device);
    let losses = losses(
        &model,
        &inputs,
        &LossConfig::default(),
        Counts::of(&inputs.plan),
    );
    let gradients = GradientsParams::from_grads(losses.total.backward(), &model);
    let rows = |id, first: usize, end: usize| {
        let gradient = gradients.get::<2>(id).expect("a gradient");
        host(gradient.narrow(0, first, end - first))
    };
    // The slot's own embedding, and places behind the last token that predicts anything.
    let slot = SLOT as usize;
    assert!(
        rows(model.text.token_embedding.weight.id, slot, slot + 1)
            .iter()
            .all(|g| *g == 0.0)
    );
    assert!(
        rows(model.text.positional_embedding.id, 40, 64)
            .iter()
            .all(|g| *g == 0.0)
    );
}

#[test]
fn five_steps_are_those_of_the_published_code() {
    let expected = [
        (0.129_552_9, 4.676_266_2, 4.805_819_0, 2.658_260_1),
        (0.108_964_8, 4.395_935_5, 4.504_900_5, 2.657_266_6),
        (0.042_031_7, 4.117_583_3, 4.159_615_0, 2.656_432_9),
        (0.017_086_0, 3.873_742_1, 3.890_828_1, 2.655_865_4),
        (0.014_525_0, 3.662_800_6, 3.677_325_5, 2.655_477_8),
    ];
    for device in devices() {
        let device = device.autodiff();
        let (model, vocabulary) = tiny(&device);
        let batch = Prepared {
            parts: vec![padded(48, &device)],
            images: 4,
            tokens: 0,
        };
        let config = OptimizerConfig::default();
        let mut trainer = Trainer::new(model, vocabulary, LossConfig::default(), config);
        for (weighted_contrastive, generation, total, logit_scale) in expected {
            let step = trainer.step(&batch, 1e-3).expect("computed");
            let found = step.read().expect("finite");
            close(
                0.1 * f64::from(found.contrastive),
                weighted_contrastive,
                1e-4,
            );
            close(f64::from(found.generation), generation, 1e-4);
            close(f64::from(found.total), total, 1e-4);
            close(f64::from(found.logit_scale), logit_scale, 1e-4);
        }
    }
}

#[test]
fn padding_changes_nothing() {
    let device = Device::flex();
    let (model, _) = tiny(&device);
    let of = |length| {
        let inputs = padded(length, &device);
        let losses = losses(
            &model,
            &inputs,
            &LossConfig::default(),
            Counts::of(&inputs.plan),
        );
        [losses.contrastive, losses.generation].map(|loss| f64::from(loss.into_scalar::<f32>()))
    };
    let (short, long) = (of(48), of(64));
    close(long[0], short[0], 1e-6);
    close(long[1], short[1], 1e-6);
}

#[test]
fn images_that_nothing_precedes_share_one_text_feature() {
    let device = Device::flex();
    let (model, vocabulary) = tiny(&device);
    let rows = [
        [&[95][..], &image(), &[4, 5]].concat(),
        [&[95][..], &image(), &[6, 7, 8]].concat(),
    ];
    let inputs = inputs(&rows, &vocabulary, &model.shape, &device).expect("valid");
    let latents = model.encode_images(inputs.pixels.clone().expect("two images"));
    let hidden = model.read(&inputs.sequence, Some(latents.tokens));
    let (_, texts) = features(&model, latents.pooled, &hidden, &inputs.places);
    let texts = host(texts);
    let (first, second) = texts.split_at(texts.len() / 2);
    all_close(
        first,
        &second.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(),
        1e-6,
    );
}

#[test]
fn a_missing_slot_is_an_error() {
    let mut rows = rows();
    let place = rows[0].iter().position(|id| *id == SLOT).expect("an image");
    rows[0].remove(place);
    let refused = parity(Preset::ParityTiny, &rows, &Device::flex());
    assert!(matches!(
        refused,
        Err(ParityError::Data(DataError::SlotCount {
            images: 4,
            slots: 16,
            found: 63
        }))
    ));
}

#[test]
fn the_published_models_have_their_published_sizes() {
    let sizes = |preset: Preset, vocabulary: usize| {
        let model = Lcl::blank(&preset.shape(), vocabulary, &Device::flex());
        (model.num_params(), crate::names::shapes(&model).len())
    };
    assert_eq!(sizes(Preset::ParityTiny, 100).0, 156_385);
    assert_eq!(sizes(Preset::B32Mmc4, 49_411), (178_642_945, 318));
    assert_eq!(sizes(Preset::B32Laion, 49_411), (177_659_905, 318));
    assert_eq!(sizes(Preset::B16Laion, 49_411), (249_924_097, 318));

    let model = Lcl::blank(&Preset::B32Mmc4.shape(), 49_411, &Device::flex());
    assert_eq!(model.visual.num_params(), 87_456_000);
    assert_eq!(model.text.num_params(), 64_438_784);
    assert_eq!(model.pool_project.num_params(), 1_448_704);
    assert_eq!(model.lm_head.num_params(), 25_299_456);
}

#[test]
fn tensors_have_their_published_names() {
    let model = Lcl::blank(&Preset::B32Mmc4.shape(), 49_411, &Device::flex());
    let shapes: BTreeMap<String, Vec<usize>> = crate::names::shapes(&model).into_iter().collect();
    let expected: [(&str, &[usize]); 14] = [
        ("logit_scale", &[]),
        ("visual.class_embedding", &[768]),
        ("visual.positional_embedding", &[50, 768]),
        ("visual.conv1.weight", &[768, 3, 32, 32]),
        ("visual.ln_pre.bias", &[768]),
        (
            "visual.transformer.resblocks.11.attn.in_proj_weight",
            &[2304, 768],
        ),
        ("text.transformer.resblocks.0.mlp.c_fc.weight", &[2048, 512]),
        ("text.positional_embedding", &[2048, 512]),
        ("text.text_projection", &[512, 512]),
        ("text.token_embedding.weight", &[49_411, 512]),
        ("pool_project.query_token", &[1, 1, 768]),
        ("pool_project.pooler.cross_attn.q_bias", &[512]),
        ("lm_head.0.weight", &[512]),
        ("lm_head.1.weight", &[49_411, 512]),
    ];
    for (name, shape) in expected {
        assert_eq!(shapes.get(name).map(Vec::as_slice), Some(shape), "{name}");
    }
    let blocks = |tower: &str| {
        let prefix = format!("{tower}.transformer.resblocks.");
        shapes
            .keys()
            .filter(|name| name.starts_with(&prefix))
            .count()
    };
    assert_eq!((blocks("visual"), blocks("text")), (144, 144));
}
