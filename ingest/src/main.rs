//! The command line: arguments to a configuration, a run to a table and an exit status.

mod arguments;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lcl_ingest::IngestError;
use lcl_ingest::redo::{self, Edit};
use lcl_ingest::report::Report;

use arguments::{Cli, Job};

fn main() -> ExitCode {
    lcl_ingest::hostile::quiet();
    let job = match Cli::parse().command.job() {
        Ok(job) => job,
        Err(mistake) => return failed(&format!("{mistake:#}"), 2),
    };
    let done = match &job {
        Job::Ingest(configs) => ingested(configs),
        Job::Redo(config, edit) => changed(config, edit),
        Job::Show(text) => {
            print(text);
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        let status = if IngestError::is_usage(&error) { 2 } else { 1 };
        failed(&error, status)
    })
}

fn ingested(configs: &[lcl_ingest::Config]) -> Result<ExitCode, IngestError> {
    // All of them before any of them: a mistake in the last should not show after a day.
    for config in configs {
        config.validate()?;
    }
    let mut status = ExitCode::SUCCESS;
    let several = configs.len() > 1;
    for config in configs {
        match lcl_ingest::run(config) {
            Ok(report) if finished(&report) => {}
            Ok(_) => status = ExitCode::from(1),
            // Of several sources the others are as good as before.
            Err(error) if several => status = failed(&error, 1),
            Err(error) => return Err(error),
        }
    }
    Ok(status)
}

fn changed(config: &lcl_ingest::Config, edit: &Edit) -> Result<ExitCode, IngestError> {
    let redone = redo::run(config, edit)?;
    print(&redone);
    Ok(ExitCode::SUCCESS)
}

/// Shows it; whether everything could be read.
fn finished(report: &Report) -> bool {
    print(report);
    for fault in report.faults.iter().take(10) {
        eprintln!("not used: {fault}");
    }
    for (name, same) in &report.repeated_inputs {
        eprintln!("read once: {name} has the same contents as {same}");
    }
    for failed in &report.failed_inputs {
        eprintln!("error: {}: {}", failed.input, failed.detail);
    }
    report.failed_inputs.is_empty()
}

fn print(what: &dyn Display) {
    // A reader that has seen enough, `head` say, is no failure.
    let _ = write!(std::io::stdout(), "{what}");
}

fn failed(what: &dyn Display, status: u8) -> ExitCode {
    eprintln!("error: {}", what.to_string().trim_end());
    ExitCode::from(status)
}
