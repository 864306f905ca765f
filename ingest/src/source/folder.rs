//! A folder of saved pages, or one page: a record for each file, in the order of their paths.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::records::{At, Raw, Record, Records, RecordsError};
use crate::config::SourceKind;

/// The pages beneath `root`, or `root` itself, by their paths from [`beneath`].
pub(crate) fn pages(root: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::metadata(root)?.is_dir() {
        true => files(root, SourceKind::Html),
        false => Ok(root.file_name().map(PathBuf::from).into_iter().collect()),
    }
}

/// The inputs beneath `root`, by their paths from there, sorted. Links to folders are not followed; links of a folder of
/// pages not at all, since they would lead out of it. Hidden files and folders, pipes and devices are passed over.
pub(crate) fn files(root: &Path, kind: SourceKind) -> io::Result<Vec<PathBuf>> {
    let endings = kind.endings();
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let text = name.to_string_lossy().to_ascii_lowercase();
            if text.starts_with('.') {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(folder.join(&name));
            } else if endings.iter().any(|ending| text.ends_with(ending)) {
                let plain = entry.file_type()?.is_file();
                if plain || (kind != SourceKind::Html && entry.path().is_file()) {
                    found.push(folder.join(&name));
                }
            }
        }
    }
    if found.is_empty() {
        let what = format!("no {} file in this folder", endings.join(" or "));
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    found.sort();
    Ok(found)
}

/// The folder that paths of pages and of their images begin in.
pub(crate) fn beneath(root: &Path) -> &Path {
    match root.is_dir() {
        true => root,
        false => match root.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        },
    }
}

/// Opens `root` and gives its pages to `with`.
pub(crate) fn read<T>(
    root: &Path,
    limit: usize,
    progress: &AtomicU64,
    with: impl FnOnce(Records<'_>) -> Result<T, RecordsError>,
) -> Result<T, RecordsError> {
    let mut pages = pages(root).map_err(RecordsError::Open)?.into_iter();
    let folder = beneath(root);
    with(Records::new(Box::new(move || {
        let page = pages.next();
        page.map(|page| record(folder, &page, limit, progress))
            .transpose()
    })))
}

fn record(
    folder: &Path,
    page: &Path,
    limit: usize,
    progress: &AtomicU64,
) -> Result<Record, RecordsError> {
    let at = At::File(page.to_string_lossy().into_owned());
    let mut bytes = Vec::new();
    let read = File::open(folder.join(page))
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    if let Err(source) = read {
        return Err(RecordsError::Read { at, source });
    }
    progress.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    let raw = match bytes.len() <= limit {
        true => Raw::Bytes(bytes),
        false => Raw::TooLong,
    };
    Ok(Record { at, raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_in_the_order_of_their_paths_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "b.html",
            "a/z.HTM",
            "a/y.png",
            ".hidden.html",
            "c/.d/e.html",
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("inside")).expect("writable");
            fs::write(path, name).expect("writable");
        }
        let found = pages(folder.path()).expect("two");
        assert_eq!(found, ["a/z.HTM", "b.html"].map(PathBuf::from));
        let one = folder.path().join("b.html");
        assert_eq!(pages(&one).expect("itself"), [PathBuf::from("b.html")]);
        assert_eq!(beneath(&one), folder.path());
    }

    #[test]
    fn a_page_longer_than_allowed_is_a_record_that_is_not_held() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.html"), "12345").expect("writable");
        fs::write(folder.path().join("b.html"), "1234").expect("writable");
        let read = read(folder.path(), 4, &AtomicU64::new(0), |mut records| {
            Ok([records.next()?, records.next()?].map(|record| record.expect("two").raw))
        });
        let expected = [Raw::TooLong, Raw::Bytes(b"1234".to_vec())];
        assert_eq!(read.expect("readable"), expected);
    }
}
