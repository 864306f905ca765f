//! Request logs: that they can be read.

use std::fs::{self, File};
use std::path::Path;

use lcl_schemas::dataset::FETCH_DIR;
use lcl_schemas::guard::guarded;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::report::{Fault, Kind, Ledger};

const RESTORE: &str = "restore it from a copy; --repair sets it aside: no document depends on it, `--since` asks for its images anew";

/// Reads all logs; how many there are, and the names of those that cannot be read.
pub(super) fn check(root: &Path, ledger: &Ledger) -> (u64, Vec<String>) {
    let folder = root.join(FETCH_DIR);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".parquet") && !name.starts_with('.'))
        .collect();
    names.sort();
    let logs = names.len() as u64;
    names.retain(|name| {
        let read = guarded(|| read(&folder.join(name))).and_then(|read| read);
        let Err(detail) = read else { return false };
        let file = format!("{FETCH_DIR}/{name}");
        ledger.fault(Fault::new(Kind::Log, file, detail, RESTORE));
        true
    });
    (logs, names)
}

fn read(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| format!("it cannot be read: {error}"))?;
    if reader.schema().column_with_name("outcome").is_none() {
        return Err("it has no column `outcome`".into());
    }
    let reader = reader.build().map_err(|error| error.to_string())?;
    for batch in reader {
        batch.map_err(|error| format!("it cannot be read: {error}"))?;
    }
    Ok(())
}
