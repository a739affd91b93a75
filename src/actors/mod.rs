//! Room: actors.
