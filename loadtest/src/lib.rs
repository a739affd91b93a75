//! The crowd: real HTTP load against a Doorbuster server, and what came of it.
//!
//! It knows the server by its HTTP contract only. Distinct shoppers with tokens of their own ask for the same few units
//! over keep-alive connections; some repeat themselves, some click twice, some try it on, some come late. Every answer is
//! checked against the contract, every acknowledgement can be logged for `doorbuster audit --acks`, and the [`Report`]
//! says what was asked, accepted and refused, how long it took, and whether a rule was broken.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let plan = loadtest::Plan { attempts: 60_000, ..loadtest::Plan::new(1001, "the server's [auth] secret") };
//! let report = loadtest::run(&plan, loadtest::bar()).await?;
//! println!("{}", report.table());
//! assert!(report.holds());
//! # Ok(())
//! # }
//! ```
//!
//! # The map
//!
//! | module | owns |
//! |---|---|
//! | `plan` | what to do: settings, defaults, refusals of bad ones |
//! | `crowd`, `worker` | one run: threads, phases, the report |
//! | `schedule` | when a request is due: open and closed loop |
//! | `visit`, `shopper` | what one shopper does, and who they are |
//! | `judge`, `ledger` | what the contract allows; what the whole crowd was promised |
//! | `pay` | winners who pay in every way, and the operator who reconciles |
//! | `rain` | red packets: who grabs, what the crowd was told of each packet, whether all of it adds up |
//! | `operator` | an operator's requests |
//! | `desk` | the one way a request goes out and is counted |
//! | `connection`, `request`, `reply`, `code` | HTTP: bytes out, bytes in, their meaning |
//! | `token` | minting |
//! | `steady` | prepared requests at a fixed rate, for benchmarks |
//! | `acks` | the synced log of acknowledgements |
//! | `tally`, `report`, `table`, `progress` | counts, their sum, the same for people, the bar |

mod acks;
mod code;
mod connection;
mod crowd;
mod desk;
mod judge;
mod ledger;
mod operator;
mod pay;
mod plan;
mod progress;
mod rain;
mod reply;
mod report;
mod request;
mod schedule;
mod shopper;
mod steady;
mod table;
mod tally;
mod token;
mod visit;
mod worker;

pub use crowd::run;
pub use pay::{Money, PayReport, PayShares};
pub use plan::{AcksFile, Auth, Mode, Pay, Plan, Rain, Shares};
pub use progress::{Progress, bar, silent};
pub use rain::{RainReport, RoundReport, Sums};
pub use report::{Acks, Latecomers, Latency, Pace, Phase, Report, SkuReport, ViolationReport};
pub use steady::{Steady, steady};
pub use tally::Snapshot;
