//! How late this machine makes whoever wants to be in time. A bound on how late the daemon may be is a bound on what
//! the daemon adds: that other programs keep the machine busy is none of its faults.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use azure_sim::Sim;

use crate::process::LIMIT;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(50);

/// The simplest that can be on time: a thread that wakes again and again, and each time asks the stand-in.
pub(crate) struct Witness {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Duration>>,
}

impl Witness {
    /// Begins to watch.
    pub(crate) fn of(sim: &Sim) -> Self {
        let address = sim.url().trim_start_matches("http://").to_owned();
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut worst = Duration::ZERO;
            while !until.load(Ordering::Relaxed) {
                let due = Instant::now() + PERIOD;
                std::thread::sleep(PERIOD);
                if ask(&address).is_err() {
                    // The stand-in is gone, and its test has failed or begins again.
                    break;
                }
                worst = worst.max(due.elapsed());
            }
            worst
        });
        Self { over, thread: Some(thread) }
    }

    /// Ends, and tells how late, in milliseconds, what is never early may be on this machine, of which a machine that
    /// has nothing else to do would take less than `bound`.
    pub(crate) fn late_at_most(mut self, bound: i64) -> Range<i64> {
        self.over.store(true, Ordering::Relaxed);
        let worst = self.thread.take().unwrap().join().unwrap();
        println!("this machine made a request late by up to {worst:?}");
        0..bound + i64::try_from(worst.as_millis()).unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn ask(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let text = format!("GET /sim/state HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    stream.read_to_string(&mut String::new())?;
    Ok(())
}
