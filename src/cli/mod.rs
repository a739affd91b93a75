//! The commands. Here, and only here, concrete things meet: the sled journal, the actors, the listeners, the crowd.

pub mod audit;
pub mod check;
pub mod demo;
pub mod exit;
pub mod journal;
mod keeper;
pub mod process;
pub mod reship;
mod scene;
pub mod serve;
mod shipping;
mod signals;
pub mod token;
pub mod verify_split;
