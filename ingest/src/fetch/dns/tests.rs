//! Against a name server on loopback that answers by the first label of what it is asked.

use std::str::FromStr;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use lcl_schemas::outcome::Outcome;
use tokio::net::UdpSocket;

use super::*;
use crate::fetch::failure;

const TTL: u32 = 300;

/// A reply to `query`, or silence.
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let label_len = usize::from(query[12]);
    let label = std::str::from_utf8(&query[13..13 + label_len]).expect("ASCII");
    let name_len = query[12..]
        .iter()
        .position(|&octet| octet == 0)
        .expect("a root");
    let question = &query[12..12 + name_len + 5];
    let asks_a = question[name_len + 1..] == [0, 1, 0, 1];
    let (code, address) = match label {
        "silent" => return None,
        "refuse" => (5, None),
        "fail" => (2, None),
        label if label.starts_with("fail") => (2, None),
        "dead" => (3, None),
        "private" => (0, Some([10, 0, 0, 1])),
        "loopback" => (0, Some([127, 0, 0, 1])),
        "public" => (0, Some([93, 184, 216, 34])),
        _ => (0, None),
    };
    let address = address.filter(|_| asks_a);
    let mut reply = query[..2].to_vec();
    reply.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::from(address.is_some()),
        0,
        0,
        0,
        0,
    ]);
    reply.extend(question);
    if let Some(address) = address {
        reply.extend([0xC0, 0x0C, 0, 1, 0, 1]);
        reply.extend(TTL.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(address);
    }
    Some(reply)
}

/// A resolver that asks such a server, and how often it did.
async fn resolver(reach: Reach, hosts: &str) -> (Guarded, Arc<AtomicU32>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let at = socket.local_addr().expect("bound");
    let queries = Arc::new(AtomicU32::new(0));
    let count = queries.clone();
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut query).await {
            count.fetch_add(1, Ordering::Relaxed);
            if let Some(reply) = reply(&query[..len]) {
                socket.send_to(&reply, from).await.expect("sent");
            }
        }
    });
    let mut udp = ConnectionConfig::udp();
    udp.port = at.port();
    let server = NameServerConfig::new(at.ip(), true, vec![udp]);
    let search = vec![DnsName::from_str("corp.test.").expect("a name")];
    let config = ResolverConfig::from_parts(None, search, vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let servers = build(builder, Duration::from_secs(10)).expect("no TLS to fail");
    let mut listed = Hosts::default();
    listed.read_hosts_conf(hosts.as_bytes()).expect("readable");
    (Guarded::with(Some(servers), listed, reach), queries)
}

async fn addresses(resolver: &Guarded, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    resolver
        .names
        .addresses(name)
        .await
        .map(|found| found.to_vec())
}

/// What a client makes of it.
async fn outcome(resolver: &Guarded, url: &str) -> Outcome {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .no_proxy()
        .dns_resolver(Arc::new(resolver.clone()))
        .build()
        .expect("a client");
    let error = client.get(url).send().await.expect_err("nobody is there");
    failure::outcome(&error)
}

#[tokio::test]
async fn a_name_is_asked_for_once_while_its_answer_stands() {
    let (resolver, queries) = resolver(Reach::Public, "").await;
    let (first, second) = tokio::join!(
        addresses(&resolver, "public.test"),
        addresses(&resolver, "public.test")
    );
    let expected: [IpAddr; 1] = [[93, 184, 216, 34].into()];
    assert_eq!(first.expect("found"), expected);
    assert_eq!(second.expect("found"), expected);
    addresses(&resolver, "dead.test").await.expect_err("dead");
    addresses(&resolver, "dead.test").await.expect_err("dead");
    assert_eq!(queries.load(Ordering::Relaxed), 4, "two families each");
}

#[tokio::test]
async fn a_dead_name_is_told_from_a_server_that_fails() {
    let (resolver, _) = resolver(Reach::Public, "").await;
    for (host, expected) in [
        ("dead.test", Outcome::Dns),
        ("empty.test", Outcome::Dns),
        ("fail.test", Outcome::Resolver),
        ("refuse.test", Outcome::Resolver),
        ("private.test", Outcome::PrivateAddress),
        ("loopback.test", Outcome::PrivateAddress),
    ] {
        let found = outcome(&resolver, &format!("http://{host}/")).await;
        assert_eq!(found, expected, "{host}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_no_answer_and_has_an_end() {
    let (resolver, _) = resolver(Reach::Public, "").await;
    let begun = tokio::time::Instant::now();
    let found = addresses(&resolver, "silent.test").await;
    assert!(matches!(found, Err(Unresolved::NoAnswer(_))), "{found:?}");
    assert!(
        begun.elapsed() <= Duration::from_secs(11),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn servers_that_answer_nothing_for_long_are_broken_until_they_answer() {
    let (resolver, _) = resolver(Reach::Public, "").await;
    for at in 0..BROKEN {
        assert!(!resolver.broken());
        let found = addresses(&resolver, &format!("fail{at}.test")).await;
        found.expect_err("no answer");
    }
    assert!(resolver.broken());
    addresses(&resolver, "dead.test").await.expect_err("dead");
    assert!(!resolver.broken());
}

#[tokio::test]
async fn an_address_is_refused_only_where_it_may_not_be_asked() {
    let (resolver, _) = resolver(Reach::Any, "").await;
    let name = "private.test".parse().expect("a name");
    let found = resolver
        .resolve(name)
        .await
        .map(Iterator::collect::<Vec<_>>);
    assert_eq!(
        found.expect("allowed"),
        [SocketAddr::from(([10, 0, 0, 1], 0))]
    );
}

#[tokio::test]
async fn the_hosts_file_is_asked_first_and_alone() {
    let (resolver, queries) = resolver(Reach::Any, "192.0.2.1 silent.test web\n").await;
    let expected: [IpAddr; 1] = [[192, 0, 2, 1].into()];
    for name in ["silent.test", "web"] {
        assert_eq!(addresses(&resolver, name).await.expect("listed"), expected);
    }
    assert!(
        !addresses(&resolver, "localhost")
            .await
            .expect("always")
            .is_empty()
    );
    assert_eq!(queries.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn only_single_labels_go_through_the_search_list() {
    let (resolver, queries) = resolver(Reach::Any, "").await;
    addresses(&resolver, "public")
        .await
        .expect("public.corp.test");
    let before = queries.load(Ordering::Relaxed);
    addresses(&resolver, "dead.test").await.expect_err("dead");
    assert_eq!(queries.load(Ordering::Relaxed) - before, 2);
}

#[tokio::test]
async fn what_cannot_be_a_name_is_a_dead_one() {
    let (resolver, queries) = resolver(Reach::Any, "").await;
    let long = format!("{}.test", "x".repeat(64));
    for name in [long.as_str(), "a..test"] {
        let found = addresses(&resolver, name).await;
        assert!(
            matches!(found, Err(Unresolved::DeadName)),
            "{name}: {found:?}"
        );
    }
    assert_eq!(queries.load(Ordering::Relaxed), 0);
}

#[test]
fn a_resolver_can_be_made_before_there_is_a_runtime() {
    let resolver = Guarded::new(Reach::Public, Duration::from_secs(1));
    assert!(!resolver.broken());
}
