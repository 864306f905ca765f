//! The hand-overs between the services, each on what the one before really made.

#[path = "../support/mod.rs"]
mod support;

mod corpus;
mod documents_become_shards;
mod exported_encoder_agrees;
mod loss_falls;
mod old_datasets_still_read;
mod road;
mod served_batches_train_the_same;
mod shards_become_batches;
