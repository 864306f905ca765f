//! Where strangers' bytes are read: a panic there is an outcome of those bytes, and no end of the run.

pub use lcl_schemas::guard::quiet;

/// What `read` gives; `None` if it panicked. Nothing that it changed half may be looked at afterwards.
pub(crate) fn guarded<T>(read: impl FnOnce() -> T) -> Option<T> {
    lcl_schemas::guard::guarded(read).ok()
}
