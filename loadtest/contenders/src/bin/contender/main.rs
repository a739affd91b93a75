//! The servers that Doorbuster is measured against: one HTTP front with what every shop needs, and behind it nothing at
//! all, Redis, or MySQL. The threads, the allocator, the parsing and the replies are Doorbuster's.

mod auth;
mod ceiling;
mod front;
mod in_mysql;
mod in_redis;
mod reply;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A contender's server, on a free port of this machine, which it prints.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    shop: Shop,
}

#[derive(Subcommand)]
enum Shop {
    /// Decides nothing
    Ceiling,
    /// Decides in a Lua script in Redis
    Redis {
        /// Redis' socket
        #[arg(long)]
        socket: PathBuf,
    },
    /// Decides in a transaction in MySQL
    Mysql {
        /// Where the database is
        #[arg(long)]
        url: String,
        /// Connections of one HTTP thread
        #[arg(long, default_value_t = 8)]
        pool: u32,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let system = actix_web::rt::System::new();
    match arguments.shop {
        Shop::Ceiling => system.block_on(front::serve(listener, || ceiling::Ceiling))?,
        Shop::Redis { socket } => {
            let redis = in_redis::Settings::new(&socket)?;
            system.block_on(front::serve(listener, move || in_redis::InRedis::new(redis.clone())))?;
        }
        Shop::Mysql { url, pool } => {
            let mysql = in_mysql::Settings::new(&url, pool)?;
            system.block_on(front::serve(listener, move || in_mysql::InMysql::new(&mysql)))?;
        }
    }
    Ok(())
}
