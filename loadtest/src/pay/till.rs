//! The till: every account of the run that is closed, for the operator who reconciles at the end; and for those who reuse
//! a payment's id, some other order. Holds winners only.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::account::Account;

/// Shared by all threads.
#[derive(Default)]
pub(crate) struct Till(Mutex<Vec<Account>>);

impl Till {
    /// Takes an account whose owner has done everything.
    pub(crate) fn close(&self, account: Account) {
        self.accounts().push(account);
    }

    /// An order of somebody's that is not this one, with its amount.
    pub(crate) fn another(&self, order_id: u64) -> Option<(u64, u64)> {
        let accounts = self.accounts();
        let other = accounts.iter().rev().find(|account| account.order_id != order_id)?;
        Some((other.order_id, other.amount_cents))
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Vec<Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
