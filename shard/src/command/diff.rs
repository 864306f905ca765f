//! `lcl-shard diff`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lcl_shard::inspect::diff::{self, DiffError, Entry};

use super::progress::Progress;
use super::show;

const DIFF: &str = "\
Documents are told by id, in whatever order they stand; images of a document by URL, the second of one URL with the second.
  -  only in A
  +  only in B
  ~  in both, and what differs

Exit status: 0 no difference, 1 a difference, 2 trouble.";

/// Say what was added, lost or changed between two datasets, by document and outcome
#[derive(Args)]
#[command(
    after_help = DIFF,
    long_about = "Says what was added, lost or changed between two datasets, say two runs of ingest, by document and outcome.\n\n\
    Pixels are not read: SHA-256 of what was fetched tells images apart. Memory: 88 bytes a document and 40 an image, of both \
    datasets; of a million documents at a time."
)]
pub(crate) struct Diff {
    /// Folder of a dataset
    a: PathBuf,
    /// Folder of another
    b: PathBuf,
    /// Every document that differs, a line each, before the counts
    #[arg(long)]
    list: bool,
    /// As one JSON object; with --list as one a line, the counts last
    #[arg(long)]
    json: bool,
}

impl Diff {
    /// Never fails: what [`main`](crate::main) does with errors is not what diff(1) does.
    pub(super) fn run(self, out: &mut impl Write) -> ExitCode {
        match self.compare(out) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(2)
            }
        }
    }

    /// Whether they are the same.
    fn compare(&self, out: &mut impl Write) -> anyhow::Result<bool> {
        let json = self.json;
        let mut list = |entry: &Entry| match json {
            true => line(entry, out),
            false => writeln!(out, "{entry}"),
        };
        let list: Option<diff::List> = if self.list { Some(&mut list) } else { None };
        let mut progress = Progress::start("comparing");
        let found = diff::diff(&self.a, &self.b, list, &mut |read, of| {
            progress.show(read, of)
        });
        drop(progress);
        let found = match found {
            // A reader that has seen enough has seen a difference.
            Err(DiffError::Write(error)) if is_closed(&error) => return Ok(false),
            found => found?,
        };
        let shown = match (self.list, self.json) {
            (true, true) => line(&found, out).map_err(Into::into),
            (true, false) if !found.same => writeln!(out)
                .map_err(Into::into)
                .and_then(|()| show(&found, false, out)),
            _ => show(&found, self.json, out),
        };
        match shown {
            Err(error) if error.downcast_ref().is_some_and(is_closed) => Ok(found.same),
            shown => shown.map(|()| found.same),
        }
    }
}

fn line(entry: &impl serde::Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, entry)?;
    writeln!(out)
}

fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}
