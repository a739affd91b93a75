//! The crowd.
