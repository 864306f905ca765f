//! Where bytes are read that may be anything, strangers' or damaged ones: a panic there is a fault of those bytes, and no end
//! of the run.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `read` gives. Nothing that it leaves half done may be used again.
///
/// # Errors
/// Where it panics, what that said.
pub fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let read = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(before);
    read.map_err(|payload| {
        let said = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        format!("the reader broke off ({})", said.unwrap_or("damaged bytes"))
    })
}

/// From now on a panic that is caught here prints nothing: for programs, where it would only frighten.
pub fn quiet() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            loud(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_what_it_said_and_the_next_read_is_not_touched_by_it() {
        let broken = guarded(|| [1][guarded(|| 1).expect("no panic")]);
        assert!(broken.is_err_and(|said| said.contains("index out of bounds")));
        assert_eq!(guarded(|| 2), Ok(2));
        assert!(!GUARDED.get());
    }
}
