//! `lcl-shard sql`.

mod complete;
mod shell;

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args;
use clap::error::ErrorKind;
use lcl_shard::inspect::OnTerminal;
use lcl_shard::inspect::sql::{self, Format, Given, SqlError, Tables};

use super::kept::{Existing, Kept};
use super::runtime;

/// Answer SQL queries over datasets: their documents, images, requests, commits and row groups
#[derive(Args)]
#[command(
    long_about = "Answers SQL queries over one or more datasets, on this machine or by URL; without a query, in a shell.\n\n\
    documents   a row per document: id, source, url, language, texts, images, image_bytes, tokens, spans, n_tokens, n_images\n\
    images      a row per image: id (its document's), source, page_url, place, url, alt, outcome, sha256, phash, format,\n            \
    width, height, original_width, original_height, original_bytes, similarity, sentence, bytes\n\
    fetches     a row per image asked for, from the logs of all commits: url, final_url, class, outcome, status, detail,\n            \
    ms, bytes, etag, last_modified, time, unit, generation, live\n\
    commits     a row per commit, `live` or superseded: unit, generation, documents, tokens, images, shards, bytes,\n            \
    record_outcomes['written'], image_outcomes['http_404'], faults, ...\n\
    row_groups  a row per row group: the manifest\n\n\
    Only the columns and row groups that a query needs are read; pixels only for image_bytes and bytes. `DESCRIBE images` shows\n\
    the types. Besides DataFusion's functions there are detokenize(tokens), host(url), hamming(a, b), thumbnail(bytes, px) and\n\
    octet_length(bytes). Nothing is written but --out.",
    after_long_help = "\
Examples:
  lcl-shard sql dataset                                            a shell: \\? helps, Tab completes
  lcl-shard sql dataset \"SELECT outcome, count(*) FROM images GROUP BY 1 ORDER BY 2 DESC\"
  lcl-shard sql dataset \"SELECT host(url), count(*) FROM fetches GROUP BY 1 ORDER BY 2 DESC LIMIT 20\"
  lcl-shard sql dataset \"SELECT detokenize(tokens) FROM documents WHERE id = 'x'\" --format json
  lcl-shard sql dataset \"SELECT id, place, thumbnail(bytes, 64) AS small FROM images\" --out small.parquet
  lcl-shard sql monday --join tuesday=runs/2 \"SELECT id FROM documents EXCEPT SELECT id FROM tuesday.documents\"
  lcl-shard sql https://host/dataset \"SELECT count(*) FROM documents\"
  echo \"SELECT 1; SELECT 2\" | lcl-shard sql s3://bucket/dataset --format csv

A URL has the scheme http, https, s3, gs, az, abfs, abfss or file. Credentials come from the environment: AWS_ACCESS_KEY_ID and
its like, AWS_SKIP_SIGNATURE=true for public buckets, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME. A plain web server
must answer range requests, and cannot list files: `fetches` and `commits` are then refused."
)]
pub(crate) struct Sql {
    /// Folder or URL of the dataset; with NAME= before it, its tables are NAME.documents and so on too
    #[arg(value_name = "DATASET")]
    dataset: Given,
    /// One query, or several separated by `;`; without one they are read from stdin, on a terminal in a shell
    query: Option<String>,
    /// A further dataset, whose tables are NAME.documents and so on
    #[arg(long, value_name = "NAME=DATASET")]
    join: Vec<Given>,
    /// How the answer is written; table, if the name of --out does not say
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where the answer is written: a new file, whole or not there
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Sql {
    pub(super) fn run(self, out: &mut impl Write) -> anyhow::Result<()> {
        let format = self.format();
        let out: &mut dyn Write = match std::io::stdout().is_terminal() {
            true => &mut OnTerminal(out),
            false => out,
        };
        let datasets: Vec<Given> = [&self.dataset]
            .into_iter()
            .chain(&self.join)
            .cloned()
            .collect();
        let interactive =
            self.query.is_none() && self.out.is_none() && std::io::stdin().is_terminal();
        let statements = match (&self.query, interactive) {
            (_, true) => Vec::new(),
            (Some(query), false) => sql::statements(query)?,
            (None, false) => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                sql::statements(&text)?
            }
        };
        if !interactive && statements.is_empty() {
            usage("there is no query: give one, or write it to stdin");
        }
        if statements.len() > 1 && (format.is_binary() || self.out.is_some()) {
            usage(
                "a file holds one answer: give one query, or leave out --out and write a text format",
            );
        }
        let mut out = out;
        let runtime = runtime()?;
        let tables = runtime.block_on(Tables::open(&datasets));
        let tables = tables.map_err(|error| match error {
            SqlError::Given(error) => usage(&error.to_string()),
            error => error,
        })?;
        if interactive {
            return shell::Shell::new(&runtime, &tables, format)?.run(&mut out);
        }
        let Some(path) = &self.out else {
            for statement in statements {
                runtime.block_on(tables.answer(statement, format, &mut out))?;
            }
            return Ok(out.flush()?);
        };
        let mut file = Kept::create(path, Existing::Stays)?;
        for statement in statements {
            runtime.block_on(tables.answer(statement, format, &mut file))?;
        }
        file.keep()
    }

    /// As asked for, or as the file's name says.
    fn format(&self) -> Format {
        let format = match (self.format, &self.out) {
            (Some(format), _) => format,
            (None, None) => Format::default(),
            (None, Some(path)) => Format::of_file(path).unwrap_or_else(|| {
                usage("the name of --out does not say what it is to hold: give --format, or end it in .csv, .json, .parquet or .arrow")
            }),
        };
        if format.is_binary() && self.out.is_none() && std::io::stdout().is_terminal() {
            usage(
                "nobody reads Parquet or Arrow on a terminal: write it to a file with --out, or into a pipe",
            );
        }
        format
    }
}

/// Leaves with 2, as clap does.
fn usage(mistake: &str) -> ! {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{mistake}\n")).exit()
}
