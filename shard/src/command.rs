//! A subcommand a file: its arguments, and what it does with them.

mod diff;
mod export;
mod kept;
mod packing;
mod progress;
mod serve;
mod show;
mod simulate;
mod sql;
mod stats;
mod verify;
mod view;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    Sql(sql::Sql),
    Stats(stats::Stats),
    Diff(diff::Diff),
    Simulate(simulate::Simulate),
    Packing(packing::Packing),
    Serve(serve::Serve),
    Verify(verify::Verify),
    Export(export::Export),
    View(view::View),
    Show(show::Show),
}

impl Command {
    /// Does what was asked; the answer goes to `out`.
    pub(crate) fn run(self, out: &mut impl Write) -> anyhow::Result<ExitCode> {
        match self {
            Self::Sql(sql) => sql.run(out),
            Self::Stats(stats) => stats.run(out),
            Self::Diff(diff) => return Ok(diff.run(out)),
            Self::Simulate(simulate) => simulate.run(out),
            Self::Packing(packing) => packing.run(out),
            Self::Serve(serve) => serve.run(),
            Self::Verify(verify) => return verify.run(out),
            Self::Export(export) => export.run(out),
            Self::View(view) => view.run(),
            Self::Show(show) => show.run(out),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What asynchronous work runs on.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// What was found, for people or as JSON.
fn show<T: serde::Serialize + std::fmt::Display>(
    found: &T,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, found)?;
        writeln!(out)?;
    } else {
        write!(out, "{found}")?;
    }
    Ok(())
}
