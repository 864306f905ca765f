//! Streams over Arrow Flight: the batches that are made in process, whatever happens on the way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Criteria, FlightDescriptor, Ticket as RawTicket};
use lcl_shard::flight::server::{Listening, ServeConfig, Tls};
use lcl_shard::flight::{Access, Ask, Remote, RemoteError, RemoteUrl, Ticket};
use lcl_shard::{Delivered, OnCorrupt, Passes, PictureForm, Stream, StreamConfig, Verify};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tonic::Code;
use tonic::transport::Channel;

use crate::fixture::usual;
use crate::stream::{config, dataset};

/// A server on a free port of loopback, in this process; stops when dropped.
struct Server {
    address: SocketAddr,
    metrics: SocketAddr,
    _stop: oneshot::Sender<()>,
    runtime: Runtime,
}

impl Server {
    fn start(streams: &[(&str, StreamConfig)], change: impl FnOnce(&mut ServeConfig)) -> Self {
        let streams = streams
            .iter()
            .map(|(name, stream)| ((*name).to_owned(), stream.clone()));
        let mut config = ServeConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            metrics: Some("127.0.0.1:0".parse().expect("an address")),
            streams: streams.collect::<BTreeMap<_, _>>(),
            shutdown_grace_s: 5.0,
            ..ServeConfig::default()
        };
        change(&mut config);
        let runtime = Runtime::new().expect("threads");
        let listening = runtime
            .block_on(Listening::bind(config))
            .expect("a free port");
        let address = listening.address().expect("bound");
        let metrics = listening.metrics_address().expect("bound");
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(async move {
            let served = listening.serve(async { drop(stopped.await) }).await;
            served.expect("served to the end");
        });
        Self {
            address,
            metrics,
            _stop: stop,
            runtime,
        }
    }

    fn url(&self, stream: &str) -> RemoteUrl {
        url("grpc", self.address, stream)
    }

    /// Of Flight's calls, one by one.
    async fn client(&self) -> FlightServiceClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.address)).expect("a URL");
        FlightServiceClient::new(channel.connect().await.expect("listening"))
    }

    /// A metric's value, summed over its labels.
    fn metric(&self, name: &str) -> f64 {
        let mut socket = TcpStream::connect(self.metrics).expect("listening");
        socket
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("an answer");
        let full = format!("lcl_shard_{name}");
        let lines = text.lines().filter(|line| line.starts_with(&full));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    fn until(&self, name: &str, holds: impl Fn(f64) -> bool) {
        let begun = Instant::now();
        while !holds(self.metric(name)) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{name} stays {}",
                self.metric(name)
            );
            std::thread::yield_now();
        }
    }
}

fn url(scheme: &str, address: SocketAddr, stream: &str) -> RemoteUrl {
    format!("{scheme}://{address}/{stream}")
        .parse()
        .expect("a URL")
}

fn access() -> Access {
    Access {
        retry: Duration::from_secs(20),
        ..Access::default()
    }
}

fn impatient() -> Access {
    Access {
        retry: Duration::ZERO,
        ..Access::default()
    }
}

fn here(config: &StreamConfig, count: usize) -> Vec<Delivered> {
    let stream = Stream::open(config.clone(), None).expect("valid");
    stream.take(count).map(|d| d.expect("readable")).collect()
}

fn same(found: &Delivered, expected: &Delivered) {
    assert!(found.batch == expected.batch, "another batch");
    assert_eq!(found.position, expected.position);
    assert_eq!(found.epoch, expected.epoch);
    assert_eq!(found.given, expected.given);
    assert_eq!(found.passed, expected.passed);
}

fn takes_all(remote: Remote, expected: &[Delivered]) {
    let mut count = 0;
    for (found, expected) in remote.zip(expected) {
        same(&found.expect("served"), expected);
        count += 1;
    }
    assert_eq!(count, expected.len());
}

fn refusal(url: &RemoteUrl, access: &Access, config: &StreamConfig) -> RemoteError {
    match Remote::open(url, access, config, None) {
        Err(error) => error,
        Ok(mut remote) => remote.next().expect("an answer").expect_err("refused"),
    }
}

#[test]
fn what_is_served_is_what_is_made_in_process_for_every_rank() {
    let folder = dataset(&usual(80), 4);
    let served = config(folder.path());
    let server = Server::start(&[("train", served.clone())], |_| {});
    // A client's own settings, of which the server knew nothing.
    let wanted = StreamConfig {
        rows: 6,
        seed: 9,
        edge: 5,
        ..served
    };
    for rank in 0..3 {
        let wanted = StreamConfig {
            rank,
            world_size: 3,
            ..wanted.clone()
        };
        let expected = here(&wanted, 12);
        let remote = Remote::open(&server.url("train"), &access(), &wanted, None).expect("served");
        assert_eq!(remote.header().tokenizer.name, "numbers");
        assert_eq!(remote.tokenizer(), None);
        takes_all(remote, &expected);
    }
    assert!(server.metric("batches_total") >= 36.0);
    let encoded = StreamConfig {
        pictures: PictureForm::Encoded,
        ..wanted
    };
    let remote = Remote::open(&server.url("train"), &access(), &encoded, None).expect("served");
    takes_all(remote, &here(&encoded, 5));
    // Those who have read enough are gone, and the server knows.
    server.until("streams_open", |open| open == 0.0);
}

#[test]
fn a_stream_that_ends_ends_for_the_client_too_and_a_position_goes_on() {
    let folder = dataset(&usual(40), 4);
    let once = StreamConfig {
        passes: Passes::One,
        ..config(folder.path())
    };
    let server = Server::start(&[("once", once.clone())], |_| {});
    let expected = here(&once, usize::MAX);
    let from = Some(expected[1].position.clone());
    for (from, expected) in [(None, &expected[..]), (from, &expected[2..])] {
        let remote = Remote::open(&server.url("once"), &access(), &once, from).expect("served");
        let all: Vec<_> = remote.map(|d| d.expect("served")).collect();
        assert_eq!(all.len(), expected.len());
        all.iter()
            .zip(expected)
            .for_each(|(found, expected)| same(found, expected));
    }
}

#[test]
fn sixty_four_clients_at_once_have_their_streams_and_one_too_many_is_told() {
    let folder = dataset(&usual(60), 4);
    let stream = StreamConfig {
        threads: 1,
        ..config(folder.path())
    };
    let server = Server::start(&[("train", stream.clone())], |config| {
        config.max_streams = 64
    });
    let expected = here(&stream, 6);
    let remotes: Vec<_> = (0..64)
        .map(|_| Remote::open(&server.url("train"), &access(), &stream, None).expect("served"))
        .collect();
    server.until("streams_open", |open| open == 64.0);
    let error = refusal(&server.url("train"), &impatient(), &stream).to_string();
    assert!(
        error.contains("64 streams") && error.contains("max_streams"),
        "{error}"
    );
    std::thread::scope(|scope| {
        for remote in remotes {
            scope.spawn(|| takes_all(remote, &expected));
        }
    });
    server.until("streams_open", |open| open == 0.0);
}

/// A client that does not read holds its own stream up and nobody else's.
#[test]
fn a_client_that_reads_nothing_costs_a_bounded_number_of_batches() {
    let folder = dataset(&usual(60), 4);
    let stream = StreamConfig {
        edge: 64,
        rows: 12,
        ..config(folder.path())
    };
    let server = Server::start(&[("train", stream.clone())], |_| {});
    let idle = Remote::open(&server.url("train"), &access(), &stream, None).expect("served");
    let expected = here(&stream, 40);
    let quick = Remote::open(&server.url("train"), &access(), &stream, None).expect("served");
    takes_all(quick, &expected);
    // Of the idle one's batches those in windows and queues were sent; then nothing moves.
    let sent = server.metric("batches_total");
    takes_all(
        Remote::open(&server.url("train"), &access(), &stream, None).expect("served"),
        &expected,
    );
    let more = server.metric("batches_total") - sent;
    assert!(more < 80.0, "{more}");
    takes_all(idle, &expected);
}

/// Cuts connections after so many bytes from the server, mid-batch as often as not.
struct Proxy {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(server: SocketAddr, after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = cuts.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counted = counted.clone();
                std::thread::spawn(move || {
                    if let Ok(server) = TcpStream::connect(server)
                        && relay(client, server, after).is_ok_and(|cut| cut)
                    {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, cuts }
    }
}

/// Whether it was cut here, and not ended by either side.
fn relay(client: TcpStream, server: TcpStream, after: usize) -> std::io::Result<bool> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    let (mut from_server, mut to_client) = (server, client);
    let mut passed = 0;
    let mut buffer = [0; 4096];
    loop {
        let read = from_server.read(&mut buffer)?;
        passed += read;
        if read == 0 || passed >= after {
            to_client.shutdown(std::net::Shutdown::Both)?;
            from_server.shutdown(std::net::Shutdown::Both)?;
            return Ok(read > 0);
        }
        to_client.write_all(&buffer[..read])?;
    }
}

#[test]
fn a_connection_cut_again_and_again_loses_and_repeats_nothing() {
    let folder = dataset(&usual(60), 4);
    let stream = StreamConfig {
        edge: 32,
        ..config(folder.path())
    };
    let server = Server::start(&[("train", stream.clone())], |_| {});
    let expected = here(&stream, 40);
    let proxy = Proxy::start(server.address, 150_000);
    let remote = Remote::open(
        &url("grpc", proxy.address, "train"),
        &access(),
        &stream,
        None,
    );
    takes_all(remote.expect("served"), &expected);
    assert!(proxy.cuts.load(Ordering::Relaxed) >= 3);
}

/// The program itself, on a port of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(config: &Path, listen: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lcl-shard"))
            .args(["serve", config.to_str().expect("plain"), "--listen", listen])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut said = std::io::BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).expect("it speaks");
        let address = line
            .trim()
            .rsplit("grpc://")
            .next()
            .and_then(|at| at.parse().ok());
        let address = address.unwrap_or_else(|| panic!("it said {line:?}"));
        // Whoever writes to a pipe nobody reads would stop.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn written(folder: &TempDir, stream: &StreamConfig) -> PathBuf {
    let config = ServeConfig {
        streams: BTreeMap::from([("train".to_owned(), stream.clone())]),
        ..ServeConfig::default()
    };
    let path = folder.path().join("serve.toml");
    std::fs::write(&path, toml::to_string(&config).expect("plain")).expect("writable");
    path
}

#[test]
fn a_server_that_is_killed_and_started_again_loses_and_repeats_nothing() {
    let folder = dataset(&usual(60), 4);
    let stream = StreamConfig {
        edge: 32,
        ..config(folder.path())
    };
    let serve = written(&folder, &stream);
    let expected = here(&stream, 30);
    let mut process = Process::start(&serve, "127.0.0.1:0");
    let address = process.address;
    let mut remote =
        Remote::open(&url("grpc", address, "train"), &access(), &stream, None).expect("served");
    for (index, expected) in expected.iter().enumerate() {
        if [5, 6, 17].contains(&index) {
            drop(process);
            process = Process::start(&serve, &address.to_string());
        }
        same(&remote.next().expect("endless").expect("served"), expected);
    }
}

#[test]
fn a_server_that_is_asked_to_end_tells_its_clients_and_exits_0() {
    let folder = dataset(&usual(60), 4);
    let stream = config(folder.path());
    let serve = written(&folder, &stream);
    let expected = here(&stream, 30);
    let mut process = Process::start(&serve, "127.0.0.1:0");
    let address = process.address;
    let mut remote =
        Remote::open(&url("grpc", address, "train"), &access(), &stream, None).expect("served");
    same(
        &remote.next().expect("endless").expect("served"),
        &expected[0],
    );
    let killed = Command::new("kill")
        .args(["-TERM", &process.child.id().to_string()])
        .status();
    assert!(killed.expect("kill").success());
    assert!(process.child.wait().expect("our child").success());
    let _again = Process::start(&serve, &address.to_string());
    for expected in &expected[1..] {
        same(&remote.next().expect("endless").expect("served"), expected);
    }
}

#[test]
fn lost_data_is_named_to_the_client_and_the_server_goes_on() {
    let (good, bad) = (dataset(&usual(40), 4), dataset(&usual(40), 4));
    let with = |folder: &TempDir| StreamConfig {
        passes: Passes::One,
        verify: Verify::Size,
        ..config(folder.path())
    };
    let server = Server::start(&[("good", with(&good)), ("bad", with(&bad))], |_| {});
    let expected = here(&with(&good), usize::MAX);
    let path = bad.path().join("part-1.parquet");
    let whole = std::fs::read(&path).expect("written");
    let failure = |wanted: &StreamConfig| {
        let remote = Remote::open(&server.url("bad"), &impatient(), wanted, None).expect("served");
        let error = { remote }.find_map(Result::err).expect("lost data");
        match error {
            RemoteError::Refused { code, message, .. } => (code, message),
            other => panic!("{other}"),
        }
    };
    std::fs::write(&path, &whole[..whole.len() - 5]).expect("writable");
    let (code, message) = failure(&with(&bad));
    assert!(
        code == Code::DataLoss && message.contains("part-1.parquet"),
        "{code:?} {message}"
    );
    std::fs::remove_file(&path).expect("there");
    let (code, message) = failure(&with(&bad));
    assert!(
        code == Code::NotFound && message.contains("part-1.parquet"),
        "{code:?} {message}"
    );
    let mut corrupt = whole.clone();
    let at = corrupt
        .windows(4)
        .position(|four| four == b"\x89PNG")
        .expect("a PNG");
    corrupt[at..at + 8].fill(0);
    std::fs::write(&path, corrupt).expect("writable");
    let (code, message) = failure(&with(&bad));
    assert!(
        code == Code::DataLoss && message.contains("image at place"),
        "{code:?} {message}"
    );
    // The same with leave to go on.
    let skip = StreamConfig {
        on_corrupt: OnCorrupt::Skip,
        ..with(&bad)
    };
    let remote = Remote::open(&server.url("bad"), &access(), &skip, None).expect("served");
    let lost: usize = remote.map(|d| d.expect("served").lost.len()).sum();
    assert_eq!(lost, 1);
    let remote = Remote::open(&server.url("good"), &access(), &with(&good), None).expect("served");
    takes_all(remote, &expected);
}

const URL_OF_A_CLIENT: &str = "LCL_TEST_STREAM_URL";

#[test]
#[ignore = "the client that another test starts as a process, and kills"]
fn client_to_be_killed() {
    let url = std::env::var(URL_OF_A_CLIENT).expect("started by the other test");
    let url = url.parse().expect("a URL");
    let remote = Remote::open(&url, &access(), &config(Path::new("")), None).expect("served");
    for delivered in remote {
        delivered.expect("served");
        eprintln!("a batch");
    }
}

#[test]
fn a_client_that_is_killed_gives_its_place_back_and_the_others_go_on() {
    let folder = dataset(&usual(80), 4);
    let served = config(folder.path());
    let server = Server::start(&[("train", served.clone())], |config| {
        config.max_streams = 1
    });
    let program = std::env::current_exe().expect("running");
    let mut client = Command::new(program)
        .args([
            "--ignored",
            "--exact",
            "flight::client_to_be_killed",
            "--nocapture",
        ])
        .env(URL_OF_A_CLIENT, server.url("train").to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let said = BufReader::new(client.stderr.take().expect("piped"));
    let batches = said
        .lines()
        .map_while(Result::ok)
        .filter(|line| line == "a batch");
    assert_eq!(batches.take(3).count(), 3);
    client.kill().expect("running");
    client.wait().expect("killed");
    server.until("streams_open", |open| open == 0.0);
    let remote = Remote::open(&server.url("train"), &access(), &served, None).expect("served");
    takes_all(remote, &here(&served, 10));
}

#[test]
fn a_list_of_streams_leaves_out_the_one_whose_dataset_is_gone() {
    let (folder, gone) = (dataset(&usual(20), 4), dataset(&usual(20), 4));
    let streams = [
        ("a", config(gone.path())),
        ("b", config(folder.path())),
        ("c", config(folder.path())),
    ];
    let server = Server::start(&streams, |_| {});
    drop(gone);
    let names = server.runtime.block_on(async {
        let mut client = server.client().await;
        let flights = client
            .list_flights(Criteria::default())
            .await
            .expect("answered");
        let mut flights = flights.into_inner();
        let mut names = Vec::new();
        while let Some(info) = flights.message().await.expect("the list goes on") {
            names.extend(info.flight_descriptor.expect("given").path);
        }
        names
    });
    assert_eq!(names, ["b", "c"]);
    assert!(server.metric("refused_total") >= 1.0);
}

#[test]
fn a_server_does_not_begin_with_a_dataset_that_is_not_there_or_a_filter_that_is_none() {
    let folder = dataset(&usual(20), 4);
    let missing = config(&folder.path().join("missing"));
    let filter = StreamConfig {
        filter: "n_images >".into(),
        ..config(folder.path())
    };
    for stream in [missing, filter] {
        let config = ServeConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            streams: [("train".to_owned(), stream)].into(),
            ..ServeConfig::default()
        };
        let refused = Runtime::new()
            .expect("threads")
            .block_on(Listening::bind(config));
        let refused = refused.err().expect("refused").to_string();
        assert!(refused.starts_with("streams.train: "), "{refused}");
    }
}

#[test]
fn whoever_does_not_have_the_token_gets_nothing() {
    let folder = dataset(&usual(40), 4);
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").expect("writable");
    let stream = config(folder.path());
    let server = Server::start(&[("train", stream.clone())], |config| {
        config.token_file = Some(token);
    });
    let with = |token: Option<&str>| Access {
        token: token.map(str::to_owned),
        ..impatient()
    };
    for wrong in [None, Some("s3cre"), Some("s3cret2"), Some("")] {
        match refusal(&server.url("train"), &with(wrong), &stream) {
            RemoteError::Refused { code, .. } => assert_eq!(code, Code::Unauthenticated),
            other => panic!("{other}"),
        }
    }
    assert!(matches!(
        refusal(&server.url("train"), &with(Some("a\nb")), &stream),
        RemoteError::Token
    ));
    let remote = Remote::open(&server.url("train"), &with(Some("s3cret")), &stream, None);
    takes_all(remote.expect("admitted"), &here(&stream, 3));
}

/// A certificate of `authority` for this machine, valid until `until`.
fn certified(folder: &Path, name: &str, until: i32) -> (Tls, PathBuf) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("valid");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("signed");
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("valid");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    let write = |suffix: &str, pem: String| {
        let path = folder.join(format!("{name}-{suffix}.pem"));
        std::fs::write(&path, pem).expect("writable");
        path
    };
    let tls = Tls {
        certificate: write("cert", certificate.pem()),
        key: write("key", key.serialize_pem()),
    };
    (tls, write("authority", authority.pem()))
}

#[test]
fn tls_serves_who_trusts_it_and_an_expired_or_unknown_certificate_nobody() {
    let folder = dataset(&usual(40), 4);
    let stream = config(folder.path());
    let serve = |tls: Tls| {
        Server::start(&[("train", stream.clone())], |config| {
            config.tls = Some(tls)
        })
    };
    let (good, authority) = certified(folder.path(), "good", 2100);
    let trusting = |authority: &Path| Access {
        authority: Some(authority.to_owned()),
        ..impatient()
    };
    let server = serve(good);
    let secure = url("grpcs", server.address, "train");
    let remote = Remote::open(&secure, &trusting(&authority), &stream, None).expect("trusted");
    takes_all(remote, &here(&stream, 3));
    // In the clear, or by whom the system knows: nothing.
    refusal(&server.url("train"), &impatient(), &stream);
    refusal(&secure, &impatient(), &stream);
    let (expired, authority) = certified(folder.path(), "expired", 2021);
    let server = serve(expired);
    let error = refusal(
        &url("grpcs", server.address, "train"),
        &trusting(&authority),
        &stream,
    );
    assert!(
        error.to_string().to_lowercase().contains("expired"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_asked_is_refused_in_words_and_nothing_breaks() {
    let folder = dataset(&usual(40), 4);
    let stream = config(folder.path());
    let server = Server::start(&[("train", stream.clone())], |config| {
        config.max_batch_bytes = 1 << 20;
        config.max_ask_bytes = 1 << 16;
    });
    let said = |config: &StreamConfig, name: &str| {
        refusal(&server.url(name), &impatient(), config).to_string()
    };
    assert!(said(&stream, "trial").contains("there are: train"));
    let giant = StreamConfig {
        edge: 4096,
        ..stream.clone()
    };
    assert!(said(&giant, "train").contains("beyond"));
    // However it is asked for, no batch is beyond the server's bound: ids alone, or images that it does not decode.
    for settings in [
        StreamConfig {
            rows: 1 << 14,
            context: 1 << 12,
            slots: 1,
            edge: 1,
            max_images: 1,
            ..stream.clone()
        },
        StreamConfig {
            rows: 8,
            edge: 1,
            pictures: PictureForm::Encoded,
            ..stream.clone()
        },
    ] {
        assert!(
            said(&settings, "train").contains("beyond 1048576 bytes"),
            "{}",
            said(&settings, "train")
        );
    }
    let blocks = StreamConfig {
        block_row_groups: 1 << 16,
        ..stream.clone()
    };
    assert!(said(&blocks, "train").contains("at most 8 here"));
    let ranks = StreamConfig {
        rows: 8,
        world_size: 2,
        ..stream.clone()
    };
    assert!(said(&ranks, "train").contains("does not divide 3 lanes"));

    server.runtime.block_on(async {
        let mut client = server.client().await;
        let ask = Ask {
            stream: "train".into(),
            ..Ask::default()
        };
        let command = serde_json::to_vec(&ask).expect("plain");
        let info = client
            .get_flight_info(FlightDescriptor::new_cmd(command))
            .await
            .expect("known");
        let ticket = info.into_inner().endpoint.remove(0).ticket.expect("one");
        // A ticket of a server that had another configuration.
        let mut old: Ticket = serde_json::from_slice(&ticket.ticket).expect("ours");
        old.configuration = "0".repeat(64);
        let old = RawTicket::new(serde_json::to_vec(&old).expect("plain"));
        let status = client.do_get(old).await.expect_err("refused");
        assert_eq!(status.code(), Code::FailedPrecondition);
        // A manifest's name becomes a path.
        let mut elsewhere: Ticket = serde_json::from_slice(&ticket.ticket).expect("ours");
        elsewhere.manifests = vec!["../../elsewhere".into()];
        let elsewhere = RawTicket::new(serde_json::to_vec(&elsewhere).expect("plain"));
        let status = client.do_get(elsewhere).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().contains("64 hexadecimal digits"),
            "{status}"
        );
        // Nonsense, and more of it than a message may be.
        for (ticket, code) in [
            (vec![0xFF; 100], Code::InvalidArgument),
            (vec![b' '; 1 << 20], Code::OutOfRange),
        ] {
            let status = client
                .do_get(RawTicket::new(ticket))
                .await
                .expect_err("refused");
            assert_eq!(status.code(), code, "{status}");
        }
        client.do_get(ticket).await.expect("still there");
    });
}
