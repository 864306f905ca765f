//! A checkpoint into a file that others load: the same features, under the published names.

use lcl_shard::{PairsOf, Part, pairs};
use lcl_train::export::Extent;
use lcl_train::{eval, export};
use safetensors::SafeTensors;

use crate::road::{ROAD, training};

#[test]
fn the_exported_encoder_gives_the_checkpoints_features_and_says_how_to_feed_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = training(&ROAD.dataset(), folder.path().join("run"), 2);
    let report = lcl_train::run(&config, None).expect("a run");
    let device = config.device.open().expect("flex is always there");
    let loaded = eval::load(&report.checkpoint, &device).expect("a checkpoint");
    let file = folder.path().join("encoder.safetensors");
    export::export(&loaded.model, Extent::Encoder, &file).expect("exported");

    let (encoder, card) = export::load(&file, &device).expect("readable");
    let of = PairsOf {
        part: Part::All,
        holdout: 0.0,
        edge: card.shape.edge,
        limit: Some(8),
    };
    let pixels = pairs(&ROAD.dataset(), of)
        .expect("pairs")
        .into_iter()
        .flat_map(|pair| pair.pixels)
        .collect::<Vec<_>>();
    let features = export::features(&encoder, card.shape.edge, &pixels, &device);
    let expected = export::features(&loaded.model.encoder(), card.shape.edge, &pixels, &device);
    assert_eq!(features, expected);
    assert_eq!(features.len(), 8);
    let norm: f32 = features[0].iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-4, "{norm}");

    let bytes = std::fs::read(&file).expect("just written");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let conv1 = tensors
        .tensor("visual.conv1.weight")
        .expect("the published name");
    assert_eq!(conv1.shape(), [32, 3, 16, 16]);
    assert!(
        tensors
            .names()
            .iter()
            .all(|name| name.starts_with("visual.") || name.starts_with("pool_project."))
    );
}
