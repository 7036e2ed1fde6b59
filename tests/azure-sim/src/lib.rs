//! A stand-in for Entra ID and Azure Data Factory: strict where they are strict, with faults on demand.
//! It keeps everything that arrived, so that a test can say what must and what must not have been sent.
//!
//! It runs on a thread of its own; all its functions are synchronous.

mod admin;
mod answers;
mod create;
mod entra;
mod factory;
mod route;
mod seen;
mod server;
mod switches;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use route::{Operation, Place};
pub use seen::{Request, Run, Seen, Stage};
pub use switches::{
    Bucket, Effect, Ends, Fault, Mix, PipelineParameter, RepeatedId, RunIdMode, Switches, TokenEndpointDown,
};

use seen::{Shared, monotonic, now};

/// The stand-in, running. Dropping it ends it.
#[derive(Debug)]
pub struct Sim {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sim {
    /// Starts it on loopback, at any free port.
    ///
    /// # Errors
    /// When the system gives no port or no thread.
    pub fn start() -> io::Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts it at this address, which must be on loopback.
    ///
    /// # Errors
    /// When the address is not on loopback or not free.
    pub fn start_on(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the stand-in listens on loopback only"));
        }
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(format!("http://{address}")));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("azure-sim".to_owned())
            .spawn(move || runtime.block_on(server::serve(listener, served, stopped)))?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it is: both the authority and the resource manager.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes its switches, at once and for all that arrives from now on.
    pub fn set(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.shared.lock().switches);
    }

    /// All runs, in the order in which they arrived.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        self.shared.lock().seen.runs.clone()
    }

    /// How many runs there are.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.shared.lock().seen.runs.len()
    }

    /// Everything that arrived, refused requests included.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().seen.requests.clone()
    }

    /// Waits until `check` finds what it looks for; it is asked again after each arrival and each answer.
    ///
    /// # Panics
    /// When the limit passes, with what was waited for and how much was seen.
    pub fn wait_until<T>(&self, limit: Duration, what: &str, mut check: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = monotonic() + limit;
        let mut inside = self.shared.lock();
        loop {
            if let Some(found) = check(&inside.seen) {
                return found;
            }
            let left = deadline.saturating_duration_since(monotonic());
            assert!(
                !left.is_zero(),
                "waited {limit:?} for {what}; seen were {} requests and {} runs",
                inside.seen.requests.len(),
                inside.seen.runs.len()
            );
            inside = self.shared.wait(inside, left);
        }
    }

    /// Makes every token so far worthless.
    pub fn revoke_tokens(&self) {
        self.shared.lock().tokens.clear();
    }

    /// Sets the status of a run, as if Data Factory had got that far.
    pub fn set_run_status(&self, run_id: &str, status: &str) {
        let mut inside = self.shared.lock();
        for run in inside.seen.runs.iter_mut().filter(|run| run.run_id == run_id) {
            let (status, message) = (status.to_owned(), run.message.clone());
            run.becomes(Stage { at: now(), status, message });
        }
    }

    /// Starts a run of a pipeline in the first of the known factories as a trigger does; returns its id.
    pub fn trigger(&self, pipeline: &str) -> String {
        create::by_trigger(&mut self.shared.lock(), pipeline)
    }

    /// Data Factory forgets a run.
    pub fn forget_run(&self, run_id: &str) {
        let mut inside = self.shared.lock();
        inside.by_run.remove(&run_id.to_lowercase());
        for run in inside.seen.runs.iter_mut().filter(|run| run.run_id == run_id) {
            // No window reaches back so far.
            run.updated_at = jiff::Timestamp::UNIX_EPOCH;
        }
    }

    /// Registers the certificate of this PEM text for client assertions.
    pub fn trust_certificate(&self, pem: &str) {
        self.shared.lock().certificates.push(pem.to_owned());
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may have ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
