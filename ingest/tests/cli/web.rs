//! A web server on loopback that answers by script, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// One answer.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status, further header lines and a body of the right length.
    Full(u16, &'static str, Vec<u8>),
    /// 302.
    Redirect(String),
    /// A body with an entity tag; 304 to who names it.
    Tagged(&'static str, &'static str, Vec<u8>),
    /// A length that is more than what comes.
    Lying(Vec<u8>),
    /// Bytes without end, no length.
    Endless,
    /// A byte now and then.
    Drip,
    /// A header after the other.
    EndlessHeaders,
    /// Some of the body, then the connection is torn down.
    Reset(Vec<u8>),
    /// Something else than HTTP.
    Rubbish,
    /// The connection is closed without a word.
    Silence,
    /// The body, but only when this many requests have come.
    Held(usize, Vec<u8>),
}

/// The server; its threads end with the test process.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    script: HashMap<String, Mutex<VecDeque<Reply>>>,
    asked: Mutex<Vec<String>>,
    came: Condvar,
}

impl Web {
    /// Serves `script`: the last reply of a path is repeated, other paths are 404.
    pub(crate) fn serve(script: impl FnOnce(SocketAddr) -> Vec<(String, Vec<Reply>)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("just bound");
        let script = script(address)
            .into_iter()
            .map(|(path, replies)| (path, Mutex::new(replies.into())));
        let state = Arc::new(State {
            script: script.collect(),
            asked: Mutex::default(),
            came: Condvar::new(),
        });
        let serving = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = serving.clone();
                // A client that goes away is what some scripts are for.
                std::thread::spawn(move || drop(answer(stream, &state)));
            }
        });
        Self { address, state }
    }

    /// Paths in the order in which they were asked, each with its User-Agent.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().expect("no holder panics").clone()
    }

    /// How often a path was asked.
    pub(crate) fn times(&self, path: &str) -> usize {
        let asks = |asked: &&String| asked.split(' ').next() == Some(path);
        self.asked().iter().filter(asks).count()
    }
}

fn answer(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let Some(asked) = request(&mut reader, state)? else {
            return Ok(());
        };
        let reply = match state.script.get(&asked.path) {
            None => Reply::Full(404, "", Vec::new()),
            Some(replies) => {
                let mut replies = replies.lock().expect("no holder panics");
                let next = replies.pop_front().expect("never emptied");
                if replies.is_empty() {
                    replies.push_back(next.clone());
                }
                next
            }
        };
        match reply {
            Reply::Full(status, headers, body) => full(&mut out, status, headers, &body)?,
            Reply::Tagged(tag, headers, body) => {
                let headers = format!("ETag: {tag}\r\n{headers}");
                match asked.if_none_match == tag {
                    true => write!(out, "HTTP/1.1 304 x\r\n{headers}\r\n")?,
                    false => full(&mut out, 200, &headers, &body)?,
                }
            }
            Reply::Redirect(to) => full(&mut out, 302, &format!("Location: {to}\r\n"), b"")?,
            Reply::Held(requests, body) => {
                let asked = state.asked.lock().expect("no holder panics");
                let patience = Duration::from_secs(20);
                let waiting = |asked: &mut Vec<String>| asked.len() < requests;
                drop(state.came.wait_timeout_while(asked, patience, waiting));
                full(&mut out, 200, "", &body)?;
            }
            Reply::Lying(body) => {
                write!(
                    out,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    body.len() + 1000
                )?;
                return out.write_all(&body);
            }
            Reply::Endless => {
                write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                loop {
                    out.write_all(&[b'x'; 65536])?;
                }
            }
            Reply::Drip => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
                loop {
                    out.write_all(b"x")?;
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
            Reply::EndlessHeaders => {
                write!(out, "HTTP/1.1 200 OK\r\n")?;
                loop {
                    out.write_all(&b"X-Again: and again and again\r\n".repeat(1000))?;
                }
            }
            Reply::Reset(body) => {
                write!(
                    out,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                )?;
                write!(out, "{:x}\r\n", body.len())?;
                return out.write_all(&body[..body.len() / 2]);
            }
            Reply::Rubbish => return out.write_all(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
            Reply::Silence => return Ok(()),
        }
    }
}

/// What of a request matters here.
struct Asked {
    path: String,
    if_none_match: String,
}

/// Reads a request's head.
fn request(reader: &mut impl BufRead, state: &State) -> std::io::Result<Option<Asked>> {
    let (mut first, mut agent) = (String::new(), String::new());
    let mut if_none_match = String::new();
    loop {
        let mut line = String::new();
        if reader.by_ref().take(16_384).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if let Some(name) = line.to_ascii_lowercase().strip_prefix("user-agent:") {
            agent = name.trim().to_owned();
        }
        if let Some((name, tag)) = line.split_once(':')
            && name.eq_ignore_ascii_case("if-none-match")
        {
            if_none_match = tag.trim().to_owned();
        }
        if line.is_empty() {
            break;
        }
        if first.is_empty() {
            first = line.to_owned();
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let what = match if_none_match.as_str() {
        "" => format!("{path} {agent}"),
        tag => format!("{path} {agent} if-none-match {tag}"),
    };
    state.asked.lock().expect("no holder panics").push(what);
    state.came.notify_all();
    Ok(Some(Asked {
        path,
        if_none_match,
    }))
}

fn full(out: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        out,
        "HTTP/1.1 {status} x\r\n{headers}Content-Length: {length}\r\n\r\n"
    )?;
    out.write_all(body)
}
