//! A small web server on loopback: what each path answers is given beforehand, and what was asked is counted.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a path answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 200 with this type and body.
    Body(&'static str, Vec<u8>),
    /// A status without a body.
    Status(u16),
    /// 302 to this location.
    Redirect(String),
}

/// Paths and their answers; anything else is 404.
pub(crate) type Site = HashMap<String, Reply>;

/// A running server; ends when dropped.
pub(crate) struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, usize>>>,
    ended: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// A request line or header longer than this ends the connection.
const MAX_LINE: u64 = 16 * 1024;
/// A connection without a request for so long is closed.
const IDLE: Duration = Duration::from_secs(5);

impl Web {
    /// Listens on a free port of 127.0.0.1; `site` is told the address so that its pages can link.
    pub(crate) fn serve(site: impl FnOnce(SocketAddr) -> Site) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let site = Arc::new(site(address));
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let accepting = {
            let (asked, ended) = (asked.clone(), ended.clone());
            std::thread::spawn(move || {
                for connection in listener.incoming() {
                    if ended.load(Ordering::Acquire) {
                        return;
                    }
                    let Ok(connection) = connection else { continue };
                    let (site, asked) = (site.clone(), asked.clone());
                    // A client that goes away is not this server's concern.
                    std::thread::spawn(move || drop(converse(connection, &site, &asked)));
                }
            })
        };
        Ok(Self {
            address,
            asked,
            ended,
            accepting: Some(accepting),
        })
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(path)
            .copied()
            .unwrap_or(0)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the thread that waits for connections.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            let _ = accepting.join();
        }
    }
}

fn converse(
    connection: TcpStream,
    site: &Site,
    asked: &Mutex<HashMap<String, usize>>,
) -> std::io::Result<()> {
    connection.set_read_timeout(Some(IDLE))?;
    connection.set_nodelay(true)?;
    let mut requests = BufReader::new(connection.try_clone()?);
    let mut answers = connection;
    while let Some(path) = request(&mut requests)? {
        *asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(path.clone())
            .or_insert(0) += 1;
        answer(&mut answers, site.get(&path).unwrap_or(&Reply::Status(404)))?;
    }
    Ok(())
}

/// The path of the next request; `None` when the client has closed.
fn request(requests: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if requests.take(MAX_LINE).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    loop {
        line.clear();
        if requests.take(MAX_LINE).read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok(Some(path));
        }
    }
}

fn answer(answers: &mut impl Write, reply: &Reply) -> std::io::Result<()> {
    let (status, header, body): (u16, String, &[u8]) = match reply {
        Reply::Body(kind, body) => (200, format!("Content-Type: {kind}\r\n"), body),
        Reply::Status(status) => (*status, String::new(), &[]),
        Reply::Redirect(location) => (302, format!("Location: {location}\r\n"), &[]),
    };
    let head = format!(
        "HTTP/1.1 {status} -\r\n{header}Content-Length: {}\r\n\r\n",
        body.len()
    );
    answers.write_all(&[head.as_bytes(), body].concat())?;
    answers.flush()
}
