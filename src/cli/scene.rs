//! The demo's stage: a fresh directory with the sample configuration and catalogue, free ports, and a server of its own
//! as a child process, so that what the demo stops and starts is the very program that a user runs.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

const CONFIG: &str = include_str!("../../samples/doorbuster.toml");
const SHOPPER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const OPERATOR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
/// The demo tells the story; its server speaks only of trouble.
const LOG_LEVEL: &str = "DOORBUSTER_LOG__LEVEL";
/// How long a server of the demo's size may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The demo's files and addresses.
pub struct Scene {
    /// The configuration file.
    pub config: PathBuf,
    /// Where the crowd's acknowledgements go.
    pub acks: PathBuf,
    /// The shopper listener.
    pub shopper: SocketAddr,
    /// The operator listener.
    pub operator: SocketAddr,
}

/// A server in a process of its own. Killed when dropped, so that a failing demo leaves none behind.
pub struct Server(Option<Child>);

impl Scene {
    /// Lays the stage afresh in `dir`, with one activity in its catalogue.
    pub fn set(dir: &Path, activity: u64, definition: &str) -> anyhow::Result<Self> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("clearing {}", dir.display()));
            }
            _ => {}
        }
        fs::create_dir_all(dir.join("catalog")).with_context(|| format!("making {}", dir.display()))?;
        let (shopper, operator) = (free(SHOPPER)?, free(OPERATOR)?);
        let listening = CONFIG
            .replace(&SHOPPER.to_string(), &shopper.to_string())
            .replace(&OPERATOR.to_string(), &operator.to_string());
        fs::write(dir.join("doorbuster.toml"), listening)?;
        fs::write(dir.join(format!("catalog/{activity}.toml")), definition)?;
        Ok(Self { config: dir.join("doorbuster.toml"), acks: dir.join("acks.jsonl"), shopper, operator })
    }

    /// Starts the server and waits until it is ready.
    pub fn start(&self) -> anyhow::Result<Server> {
        // From here on the server ends with this value, whatever goes wrong.
        let mut server = self.launch()?;
        let started = Instant::now();
        while !self.is_ready() {
            if let Some(status) = server.ended()? {
                bail!("the server ended before it was ready: {status}");
            }
            ensure!(started.elapsed() < READY_WITHIN, "the server was not ready within {READY_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn launch(&self) -> anyhow::Result<Server> {
        let program = std::env::current_exe().context("finding this program's file")?;
        Ok(Server(Some(
            Command::new(program).arg("serve").arg("--config").arg(&self.config).env(LOG_LEVEL, "warn").spawn()?,
        )))
    }

    fn is_ready(&self) -> bool {
        let ask = || -> io::Result<bool> {
            let mut stream = TcpStream::connect(self.shopper)?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
            let mut reply = [0; 12];
            stream.read_exact(&mut reply)?;
            Ok(reply == *b"HTTP/1.1 200")
        };
        ask().unwrap_or(false)
    }
}

impl Server {
    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// Asks the server to stop and waits for its end.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        if let Some(child) = &self.0 {
            kill_process(Pid::from_child(child), Signal::INT).context("stopping the server")?;
        }
        Ok(self.0.take().expect("a server is stopped once").wait()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended already, which is all that is wanted.
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

/// The wanted address where it is free, else one that the system gives.
fn free(wanted: SocketAddr) -> io::Result<SocketAddr> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(wanted).or_else(|_| TcpListener::bind(anywhere))?.local_addr()
}
