//! A client's error to an outcome, by the types in its chain of causes.

use std::error::Error;
use std::io;

use lcl_schemas::outcome::Outcome;

use super::dns::Unresolved;
use super::guard::PrivateAddress;

/// What went wrong, most particular cause first.
pub(super) fn outcome(error: &reqwest::Error) -> Outcome {
    let causes = causes(error);
    let any = |is: fn(&(dyn Error + 'static)) -> bool| causes.iter().any(|&cause| is(cause));
    if any(|cause| cause.is::<PrivateAddress>()) {
        return Outcome::PrivateAddress;
    }
    let unresolved = causes.iter().find_map(|cause| cause.downcast_ref());
    match unresolved {
        Some(Unresolved::DeadName) => return Outcome::Dns,
        Some(Unresolved::NoAnswer(_)) => return Outcome::Resolver,
        None => {}
    }
    if error.is_timeout() {
        return Outcome::Timeout;
    }
    if any(|cause| cause.is::<rustls::Error>()) {
        return Outcome::Tls;
    }
    let hyper = causes
        .iter()
        .find_map(|cause| cause.downcast_ref::<hyper::Error>());
    if hyper.is_some_and(hyper::Error::is_parse) {
        return Outcome::Protocol;
    }
    let io = causes
        .iter()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => Outcome::Timeout,
        Some(
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable,
        ) => Outcome::Refused,
        Some(_) => Outcome::Disconnected,
        None if error.is_connect() => Outcome::Refused,
        None if hyper.is_some_and(|hyper| {
            hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_canceled()
        }) =>
        {
            Outcome::Disconnected
        }
        None => Outcome::Protocol,
    }
}

/// The error and everything beneath it. An I/O error hides what it wraps from `source`, so it is opened here.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut causes = vec![error];
    let mut at = 0;
    while let Some(&cause) = causes.get(at) {
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        causes.extend(wrapped.map(|inner| inner as &(dyn Error + 'static)));
        causes.extend(cause.source());
        at += 1;
    }
    causes
}
