//! Flight's calls: which streams there are, a ticket for one, its batches, its tokenizer.

use std::pin::Pin;
use std::sync::Arc;

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket as RawTicket,
};
use futures::Stream as AsyncStream;
use futures::StreamExt;
use lcl_schemas::dataset::TOKENIZER_FILE;
use lcl_schemas::wire::BatchShape;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::ServeError;
use super::config::ServeConfig;
use super::feed::{Feed, Message, status};
use super::metrics::Metrics;
use crate::config::StreamConfig;
use crate::flight::{Ask, Details, Ticket};
use crate::planner::open_readers;
use crate::read::Readers;
use crate::stream::Stream;

/// The action that gives a stream's `tokenizer.json`.
const TOKENIZER: &str = "tokenizer";

/// What every call needs. Nothing of any client.
pub(super) struct Service {
    config: ServeConfig,
    readers: Arc<Readers>,
    token: Option<String>,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    stopped: watch::Receiver<bool>,
}

type Answers<T> = Pin<Box<dyn AsyncStream<Item = Result<T, Status>> + Send>>;

impl Service {
    pub(super) fn new(
        config: &ServeConfig,
        readers: Arc<Readers>,
        metrics: Arc<Metrics>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, ServeError> {
        Ok(Self {
            token: config.token()?,
            places: Arc::new(Semaphore::new(config.max_streams)),
            config: config.clone(),
            readers,
            metrics,
            stopped,
        })
    }

    /// Whether a request carries the token.
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let sent = request.metadata().get("authorization");
        let sent = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match sent.is_some_and(|sent| same(sent.as_bytes(), token.as_bytes())) {
            true => Ok(()),
            false => Err(self.refuse(Status::unauthenticated(
                "this server wants its token, as `authorization: Bearer …`",
            ))),
        }
    }

    fn refuse(&self, status: Status) -> Status {
        self.metrics.refused();
        status
    }

    /// The ask of a descriptor: a command in JSON, or a path of a stream's name.
    fn ask(&self, descriptor: &FlightDescriptor) -> Result<Ask, Status> {
        match (descriptor.r#type(), &descriptor.path[..]) {
            (DescriptorType::Cmd, _) => serde_json::from_slice(&descriptor.cmd).map_err(|error| {
                self.refuse(mistake(format!("the command is no request: {error}")))
            }),
            (DescriptorType::Path, [name]) => Ok(Ask {
                stream: name.clone(),
                ..Ask::default()
            }),
            _ => Err(self.refuse(mistake(
                "ask by a path of one name, or by a command in JSON",
            ))),
        }
    }

    /// The stream that is asked for, within this server's limits.
    fn stream(&self, ask: &Ask) -> Result<StreamConfig, Status> {
        let served = self.config.streams.get(&ask.stream).ok_or_else(|| {
            let names: Vec<_> = self.config.streams.keys().map(String::as_str).collect();
            let there = names.join(", ");
            Status::not_found(format!("no stream {:?}; there are: {there}", ask.stream))
        })?;
        let config = ask
            .applied(served)
            .map_err(|error| mistake(error.to_string()))?;
        config
            .validate()
            .map_err(|error| mistake(error.to_string()))?;
        self.config.check_size(&config).map_err(mistake)?;
        // A block's ids are in memory at once; 8 is what a client asks for who sets nothing.
        let most = served.block_row_groups.max(8);
        if config.block_row_groups > most {
            let asked = config.block_row_groups;
            return Err(mistake(format!(
                "block_row_groups = {asked}: may be at most {most} here"
            )));
        }
        Ok(config)
    }

    async fn info(&self, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        let ask = self.ask(&descriptor)?;
        let config = self.stream(&ask).map_err(|status| self.refuse(status))?;
        let readers = blocking({
            let (config, position) = (config.clone(), ask.position.clone());
            let readers = self.readers.clone();
            move || {
                let opened = open_readers(&config, position.as_ref(), &readers);
                opened.map_err(|error| status(&error))
            }
        })
        .await?;
        let manifests: Vec<_> = readers
            .iter()
            .map(|reader| reader.manifest().to_owned())
            .collect();
        let details = Details {
            header: readers[0].header().clone(),
            configuration: config.identity(),
            manifests: manifests.clone(),
            context: config.context,
            edge: config.edge,
            slots: config.slots,
            rows: config.rows,
        };
        let ticket = Ticket {
            ask,
            configuration: details.configuration.clone(),
            manifests,
        };
        let endpoint = FlightEndpoint::new().with_ticket(RawTicket::new(json(&ticket)?));
        let schema = shape(&config).schema();
        let details = json(&details)?;
        FlightInfo::new()
            .try_with_schema(&schema)
            .map(|info| {
                info.with_descriptor(descriptor)
                    .with_endpoint(endpoint)
                    .with_ordered(true)
                    .with_app_metadata(details)
            })
            .map_err(|error| Status::internal(error.to_string()))
    }

    async fn feed(&self, ticket: &RawTicket) -> Result<mpsc::Receiver<Message>, Status> {
        let ticket: Ticket = serde_json::from_slice(&ticket.ticket)
            .map_err(|error| mistake(format!("not a ticket of this server: {error}")))?;
        let config = self.stream(&ticket.ask)?;
        if config.identity() != ticket.configuration {
            return Err(Status::failed_precondition(
                "the ticket is of another configuration: the server was configured anew; ask for a new ticket",
            ));
        }
        let config = pinned(config, &ticket.manifests)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{} streams are being read, and that is max_streams",
                self.config.max_streams
            ))
        })?;
        let position = ticket.ask.position;
        let readers = self.readers.clone();
        let stream = blocking(move || {
            let opened = Stream::open_shared(config, position, &readers);
            opened.map_err(|error| status(&error))
        })
        .await?;
        let feed = Feed {
            name: ticket.ask.stream,
            stream,
            metrics: self.metrics.clone(),
            stopped: self.stopped.clone(),
            _place: place,
        };
        // One batch waits here, one is being written; the stream itself has `prefetch` more.
        let (sender, messages) = mpsc::channel(1);
        std::thread::spawn(move || feed.run(&sender));
        Ok(messages)
    }
}

/// With the manifests that the ticket names.
fn pinned(config: StreamConfig, manifests: &[String]) -> Result<StreamConfig, Status> {
    let mut sources = config.sources();
    if sources.len() != manifests.len() {
        return Err(mistake("the ticket is of other datasets"));
    }
    for (source, manifest) in sources.iter_mut().zip(manifests) {
        source.manifest.clone_from(manifest);
    }
    Ok(match config.mix.is_empty() {
        true => StreamConfig {
            manifest: manifests[0].clone(),
            ..config
        },
        false => StreamConfig {
            mix: sources,
            ..config
        },
    })
}

fn shape(config: &StreamConfig) -> BatchShape {
    BatchShape {
        context: config.context,
        edge: config.edge,
        slots: config.slots,
        form: config.pictures,
    }
}

fn mistake(what: impl Into<String>) -> Status {
    Status::invalid_argument(what)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Status> {
    serde_json::to_vec(value).map_err(|error| Status::internal(error.to_string()))
}

/// Reading files does not belong on the runtime's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        Err(Status::internal(
            "a thread ended early; see the server's log",
        ))
    })
}

/// In a time that does not tell how much of it is right.
fn same(sent: &[u8], token: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    sent.ct_eq(token).into()
}

fn unsupported<T>() -> Result<T, Status> {
    Err(Status::unimplemented(
        "this server streams, and nothing else",
    ))
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.admit(&request)?;
        let mut flights = Vec::new();
        for name in self.config.streams.keys() {
            let descriptor = FlightDescriptor::new_path(vec![name.clone()]);
            match self.info(descriptor).await {
                Ok(info) => flights.push(Ok(info)),
                // An error would end the list: who asks for this stream by its name is told.
                Err(status) => {
                    self.refuse(status);
                }
            }
        }
        Ok(Response::new(futures::stream::iter(flights).boxed()))
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.admit(&request)?;
        Ok(Response::new(self.info(request.into_inner()).await?))
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        self.admit(&request)?;
        let info = self.info(request.into_inner()).await?;
        Ok(Response::new(SchemaResult {
            schema: info.schema,
        }))
    }

    async fn do_get(
        &self,
        request: Request<RawTicket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        self.admit(&request)?;
        let fed = self.feed(request.get_ref()).await;
        let messages = fed.map_err(|status| self.refuse(status))?;
        Ok(Response::new(ReceiverStream::new(messages).boxed()))
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        self.admit(&request)?;
        let Action { r#type, body } = request.into_inner();
        if r#type != TOKENIZER {
            return Err(self.refuse(mistake(format!(
                "no action {type:?}; there is: {TOKENIZER}"
            ))));
        }
        let ask = Ask {
            stream: String::from_utf8_lossy(&body).into_owned(),
            ..Ask::default()
        };
        let config = self.stream(&ask).map_err(|status| self.refuse(status))?;
        let path = config.sources()[0].dataset.join(TOKENIZER_FILE);
        let found = blocking(move || match std::fs::read(&path) {
            Ok(json) => Ok(Some(json)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Status::data_loss(format!("{}: {error}", path.display()))),
        });
        let answers = found
            .await?
            .map(|json| Ok(arrow_flight::Result { body: json.into() }));
        Ok(Response::new(futures::stream::iter(answers).boxed()))
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        self.admit(&request)?;
        let tokenizer = ActionType {
            r#type: TOKENIZER.into(),
            description:
                "the tokenizer.json of the stream that the body names; nothing for the built-in one"
                    .into(),
        };
        Ok(Response::new(
            futures::stream::iter([Ok(tokenizer)]).boxed(),
        ))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        unsupported()
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        unsupported()
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        unsupported()
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        unsupported()
    }
}
