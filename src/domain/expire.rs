//! Expiry.

/// Orders in one expiry event.
pub const EXPIRE_STEP_ORDERS: usize = 256;
