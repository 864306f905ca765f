//! The bytes of an archive as stored: looked at before they are taken, passed over, gone back to.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes asked of the file at a time; also the most that [`Input::peek`] can show.
pub(super) const BUFFER: usize = 128 << 10;

/// A buffered file.
pub(super) struct Input<R> {
    file: R,
    buffer: Vec<u8>,
    held: Range<usize>,
    position: u64,
}

impl<R: Read + Seek> Input<R> {
    /// Reads on from `position`.
    pub(super) fn new(mut file: R, position: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(position))?;
        Ok(Self {
            file,
            buffer: vec![0; BUFFER],
            held: 0..0,
            position,
        })
    }

    /// Offset in the file of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the whole file.
    pub(super) fn len(&mut self) -> io::Result<u64> {
        let here = self.file.stream_position()?;
        let len = self.file.seek(SeekFrom::End(0))?;
        self.file.seek(SeekFrom::Start(here))?;
        Ok(len)
    }

    /// The next bytes: at least `want` of them, up to [`BUFFER`], unless the file ends before.
    pub(super) fn peek(&mut self, want: usize) -> io::Result<&[u8]> {
        while self.held.len() < want.min(BUFFER) {
            if self.held.start > 0 {
                self.buffer.copy_within(self.held.clone(), 0);
                self.held = 0..self.held.len();
            }
            match self.file.read(&mut self.buffer[self.held.end..]) {
                Ok(0) => break,
                Ok(read) => self.held.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.held.clone()])
    }

    /// Takes bytes that [`Input::peek`] showed.
    pub(super) fn take(&mut self, count: usize) {
        debug_assert!(count <= self.held.len(), "only what was shown is taken");
        self.held.start += count;
        self.position += count as u64;
    }

    /// At most `want` bytes at another offset; none beyond the end.
    pub(super) fn glance(&mut self, at: u64, want: usize) -> io::Result<Vec<u8>> {
        let back = self.position + self.held.len() as u64;
        let at = at.min(self.len()?);
        self.file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(want as u64).read_to_end(&mut bytes)?;
        self.file.seek(SeekFrom::Start(back))?;
        Ok(bytes)
    }

    /// Goes to any offset; beyond the end is the end.
    pub(super) fn seek(&mut self, to: u64) -> io::Result<()> {
        match to.checked_sub(self.position) {
            Some(ahead) if ahead <= self.held.len() as u64 => self.take(ahead as usize),
            _ => {
                // Systems refuse offsets that no file can have; that of a record is not to be trusted.
                let to = to.min(self.len()?);
                self.file.seek(SeekFrom::Start(to))?;
                self.held = 0..0;
                self.position = to;
            }
        }
        Ok(())
    }
}

/// A file that tells how far it was read; what is read twice counts once, what is passed over counts.
pub(crate) struct Counted<'a, R> {
    file: R,
    position: u64,
    counted: u64,
    progress: &'a AtomicU64,
}

impl<'a, R> Counted<'a, R> {
    pub(super) fn new(file: R, progress: &'a AtomicU64) -> Self {
        Self {
            file,
            position: 0,
            counted: 0,
            progress,
        }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.position += read as u64;
        // Seeking alone proves nothing: beyond the end nothing is read.
        if read > 0 && self.position > self.counted {
            let more = self.position - self.counted;
            self.progress.fetch_add(more, Ordering::Relaxed);
            self.counted = self.position;
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Counted<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn what_is_looked_at_is_still_there_to_be_taken() {
        let mut input = Input::new(Cursor::new(b"abcdef"), 1).expect("memory");
        assert_eq!(input.peek(2).expect("memory"), b"bcdef");
        input.take(2);
        assert_eq!(input.position(), 3);
        input.seek(0).expect("memory");
        assert_eq!(input.peek(9).expect("memory"), b"abcdef");
        assert_eq!(input.len().expect("memory"), 6);
        input.seek(99).expect("memory");
        assert!(input.peek(1).expect("memory").is_empty());
    }

    #[test]
    fn an_offset_that_no_file_has_is_the_end_of_it() {
        let mut input = Input::new(tempfile::tempfile().expect("a file"), 0).expect("a file");
        assert!(input.glance(u64::MAX, 9).expect("no error").is_empty());
        input.seek(u64::MAX).expect("no error");
        assert!(input.peek(9).expect("no error").is_empty());
    }

    #[test]
    fn progress_counts_bytes_once_however_often_they_are_read() {
        let progress = AtomicU64::new(0);
        let mut file = Counted::new(Cursor::new([0; 10]), &progress);
        let mut five = [0; 5];
        file.read_exact(&mut five).expect("there are five");
        file.seek(SeekFrom::Start(2)).expect("memory");
        file.read_exact(&mut five).expect("there are five");
        assert_eq!(progress.load(Ordering::Relaxed), 7);
    }
}
