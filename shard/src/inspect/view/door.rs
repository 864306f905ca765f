//! Connections: a bounded number at once, and none that keeps its place without asking for something.
//!
//! ```text
//! accept ──► Asking ──headers are whole──► Answering ──written──► Asking ──► …
//!            10 s                          30 s
//! ```
//! Whoever sends headers letter by letter, or does not take its answer, is let go, so that others come in.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at once; a browser opens up to six.
const MOST: usize = 64;
/// For the headers of a request to be there, and for each part of an answer to be taken.
const ASKING: Duration = Duration::from_secs(10);
/// For an answer to begin: more than any may take.
const ANSWERING: Duration = Duration::from_secs(30);

/// The listener, with places for so many.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Door {
    pub(super) fn of(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(MOST)),
        }
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Others wait in the system's queue, where they take no file of this process.
        let place = self.places.clone().acquire_owned().await;
        let place = place.expect("nobody closes it");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // Pages come in one piece: waiting for more to send only makes thumbnails late.
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            stream,
            headers: Headers::default(),
            patience: Box::pin(sleep(ASKING)),
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A stream that ends when patience does.
pub(super) struct Connection {
    stream: TcpStream,
    headers: Headers,
    patience: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Waits on, or no longer.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.patience.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn patient(&mut self, time: Duration) {
        self.patience.as_mut().reset(Instant::now() + time);
    }

    fn wrote(
        &mut self,
        wrote: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_pending() {
            return self.wait(context);
        }
        self.headers = Headers::default();
        self.patient(ASKING);
        wrote
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_pending() {
            return self.wait(context);
        }
        // What comes letter by letter gets no more time for it.
        if self.headers.end_in(&buffer.filled()[before..]) {
            self.patient(ANSWERING);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(wrote, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Where a request's headers end: at an empty line.
#[derive(Default)]
struct Headers {
    line_is_empty: bool,
    ended: bool,
}

impl Headers {
    /// Whether they end in what comes next; true once.
    fn end_in(&mut self, bytes: &[u8]) -> bool {
        let had_ended = self.ended;
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.ended |= self.line_is_empty;
                    self.line_is_empty = true;
                }
                b'\r' => {}
                _ => self.line_is_empty = false,
            }
        }
        self.ended && !had_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_at_an_empty_line_however_they_come() {
        let whole = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        assert!(Headers::default().end_in(whole));
        let mut headers = Headers::default();
        let ends: Vec<bool> = whole.iter().map(|byte| headers.end_in(&[*byte])).collect();
        assert_eq!(ends.iter().position(|ends| *ends), Some(whole.len() - 1));
        assert!(!Headers::default().end_in(b"GET / HTTP/1.1\r\nhost: a\r\n"));
        assert!(!headers.end_in(b"\r\n\r\n"), "they have ended");
    }
}
