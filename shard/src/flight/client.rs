//! A stream that a server makes: the same batches as in process, and after a break the next one.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::utils::flight_data_to_arrow_batch;
use arrow_flight::{Action, FlightData, FlightDescriptor, Ticket as RawTicket};
use crossbeam::channel::{Receiver, Sender, bounded};
use lcl_schemas::dataset::Header;
use lcl_schemas::wire::{self, BatchShape};
use tokio::runtime::Runtime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::{Ask, Behind, Details};
use crate::config::StreamConfig;
use crate::cursor::Position;
use crate::stream::Delivered;

/// Largest message taken: a batch is one message.
const MAX_MESSAGE: usize = 2 << 30;
/// What the server may send ahead of its reader, in bytes: two fifths of a batch of 64 images at 224².
const WINDOW: u32 = 4 << 20;
/// Largest piece of a message, in bytes.
const FRAME: u32 = 1 << 20;
/// Between two tries, at first; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between two tries, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Until a server has to have accepted a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a stream is served: `grpc://HOST:PORT/STREAM`, or `grpcs://` with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    secure: bool,
    authority: String,
    stream: String,
}

/// What a server may want, and for how long it is asked again.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its token.
    pub token: Option<String>,
    /// PEM of who signed its certificate, where that is nobody whom the system knows.
    pub authority: Option<PathBuf>,
    /// How long a server that is away is asked again.
    pub retry: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            token: None,
            authority: None,
            retry: Duration::from_secs(300),
        }
    }
}

/// Why a remote stream stops.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Not a URL of a stream.
    #[error("{0} is no stream's URL: write it as grpc://HOST:PORT/STREAM, or grpcs:// with TLS")]
    Url(String),
    /// A file that is not there.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The token cannot be sent.
    #[error("the token holds characters that no header takes")]
    Token,
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Runtime(std::io::Error),
    /// The transport refuses its settings.
    #[error("{url}: {detail}")]
    Transport {
        /// The server.
        url: String,
        /// With its causes.
        detail: String,
    },
    /// The server was away for longer than it is asked again.
    #[error(
        "{url} could not be reached for {seconds} s ({detail}); go on with --resume when it is back"
    )]
    Away {
        /// The server.
        url: String,
        /// As configured.
        seconds: u64,
        /// What was said last.
        detail: String,
    },
    /// The server says no.
    #[error("{url} answers {code:?}: {message}")]
    Refused {
        /// The server.
        url: String,
        /// What kind of no.
        code: Code,
        /// Its words.
        message: String,
    },
    /// What came is no batch of this stream.
    #[error("{url} sent something else than a batch of this stream: {detail}")]
    Wire {
        /// The server.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// The thread that reads is gone, which only a bug can cause.
    #[error("the thread of the stream ended early; its message stands above")]
    ThreadGone,
}

/// Batches of one rank, from a server.
pub struct Remote {
    header: Header,
    tokenizer: Option<Vec<u8>>,
    deliveries: Option<Receiver<Result<Delivered, RemoteError>>>,
    thread: Option<JoinHandle<()>>,
}

impl RemoteUrl {
    /// Whether a dataset's name is meant as one.
    pub fn is_url(text: &str) -> bool {
        text.starts_with("grpc://") || text.starts_with("grpcs://")
    }
}

impl FromStr for RemoteUrl {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mistake = || RemoteError::Url(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(mistake)?;
        let (authority, stream) = rest.split_once('/').ok_or_else(mistake)?;
        let secure = match scheme {
            "grpc" => false,
            "grpcs" => true,
            _ => return Err(mistake()),
        };
        if authority.is_empty() || stream.is_empty() || stream.contains('/') {
            return Err(mistake());
        }
        Ok(Self {
            secure,
            authority: authority.to_owned(),
            stream: stream.to_owned(),
        })
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "grpcs" } else { "grpc" };
        write!(f, "{scheme}://{}/{}", self.authority, self.stream)
    }
}

impl Remote {
    /// Opens a stream at its start, or at a position; `config` says all but what is the server's own.
    ///
    /// # Errors
    /// A server that cannot be reached, or that does not give this stream.
    pub fn open(
        url: &RemoteUrl,
        access: &Access,
        config: &StreamConfig,
        from: Option<Position>,
    ) -> Result<Self, RemoteError> {
        let ask = Ask {
            stream: url.stream.clone(),
            rank: config.rank,
            world_size: config.world_size,
            settings: Ask::settings(config),
            position: from,
        };
        let shape = BatchShape {
            context: config.context,
            edge: config.edge,
            slots: config.slots,
            form: config.pictures,
        };
        // The connection lives on a thread of the runtime, so that it answers while the reader below waits for its consumer.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(RemoteError::Runtime)?;
        let server = Server::new(url, access, shape)?;
        let (header, tokenizer) = runtime.block_on(server.details(&ask))?;
        let (sender, deliveries) = bounded(config.prefetch);
        let thread = std::thread::spawn(move || read(&runtime, &server, ask, &sender));
        Ok(Self {
            header,
            tokenizer,
            deliveries: Some(deliveries),
            thread: Some(thread),
        })
    }

    /// What is true of every row.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// `tokenizer.json`, where it is not the built-in one.
    pub fn tokenizer(&self) -> Option<&[u8]> {
        self.tokenizer.as_deref()
    }
}

impl Iterator for Remote {
    type Item = Result<Delivered, RemoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Ok(delivered) = self.deliveries.as_ref()?.recv() else {
            let ended = self.thread.take()?.join();
            return ended.is_err().then_some(Err(RemoteError::ThreadGone));
        };
        if delivered.is_err() {
            self.deliveries = None;
        }
        Some(delivered)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The thread then fails to hand on its next batch and ends.
        self.deliveries = None;
        if let Some(thread) = self.thread.take() {
            // A panic has already been reported on stderr.
            let _ = thread.join();
        }
    }
}

/// How a connection ended.
enum Ended {
    /// The stream has no more.
    Finished,
    /// Nobody takes batches any more.
    Unwanted,
}

/// Reads until the stream ends, fails for good, or nobody listens; a broken connection is made anew where it broke.
fn read(
    runtime: &Runtime,
    server: &Server,
    mut ask: Ask,
    deliveries: &Sender<Result<Delivered, RemoteError>>,
) {
    let mut tries = Tries::new(server.retry);
    loop {
        let took = runtime.block_on(server.stream(&mut ask, &mut tries, deliveries));
        let error = match took {
            Ok(Ended::Finished | Ended::Unwanted) => return,
            Err(error) => error,
        };
        match tries.pause(&error) {
            Some(pause) => std::thread::sleep(pause),
            None => {
                // Nobody misses it who is gone.
                let _ = deliveries.send(Err(server.given_up(error)));
                return;
            }
        }
    }
}

/// What went wrong on a connection.
enum Failure {
    Transport(String),
    Status(Status),
    Wire(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// How long a server has been away, and how long it may be.
struct Tries {
    limit: Duration,
    since: Option<Instant>,
    next: Duration,
}

impl Tries {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            next: FIRST_PAUSE,
        }
    }

    fn succeeded(&mut self) {
        self.since = None;
        self.next = FIRST_PAUSE;
    }

    /// How long to wait before the next try; `None` where none would help, or for too long now.
    fn pause(&mut self, failure: &Failure) -> Option<Duration> {
        let may_heal = match failure {
            Failure::Transport(_) => true,
            Failure::Status(status) => matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::ResourceExhausted | Code::Cancelled
            ),
            Failure::Wire(_) => false,
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if !may_heal || since.elapsed() >= self.limit {
            return None;
        }
        let pause = self.next;
        self.next = (2 * pause).min(LONGEST_PAUSE);
        Some(pause)
    }
}

/// A server, as it is reached.
struct Server {
    url: String,
    endpoint: Endpoint,
    token: Option<MetadataValue<Ascii>>,
    shape: BatchShape,
    retry: Duration,
}

impl Server {
    fn new(url: &RemoteUrl, access: &Access, shape: BatchShape) -> Result<Self, RemoteError> {
        let scheme = if url.secure { "https" } else { "http" };
        let transport = |error: tonic::transport::Error| RemoteError::Transport {
            url: url.to_string(),
            detail: with_causes(&error),
        };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", url.authority))
            .map_err(transport)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME);
        let endpoint = match url.secure {
            false => endpoint,
            true => endpoint
                .tls_config(tls(access.authority.as_deref())?)
                .map_err(transport)?,
        };
        let token = access.token.as_deref().map(|token| {
            let value = format!("Bearer {}", token.trim());
            value.parse().map_err(|_| RemoteError::Token)
        });
        Ok(Self {
            url: url.to_string(),
            endpoint,
            token: token.transpose()?,
            shape,
            retry: access.retry,
        })
    }

    async fn connect(&self) -> Result<FlightServiceClient<Channel>, Failure> {
        let channel = self.endpoint.connect().await;
        let channel = channel.map_err(|error| Failure::Transport(with_causes(&error)))?;
        Ok(FlightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE))
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        request
    }

    /// A ticket, and what the stream is.
    async fn ticket(
        &self,
        client: &mut FlightServiceClient<Channel>,
        ask: &Ask,
    ) -> Result<(RawTicket, Details), Failure> {
        let command = serde_json::to_vec(ask).map_err(|error| Failure::Wire(error.to_string()))?;
        let descriptor = FlightDescriptor::new_cmd(command);
        let info = client.get_flight_info(self.request(descriptor)).await?;
        let info = info.into_inner();
        let details: Details = serde_json::from_slice(&info.app_metadata)
            .map_err(|error| Failure::Wire(format!("its details: {error}")))?;
        let ticket = info.endpoint.into_iter().next().and_then(|at| at.ticket);
        let ticket = ticket.ok_or_else(|| Failure::Wire("it gives no ticket".into()))?;
        Ok((ticket, details))
    }

    /// The dataset's header and tokenizer; a server that is away is asked again.
    async fn details(&self, ask: &Ask) -> Result<(Header, Option<Vec<u8>>), RemoteError> {
        let mut tries = Tries::new(self.retry);
        loop {
            let failure = match self.try_details(ask).await {
                Ok(details) => return Ok(details),
                Err(failure) => failure,
            };
            match tries.pause(&failure) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(self.given_up(failure)),
            }
        }
    }

    async fn try_details(&self, ask: &Ask) -> Result<(Header, Option<Vec<u8>>), Failure> {
        let mut client = self.connect().await?;
        let (_, details) = self.ticket(&mut client, ask).await?;
        let action = Action::new("tokenizer", ask.stream.clone());
        let mut answers = client.do_action(self.request(action)).await?.into_inner();
        let tokenizer = answers.message().await?.map(|answer| answer.body.to_vec());
        Ok((details.header, tokenizer))
    }

    /// One connection's batches, from where `ask` stands; it moves on with every batch that is handed on.
    async fn stream(
        &self,
        ask: &mut Ask,
        tries: &mut Tries,
        deliveries: &Sender<Result<Delivered, RemoteError>>,
    ) -> Result<Ended, Failure> {
        let mut client = self.connect().await?;
        let (ticket, _) = self.ticket(&mut client, ask).await?;
        let mut messages = client.do_get(self.request(ticket)).await?.into_inner();
        let mut schema: Option<Schema> = None;
        while let Some(message) = messages.message().await? {
            let Some(schema) = &schema else {
                let read = Schema::try_from(&message);
                schema = Some(read.map_err(|error| Failure::Wire(error.to_string()))?);
                continue;
            };
            let delivered = self.delivered(&message, schema)?;
            tries.succeeded();
            let position = delivered.position.clone();
            // Waits for the consumer; the connection answers meanwhile, and the server stops at a full window.
            if deliveries.send(Ok(delivered)).is_err() {
                return Ok(Ended::Unwanted);
            }
            ask.position = Some(position);
        }
        Ok(Ended::Finished)
    }

    fn delivered(&self, message: &FlightData, schema: &Schema) -> Result<Delivered, Failure> {
        let wire = |error: &dyn fmt::Display| Failure::Wire(error.to_string());
        let schema = schema.clone().into();
        let record = flight_data_to_arrow_batch(message, schema, &HashMap::new())
            .map_err(|error| wire(&error))?;
        let batch = wire::from_arrow(&record, self.shape).map_err(|error| wire(&error))?;
        let behind: Behind =
            serde_json::from_slice(&message.app_metadata).map_err(|error| wire(&error))?;
        Ok(Delivered {
            batch,
            position: behind.position,
            epoch: behind.epoch,
            passed: behind.passed,
            given: behind.given,
            lost: behind.lost,
        })
    }

    fn given_up(&self, failure: Failure) -> RemoteError {
        let url = self.url.clone();
        let seconds = self.retry.as_secs();
        match failure {
            Failure::Wire(detail) => RemoteError::Wire { url, detail },
            Failure::Transport(detail) => RemoteError::Away {
                url,
                seconds,
                detail,
            },
            Failure::Status(status) if status.code() == Code::Unavailable => RemoteError::Away {
                url,
                seconds,
                detail: status.message().to_owned(),
            },
            Failure::Status(status) => RemoteError::Refused {
                url,
                code: status.code(),
                message: status.message().to_owned(),
            },
        }
    }
}

fn tls(authority: Option<&Path>) -> Result<ClientTlsConfig, RemoteError> {
    let Some(path) = authority else {
        return Ok(ClientTlsConfig::new().with_enabled_roots());
    };
    let pem = std::fs::read(path).map_err(|source| RemoteError::File {
        path: path.to_owned(),
        source,
    })?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_server_and_stream() {
        let url: RemoteUrl = "grpcs://example.org:7070/train".parse().expect("a URL");
        assert_eq!(url.to_string(), "grpcs://example.org:7070/train");
        for text in [
            "grpc://",
            "grpc://a",
            "grpc://a/",
            "grpc:///b",
            "http://a/b",
            "grpc://a/b/c",
            "data",
        ] {
            assert!(text.parse::<RemoteUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_that_is_away_is_asked_again_and_one_that_says_no_is_not() {
        let mut tries = Tries::new(Duration::from_secs(60));
        let away = || Failure::Transport(String::new());
        assert_eq!(tries.pause(&away()), Some(FIRST_PAUSE));
        assert_eq!(tries.pause(&away()), Some(2 * FIRST_PAUSE));
        tries.succeeded();
        assert_eq!(tries.pause(&away()), Some(FIRST_PAUSE));
        let no = Failure::Status(Status::invalid_argument(""));
        assert_eq!(tries.pause(&no), None);
        assert_eq!(Tries::new(Duration::ZERO).pause(&away()), None);
    }
}
