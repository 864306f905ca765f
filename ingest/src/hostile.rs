//! Where strangers' bytes are read: a panic there is an outcome of those bytes, and no end of the run.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `read` gives; `None` if it panicked. Nothing that it changed half may be looked at afterwards.
pub(crate) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    let before = GUARDED.replace(true);
    let read = panic::catch_unwind(AssertUnwindSafe(read)).ok();
    GUARDED.set(before);
    read
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
    fn a_panic_is_an_outcome_and_the_next_read_is_not_touched_by_it() {
        assert_eq!(guarded(|| [1][guarded(|| 1).expect("no panic")]), None);
        assert_eq!(guarded(|| 2), Some(2));
        assert!(!GUARDED.get());
    }
}
