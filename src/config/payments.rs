//! `[payments]`: how the payment provider's callbacks are known.

use std::path::Path;

use super::auth;
use super::secret::{SECRET_BYTES_MIN, Secret};
use crate::faults::Fields;

/// How a callback's signature is checked. Without the section no payment is taken.
#[derive(Clone, Debug)]
pub struct Payments {
    /// What the provider signs with.
    pub secret: Secret,
    /// Still good, while the provider changes over to the other.
    pub previous: Option<Secret>,
    /// Seconds by which a signature's time may differ from ours.
    pub tolerance_s: u64,
}

/// Reads the section; `None` only where a fault was noted.
pub fn read(section: &mut Fields<'_>, base: &Path) -> Option<Payments> {
    const TOLERANCE_S_MAX: u64 = 24 * 3600;
    let secret = auth::secret(section, "secret", "secret_file", base);
    if secret.is_none() && !section.has("secret") && !section.has("secret_file") {
        let mend = format!(
            "set it, secret_file or DOORBUSTER_PAYMENTS__SECRET to at least {SECRET_BYTES_MIN} random bytes, or remove \
             [payments]"
        );
        section.fault("secret", "is missing", mend);
    }
    let previous = auth::secret(section, "previous_secret", "previous_secret_file", base);
    let tolerance_s = section.integer("tolerance_s", 1..=TOLERANCE_S_MAX).unwrap_or(300);
    Some(Payments { secret: secret?, previous, tolerance_s })
}
