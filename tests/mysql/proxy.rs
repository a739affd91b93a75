//! The network between a client and MariaDB, as a test wants it: cut, silent, slow, or lost at one statement. Two threads
//! carry each connection, whole packets at a time; a listener that is closed refuses as a server that is down does.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::maria::free_port;
use super::packets::{Packet, Talk};
use crate::server::{PATIENCE, until};

/// How much of a statement is remembered in its count.
const HEAD_CHARS: usize = 60;

/// Which side of a statement the network is lost on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The server never hears of it.
    BeforeSent,
    /// The server has done it and answered, and the answer is lost.
    AfterSent,
}

/// A network of one server's, ended when dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    address: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    refuses: bool,
    held: bool,
    ended: bool,
    listens: bool,
    delay: Duration,
    fault: Option<Fault>,
    faults_hit: u64,
    /// The number of the next connection, and below which all have been dropped.
    next: u64,
    dropped_below: u64,
    connections: BTreeMap<u64, [TcpStream; 2]>,
    accepted: u64,
    bytes_up: u64,
    bytes_down: u64,
    statements: BTreeMap<String, u64>,
}

struct Fault {
    hits: Box<dyn Fn(&str) -> bool + Send>,
    left: u64,
    when: When,
}

impl fmt::Debug for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "at the {}th from here, {:?}", self.left, self.when)
    }
}

impl Proxy {
    /// A network to a server, which may be down for now.
    pub fn to(server: SocketAddr) -> Self {
        let mut bound = None;
        until("the proxy gets a port", || {
            bound = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).ok();
            bound.is_some()
        });
        let listener = bound.expect("it was bound");
        let address = listener.local_addr().expect("it is bound");
        let state = Mutex::new(State { listens: true, ..State::default() });
        let shared = Arc::new(Shared { server, address, state, changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let listener = thread::spawn(move || theirs.listen(listener));
        Self { shared, listener: Some(listener) }
    }

    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Where root reaches a database through this network.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@{}/{database}", self.shared.address)
    }

    /// A URL of the server's, through this network.
    pub fn through(&self, url: &str) -> String {
        let direct = self.shared.server.to_string();
        assert!(url.contains(&direct), "{url} leads to {direct}");
        url.replacen(&direct, &self.shared.address.to_string(), 1)
    }

    /// Refuses new connections until it is mended; those that are open stay.
    pub fn refuse(&self) {
        self.shared.lock().refuses = true;
        self.settle(|state| !state.listens);
    }

    /// Drops all connections and refuses new ones until it is mended.
    pub fn cut(&self) {
        self.shared.lock().cut();
        self.settle(|state| !state.listens && state.connections.is_empty());
    }

    /// Drops the connections that are open; new ones are taken.
    pub fn drop_connections(&self) {
        self.shared.lock().drop_connections();
        self.settle(|state| state.connections.range(..state.dropped_below).next().is_none());
    }

    /// Lets nothing through either way, while connections stay and new ones are taken, until it is mended.
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Keeps each packet back for so long, until it is mended.
    pub fn slow(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Takes every fault back, also one that has not come yet.
    pub fn mend(&self) {
        let mut state = self.shared.lock();
        (state.refuses, state.held, state.delay, state.fault) = (false, false, Duration::ZERO, None);
        drop(state);
        self.settle(|state| state.listens);
    }

    /// Cuts at the `nth` commit from now on; the first is 1.
    pub fn cut_at_commit(&self, nth: u64, when: When) {
        self.cut_at_statement(nth, when, |sql| sql.trim().eq_ignore_ascii_case("commit"));
    }

    /// Cuts at the `nth` from now on of the statements that `hits` finds, sent as text or prepared before.
    pub fn cut_at_statement(&self, nth: u64, when: When, hits: impl Fn(&str) -> bool + Send + 'static) {
        assert!(nth > 0, "the first is 1");
        self.shared.lock().fault = Some(Fault { hits: Box::new(hits), left: nth, when });
    }

    /// Waits until the network was cut by a statement, and nothing of it is left.
    pub fn wait_until_cut(&self) {
        self.settle(|state| state.fault.is_none() && state.refuses && !state.listens && state.connections.is_empty());
    }

    /// How many cuts statements have made.
    pub fn faults_hit(&self) -> u64 {
        self.shared.lock().faults_hit
    }

    /// How many connections it has taken.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }

    /// Bytes that the server was sent.
    pub fn bytes_up(&self) -> u64 {
        self.shared.lock().bytes_up
    }

    /// Bytes that clients were sent.
    pub fn bytes_down(&self) -> u64 {
        self.shared.lock().bytes_down
    }

    /// How many statements that begin so (in any case) clients have run, also those that were cut.
    pub fn statements(&self, beginning: &str) -> u64 {
        let begins = |sql: &str| sql.get(..beginning.len()).is_some_and(|head| head.eq_ignore_ascii_case(beginning));
        let state = self.shared.lock();
        state.statements.iter().filter(|(sql, _)| begins(sql)).map(|(_, count)| count).sum()
    }

    /// Waits until the network's threads have come to what was ordered.
    fn settle(&self, holds: impl Fn(&State) -> bool) {
        self.shared.changed.notify_all();
        self.shared.wake_listener();
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !holds(state));
        let (state, waited) = waited.expect("no thread of the proxy panics");
        assert!(!waited.timed_out(), "the proxy never came to what was ordered: {state:?}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        self.shared.wake_listener();
        if let Some(listener) = self.listener.take() {
            // A panic of its own has been printed.
            let _ended = listener.join();
        }
    }
}

impl State {
    fn cut(&mut self) {
        self.refuses = true;
        self.drop_connections();
    }

    fn drop_connections(&mut self) {
        self.dropped_below = self.next;
        for stream in self.connections.values().flatten() {
            // One that has ended by itself is as good.
            let _ended = stream.shutdown(Shutdown::Both);
        }
    }

    /// Counts a statement, and says whether the network is lost at it.
    fn lost_at(&mut self, sql: &str) -> Option<When> {
        let head = sql.chars().take(HEAD_CHARS).collect();
        *self.statements.entry(head).or_default() += 1;
        let fault = self.fault.as_mut().filter(|fault| (fault.hits)(sql))?;
        fault.left -= 1;
        let hit = (fault.left == 0).then_some(fault.when)?;
        self.fault = None;
        Some(hit)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread of the proxy panics")
    }

    /// Takes clients, and closes the listener for as long as they are to be refused.
    fn listen(self: &Arc<Self>, first: TcpListener) {
        let mut first = Some(first);
        loop {
            let state = self.lock();
            let state = self.changed.wait_while(state, |state| state.refuses && !state.ended);
            let mut state = state.expect("no thread of the proxy panics");
            if state.ended {
                return;
            }
            let mut listener = first.take();
            // A child forked by another test has the old listener until it runs its own program.
            until("the proxy gets its port again", || {
                listener = listener.take().or_else(|| TcpListener::bind(self.address).ok());
                listener.is_some()
            });
            let listener = listener.expect("it was bound");
            state.listens = true;
            drop(state);
            self.changed.notify_all();
            while let Ok((client, _)) = listener.accept() {
                if self.lock().refuses {
                    break;
                }
                self.connect(client);
            }
            drop(listener);
            self.lock().listens = false;
            self.changed.notify_all();
        }
    }

    /// Joins a client to the server; where that is down, the client is dropped.
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        for stream in [&client, &server] {
            stream.set_nodelay(true).expect("it is a TCP stream");
        }
        let mut state = self.lock();
        if state.refuses {
            return;
        }
        let number = state.next;
        state.next += 1;
        state.accepted += 1;
        state.connections.insert(number, [copy(&client), copy(&server)]);
        drop(state);
        let talk = Arc::new(Mutex::new(Talk::default()));
        let up = (Arc::clone(self), Arc::clone(&talk), copy(&client), copy(&server));
        let down = (Arc::clone(self), talk, server, client);
        let upward = thread::spawn(move || up.0.carry_up(number, &up.1, up.2, up.3));
        thread::spawn(move || {
            down.0.carry_down(number, &down.1, down.2, down.3);
            upward.join().expect("no thread of the proxy panics");
            down.0.lock().connections.remove(&number);
            down.0.changed.notify_all();
        });
    }

    fn carry_up(&self, number: u64, talk: &Mutex<Talk>, mut client: TcpStream, mut server: TcpStream) {
        while let Ok(packet) = Packet::read(&mut client) {
            let mut lost = None;
            talk.lock().expect("no thread of the proxy panics").said(&packet, |sql| {
                lost = self.lock().lost_at(sql);
                lost == Some(When::AfterSent)
            });
            if lost == Some(When::BeforeSent) {
                self.hit();
            }
            let length = u64::try_from(packet.0.len()).expect("a length");
            if !self.may_pass(number, |state| state.bytes_up += length) || server.write_all(&packet.0).is_err() {
                break;
            }
        }
        end(&client, &server);
    }

    fn carry_down(&self, number: u64, talk: &Mutex<Talk>, mut server: TcpStream, mut client: TcpStream) {
        while let Ok(packet) = Packet::read(&mut server) {
            if talk.lock().expect("no thread of the proxy panics").answered(&packet) {
                self.hit();
            }
            let length = u64::try_from(packet.0.len()).expect("a length");
            if !self.may_pass(number, |state| state.bytes_down += length) || client.write_all(&packet.0).is_err() {
                break;
            }
        }
        end(&client, &server);
    }

    /// Loses the network, as the test has ordered for a statement.
    fn hit(&self) {
        let mut state = self.lock();
        state.faults_hit += 1;
        state.cut();
        drop(state);
        self.changed.notify_all();
        self.wake_listener();
    }

    /// A listener that waits for a client learns by one that it is to refuse them.
    fn wake_listener(&self) {
        if self.lock().refuses {
            // Where it is closed already, nothing is to be woken.
            let _woken = TcpStream::connect(self.address);
        }
    }

    /// Waits while the network is held or slow; false where the connection was dropped. What may pass is counted at
    /// once: whoever holds the network, or has an answer, must not see its bytes counted afterwards.
    fn may_pass(&self, number: u64, count: impl FnOnce(&mut State)) -> bool {
        let begun = Instant::now();
        let mut state = self.lock();
        loop {
            let left = state.delay.saturating_sub(begun.elapsed());
            let dropped = state.ended || number < state.dropped_below;
            if dropped {
                return false;
            }
            if !state.held && left.is_zero() {
                count(&mut state);
                return true;
            }
            let wait = if state.held { PATIENCE } else { left };
            state = self.changed.wait_timeout(state, wait).expect("no thread of the proxy panics").0;
        }
    }
}

/// Ends both halves, so that the other thread of the connection ends too.
fn end(client: &TcpStream, server: &TcpStream) {
    for stream in [client, server] {
        // One that has ended by itself is as good.
        let _ended = stream.shutdown(Shutdown::Both);
    }
}
