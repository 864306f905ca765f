pub mod data;
pub mod init;
pub mod loss;
pub mod model;
pub mod names;
pub mod optim;
pub mod step;
